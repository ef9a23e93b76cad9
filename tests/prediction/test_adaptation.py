"""Adapting to another laboratory: statistics by arithmetic, shares by EM, and never a label."""

from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from bcc_lightning import PlainCNN, TransferClassifier
from bcc_lightning.datasets.nucleus import NUCLEUS, nucleus_share
from bcc_lightning.datasets.smear_painter import paint_cells
from bcc_lightning.engine import adapting
from bcc_lightning.engine.adapting import mean_probability, trained_nucleus
from bcc_lightning.engine.evaluator import Evaluator
from bcc_lightning.errors import UserError
from bcc_lightning.modules.assumed_shares import blood_shares
from bcc_lightning.prediction.adaptation import PRIOR_CELLS, adapt
from bcc_lightning.prediction.choices import read_methods
from bcc_lightning.prediction.class_shares import estimated_shares, reweighted
from bcc_lightning.prediction.classifier import TrainedClassifier
from bcc_lightning.safe_names import column_name

CLASSES = ["a", "b", "c"]
PIXELS = paint_cells(np.arange(70) % 8, 32, 0.2, 3)


class Unlabelled:
    """Cells without labels, ids or sets."""

    def __init__(self, images: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.asarray(self.images[rows])


@pytest.fixture
def classifier() -> TrainedClassifier:
    torch.manual_seed(0)
    return TrainedClassifier(PlainCNN(class_names=CLASSES, image_size=32))


def first_norm(module: nn.Module) -> nn.BatchNorm2d:
    return next(layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d))


@pytest.mark.parametrize("cells", [1, 2, 7, 70])
def test_statistics_are_those_of_the_cells_mixed_with_those_of_training(classifier: TrainedClassifier, cells: int) -> None:
    norm = first_norm(classifier.module)
    norm.running_mean, norm.running_var = torch.randn(norm.num_features), torch.rand(norm.num_features) + 0.5
    given: list[torch.Tensor] = []
    norm.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].double()))
    found = first_norm(adapt(classifier, PIXELS[:cells], ["bn"]).module)
    assert sum(map(len, given)) == (cells if cells == len(PIXELS) else 8 * cells)  # few cells are seen in all their positions
    values = torch.cat(given).transpose(0, 1).flatten(1)
    weight = cells / (cells + PRIOR_CELLS)
    mean = torch.lerp(norm.running_mean.double(), values.mean(1), weight)
    variance = torch.lerp(norm.running_var.double(), values.var(1, unbiased=False), weight)
    assert torch.allclose(cast(torch.Tensor, found.running_mean).double(), mean, atol=1e-5)
    assert torch.allclose(cast(torch.Tensor, found.running_var).double(), variance, atol=1e-5)


def test_the_network_itself_stays_as_it_is(classifier: TrainedClassifier) -> None:
    before = {name: value.clone() for name, value in classifier.module.state_dict().items()}
    adapted = adapt(classifier, PIXELS, ["bn", "tent", "prior"], np.array([0.5, 0.3, 0.2]))
    assert all(torch.equal(value, before[name]) for name, value in classifier.module.state_dict().items())
    probability = adapted.classify(PIXELS)
    assert not torch.allclose(probability, classifier.classify(PIXELS))
    assert torch.allclose(probability.sum(dim=1), torch.ones(len(PIXELS)))
    assert str(adapted.adaptation) == "Adapted by bn, tent, prior to 70 of these cells, without their labels."
    assert sum(adapted.adaptation.shares.values()) == pytest.approx(1)
    # At its fixed point, the shares are the mean of the corrected probabilities.
    assert list(adapted.adaptation.shares.values()) == pytest.approx(probability.mean(0).tolist(), abs=1e-3)


def test_entropy_falls(classifier: TrainedClassifier) -> None:
    def entropy(probability: torch.Tensor) -> float:
        return float(torch.special.entr(probability).sum(1).mean())

    adapted = adapt(classifier, PIXELS, ["tent"])
    assert entropy(adapted.classify(PIXELS)) < entropy(classifier.classify(PIXELS))
    changed = {
        name
        for name, value in adapted.module.state_dict().items()
        if not torch.equal(value, classifier.module.state_dict()[name])
    }
    norms = {name for name, layer in classifier.module.named_modules() if isinstance(layer, nn.BatchNorm2d)}
    assert changed
    assert {name.rpartition(".")[0] for name in changed} <= norms


