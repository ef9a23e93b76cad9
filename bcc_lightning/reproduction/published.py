"""The published figures of each system, and what they were really measured on.

They are from the sources' code, notebooks, papers and figures; the confusion matrices were counted again.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A published accuracy.

    Attributes:
        percent: as printed.
        meaning: the cells it was measured on, and how it was chosen.
        untouched: whether these cells were used neither for training nor for choosing the epoch.
    """

    percent: str
    meaning: str
    untouched: bool = True


@dataclass(frozen=True)
class System:
    """A published system.

    Attributes:
        experiment: name of its experiment here; the source's own recipe is ``as_published/`` with this name.
        source: authors or publication.
        split: data and split of the source.
        figures: published figures; empty if there are none.
        note: further facts about the figures.
    """

    experiment: str
    source: str
    split: str
    figures: tuple[Figure, ...] = ()
    note: str = ""


EFFICIENTSWIN = ("EfficientSwin, code of 2024", "BloodMNIST 28 enlarged to 224, official split 11,959 / 1,712 / 3,421")
BLOODCELLCNN = (
    "BloodCellCNN, AN2DL homework of 2024",
    "AN2DL, 96 pixels; said to be 80/10/10 by class, its confusion matrix shows about 2,392 test cells, 20 %, not by class",
)
FICC = (
    "Decoding Cellular Complexity, FICC 2025",
    "PBC, 70/30 by class, 5,128 test cells; with and without 'shuffling' are two random splits, so their difference is noise",
)
NEURALNEXUS = ("NeuralNexus, AN2DL homework of 2024", "AN2DL, 96 pixels, 81/9/10 by class, 1,196 test cells")
WBC = ("WBC CNN vs MobileNetV2", "Raabin-WBC, Test-A, 4,339 cells")
MEDMNIST = ("MedMNIST v2, Sci Data 10 (2023) 41", "BloodMNIST 28 native, official split")
ADAPTED = ("tomrussobuilds/bloodmnist", "BloodMNIST 28 native, official split")
MEDMNIST_PLUS = ("MedMNIST+ benchmark, Sci Rep 2025, arXiv 2404.15786", "BloodMNIST 224 native, official split")
OWN = ("this project", "")

PROBE = "frozen network, 8 outputs of its 1000-way head are used"
HIDDEN = "the challenge's hidden test set of altered images"
NOTEBOOK_MISSING = "from the paper alone, its notebook is missing"


def validation_maximum(percent: str, more: str = "") -> Figure:
    """Return the commonest case: the best epoch on the validation set, reported as the result."""
    return Figure(percent, f"validation maximum over the epochs, not test{more}", untouched=False)


def both(without: str, with_shuffling: str, tested: str = "test", untouched: bool = True) -> tuple[Figure, ...]:
    """Return the two figures of source 2, without and with shuffling."""
    return (
        Figure(without, f"{tested}, without shuffling", untouched),
        Figure(with_shuffling, f"{tested}, with shuffling", untouched),
    )


def local_and_hidden(local: str, hidden: str) -> tuple[Figure, ...]:
    """Return the two figures of source 3."""
    return Figure(local, "test"), Figure(hidden, HIDDEN)