def test_shares_of_classes_that_are_told_apart_with_known_confusions() -> None:
    """A test that finds class 0 in 80 % of its cells and in 10 % of the others; 45 of 100 cells are positive.

    The share s of class 0 solves 0.8 s + 0.1 (1 - s) = 0.45: it is 0.5. Trained where both are equally frequent, the probability
    of class 0 is 0.8 / 0.9 behind a positive answer and 0.2 / 1.1 behind a negative one.
    """
    positive, negative = [8 / 9, 1 / 9], [2 / 11, 9 / 11]
    found = estimated_shares(np.array([positive] * 45 + [negative] * 55), np.array([0.5, 0.5]))
    assert found == pytest.approx([0.5, 0.5], abs=1e-5)
    # With 24 of 100 positive the share is 0.2; the prior of the training does not matter.
    assert estimated_shares(np.array([positive] * 24 + [negative] * 76), np.array([0.5, 0.5])) == pytest.approx(
        [0.2, 0.8], abs=1e-4
    )


def test_shares_in_the_blood_of_healthy_adults() -> None:
    """Reference ranges of 40 to 80, 20 to 40 and 1 to 6 %: 60, 30 and 3.5 parts of what the three have together."""
    trained = np.array([0.3, 0.4, 0.2, 0.1])
    found = blood_shares(["EO", "Platelets", "lymphocyte", "Neutrophils"], trained)
    assert found == pytest.approx([0.6 * 3.5 / 93.5, 0.4, 0.6 * 30 / 93.5, 0.6 * 60 / 93.5])


def test_blood_corrects_probabilities_without_looking_at_cells(classifier: TrainedClassifier) -> None:
    classifier.module.class_names = ["neutrophil", "eosinophil", "blast"]
    trained = np.array([0.2, 0.6, 0.2])
    adapted = adapt(classifier, PIXELS[:1], ["blood"], trained)
    before, after = classifier.classify(PIXELS).double(), adapted.classify(PIXELS).double()
    # Of the 80 % of both, 60 of 63.5 parts are neutrophils: three times and a bit as many as in training.
    odds = torch.tensor([0.8 * 60 / 63.5 / 0.2, 0.8 * 3.5 / 63.5 / 0.6, 1.0], dtype=torch.float64)
    assert torch.allclose(after[:, 0] / after[:, 1], before[:, 0] / before[:, 1] * odds[0] / odds[1], rtol=1e-4)
    assert torch.allclose(after[:, 0] / after[:, 2], before[:, 0] / before[:, 2] * odds[0], rtol=1e-4)
    classifier.module.class_names = ["neutrophil", "promyelocyte", "blast"]
    with pytest.raises(UserError, match="fewer than two of these classes; leave blood out"):
        adapt(classifier, PIXELS[:1], ["blood"], trained)
    assert str(adapted.adaptation) == (
        "Probabilities are corrected for the shares of the classes in the blood of healthy adults."
    )


def test_reweighting() -> None:
    found = reweighted(torch.tensor([[0.5, 0.25, 0.25]]), np.array([1.0, 2.0, 0.0]))
    assert found.tolist() == [[0.5, 0.5, 0.0]]


def test_of_the_cells_only_pixels_are_read(classifier: TrainedClassifier) -> None:
    """What an evaluation adapts to has no labels at all."""

    evaluator = Evaluator.__new__(Evaluator)
    evaluator.methods = ("bn", "tent")
    evaluator.network = cast(Any, SimpleNamespace(folds=(), facts={}))
    found = evaluator.adapted(classifier, cast(Any, Unlabelled(PIXELS)))
    assert torch.equal(found.classify(PIXELS), adapt(classifier, PIXELS, ["bn", "tent"]).classify(PIXELS))