PUBLISHED = (
    System(
        "efficientswin",
        *EFFICIENTSWIN,
        (
            validation_maximum("98.14", ", 1680 of 1712 cells are 98.13"),
            validation_maximum("96.96", " (another run; 96.85 in its last epoch)"),
        ),
        "The test set was never evaluated, and the saved weights are those of the last epoch.",
    ),
    System(
        "efficientswin_b3",
        *EFFICIENTSWIN,
        (validation_maximum("97.14", ", 1663 of 1712 cells; 96.85 in the last epoch"),),
        "The source prints its confusion matrix as that of the system with 98.14.",
    ),
    System(
        "swin_tiny",
        *EFFICIENTSWIN,
        (
            validation_maximum("89.25", f"; {PROBE}"),
            Figure("89.14", "validation, not test, in the last epoch; called test in the source", untouched=False),
        ),
    ),
    System(
        "efficientnet_b0",
        *EFFICIENTSWIN,
        (Figure("87.49", f"test; {PROBE}"), validation_maximum("87.85")),
    ),
    System(
        "efficientnet_b1",
        *EFFICIENTSWIN,
        (validation_maximum("88.26", f"; {PROBE}"),),
        "The source's program stopped with an error before the test.",
    ),
    System("efficientnet_b2", *EFFICIENTSWIN, note="The source has the code, but no run."),
    System(
        "efficientnet_b3",
        *EFFICIENTSWIN,
        (Figure("78.52", f"test; {PROBE}"), validation_maximum("80.32")),
    ),
    System("an2dl_efficientnet_b3", *BLOODCELLCNN, (Figure("96.5", "test, 'up to'"),)),
    System("an2dl_mobilenet_v2", *BLOODCELLCNN, (Figure("95.2", "test"),)),
    System("an2dl_resnet50", *BLOODCELLCNN, (Figure("94.5", "test"),)),
    System(
        "an2dl_ensemble",
        *BLOODCELLCNN,
        (Figure("97.74", "test, 2338 of 2392 cells by its confusion matrix"),),
        "The source does not say how the three are averaged.",
    ),
    System(
        "pbc_cnn",
        *FICC,
        (*both("86.60", "91.08"), Figure("94.10", "test, 5-fold cross-validation with SMOTE at 128 pixels")),
        f"Figures {NOTEBOOK_MISSING}.",
    ),
    System(
        "pbc_unet",
        FICC[0],
        "PBC, 80/20 not by class; the 20 % are validation and test set at once",
        both("94.66", "94.04", "the set that was also the validation set", untouched=False),
        "The paper prints the two in the other order. Not a U-Net: its encoder only.",
    ),
    System("pbc_unet_full", *FICC, note="Nothing was published: the source's 'U-Net' is pbc_unet, an encoder."),
    System("pbc_resnet50_sgd", *FICC, both("90.76", "89.88")),
    System("pbc_resnet50_rmsprop", *FICC, both("89.22", "92.39"), "The paper prints 92.40."),
    System(
        "pbc_vgg16",
        *FICC,
        both("80.36", "79.37", "test set, which was also the validation set", untouched=False),
        "The paper prints 79.36.",
    ),
    System(
        "pbc_densenet201",
        *FICC,
        both("90.41", "88.67"),
        "The paper prints 90.17, and 87.09 or 87.73. The two runs are two recipes: batch normalisation, batch size, callbacks.",
    ),
    System(
        "pbc_mobilenet_v2",
        *FICC,
        (Figure("81.45", "test, first attempt"), *both("85.39", "85.61")),
        f"Figures {NOTEBOOK_MISSING}.",
    ),
    System("pbc_inception_v3", *FICC, both("89.84", "91.71")),
    System("pbc_xception", *FICC, both("97.17", "97.89"), "The paper prints 89.84 for the first, which is Inception-v3's."),
    System(
        "pbc_inception_xception",
        *FICC,
        both("98.58", "98.52"),
        "The paper prints 98.57 and 98.51. Without shuffling all layers were trained, with it the branches were frozen.",
    ),
    System("pbc_supcon", *FICC, both("97.33", "96.35"), f"Figures {NOTEBOOK_MISSING}."),
    System("an2dl_cnn", *NEURALNEXUS, local_and_hidden("88.88", "38")),
    System("an2dl_vgg16", *NEURALNEXUS, local_and_hidden("94.73", "66")),
    System("an2dl_efficientnet_b0", *NEURALNEXUS, local_and_hidden("96.24", "75"), "From the report; the notebook is missing."),
    System("an2dl_efficientnet_b2", *NEURALNEXUS, local_and_hidden("96.74", "78"), "From the report; the notebook is missing."),
    System("an2dl_efficientnet_v2_b2", *NEURALNEXUS, note="No figure is known; the notebooks are missing."),
    System(
        "an2dl_efficientnet_v2_m_adam", *NEURALNEXUS, local_and_hidden("95.15", "74"), "From the report; the notebook is missing."
    ),
    System(
        "an2dl_efficientnet_v2_m_lion",
        *NEURALNEXUS,
        (
            *local_and_hidden("96.49", "85"),
            Figure("97.58", "printed for a new split whose test set overlaps the training set", untouched=False),
        ),
        "Another notebook with other learning rates reached 96.91 on the test set.",
    ),
    System(
        "raabin_cnn",
        *WBC,
        (Figure("93.18", "test"), validation_maximum("96.29", "; that split has copies of one cell in both sets")),
        "Pixels are divided by 255 twice.",
    ),
    System(
        "raabin_mobilenet_v2",
        *WBC,
        (Figure("89.08", "test"), validation_maximum("94.48", "; that split has copies of one cell in both sets")),
        "Pixels are not scaled as the network expects.",
    ),
    System("medmnist_resnet18", *MEDMNIST, (Figure("95.8", "test"),), "96.3 with the images enlarged to 224."),
    System(
        "resnet18_28",
        *ADAPTED,
        (Figure("97.22", "test, with test-time augmentation; pretrained"),),
        "97.43 on the validation set.",
    ),
    System("densenet121_native", *MEDMNIST_PLUS, (Figure("99.02 ± 0.14", "test, mean of three seeds; pretrained"),)),
    System("house", *OWN, note="Designed here; nothing was published."),
    System("transfer_lite0", *OWN, note="Designed here; nothing was published."),
)
"""All systems, in the order of the table."""