def test_what_cannot_be_adapted(classifier: TrainedClassifier) -> None:
    vit = TransferClassifier(
        class_names=CLASSES, image_size=32, backbone="vit_tiny_patch16_224", variant={"depth": 1}, pretrained=False
    )
    with pytest.raises(UserError, match="--adapt bn: TransferClassifier has no batch normalisation"):
        adapt(TrainedClassifier(vit), PIXELS, ["bn"])
    assert torch.isfinite(adapt(TrainedClassifier(vit), PIXELS[:8], ["tent"]).classify(PIXELS[:8])).all()
    with pytest.raises(UserError, match="--adapt prior needs the answers"):
        adapt(classifier, PIXELS, ["prior"])
    with pytest.raises(UserError, match="no cells to adapt to"):
        adapt(classifier, PIXELS[:0], ["bn"])
    with pytest.raises(
        UserError, match=r"--adapt bm does not exist; did you mean bn\? It takes scale, bn, tent, prior, blood, equal"
    ):
        read_methods("bn,bm")
    with pytest.raises(UserError, match=r"--adapt size does not exist\. It takes"):
        read_methods("size")
    for nothing in (",", "", " , "):
        with pytest.raises(UserError, match=r"--adapt names no method\. It takes scale, bn"):
            read_methods(nothing)
    assert read_methods(" prior, bn ") == ("bn", "prior")
    assert read_methods(None) == ()
    with pytest.raises(UserError, match="--adapt prior and blood each say how frequent the classes are"):
        read_methods("blood,prior")


def blob(radius: int, side: int = 64) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Draw a blue-violet nucleus on a light ground."""
    image = np.full((side, side, 3), (235, 225, 215), np.uint8)
    cv2.circle(image, (side // 2, side // 2), radius, (90, 40, 140), -1, cv2.LINE_AA)
    return image


@pytest.mark.parametrize("radius", [8, 12, 20])
def test_nuclei_are_as_large_as_they_were_drawn(radius: int) -> None:
    assert nucleus_share(blob(radius)) == pytest.approx(2 * radius / 64, abs=0.03)


def test_cells_are_shown_in_the_size_of_the_training_cells(classifier: TrainedClassifier) -> None:
    small = np.stack([cv2.resize(blob(8), (32, 32), interpolation=cv2.INTER_AREA)] * 3)
    adapted = adapt(classifier, small, ["scale"], trained_nucleus=0.375)
    assert adapted.adaptation.zoom == pytest.approx(1.5, abs=0.1)
    shown = adapted.images(small)[0].permute(1, 2, 0).numpy()
    assert nucleus_share(np.ascontiguousarray(shown)) == pytest.approx(0.375, abs=0.04)
    assert f"Images are enlarged to {adapted.adaptation.zoom:.2f} times their size. So few" in str(adapted.adaptation)
    assert adapt(classifier, small, ["scale"], trained_nucleus=0.9).adaptation.zoom == 2.0  # and no more
    with pytest.raises(UserError, match="--adapt scale needs the size of nuclei"):
        adapt(classifier, small, ["scale"])


def test_what_a_run_recorded_of_its_own_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorded size is taken; what was not recorded is measured where the data are."""
    recorded = SimpleNamespace(folds=(), facts={NUCLEUS: "0.4103"})
    assert trained_nucleus(cast(Any, recorded)) == 0.4103
    assert trained_nucleus(cast(Any, SimpleNamespace(folds=[recorded], facts={}))) == 0.4103
    older = cast(Any, SimpleNamespace(folds=(), facts={}))
    monkeypatch.setattr(adapting, "own_data", lambda _: SimpleNamespace(splits={"train": Unlabelled(np.stack([blob(12)] * 3))}))
    assert trained_nucleus(older) == pytest.approx(24 / 64, abs=0.03)
    monkeypatch.setattr(adapting, "own_data", lambda _: "its folder is gone")
    assert trained_nucleus(older) is None


def test_mean_probability_goes_by_class_name() -> None:
    table = pd.DataFrame({column_name("b"): [0.2, 0.4], column_name("a"): [0.8, 0.6]})
    network = cast(Any, SimpleNamespace(predictions=lambda _: table))
    assert mean_probability(network, ["a", "b"]) == pytest.approx([0.7, 0.3])
