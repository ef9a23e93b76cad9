"""Explain the answers of a finished run: pages for images, and how far its maps can be trusted."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from bcc_lightning.datamodules import CellDataModule
from bcc_lightning.datasets.framing import central_square, fit_square
from bcc_lightning.engine.rebuild import rebuild
from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.metrics import TEST
from bcc_lightning.explanation.baselines import BASELINES
from bcc_lightning.explanation.choices import CELLS, DEFAULT_METHOD, NEIGHBOURS
from bcc_lightning.explanation.faithfulness import Judge, stratified
from bcc_lightning.explanation.faithfulness_report import examples_figure, write_faithfulness
from bcc_lightning.explanation.maps import explain_images, maps_of
from bcc_lightning.explanation.masks import read_masked_cells
from bcc_lightning.explanation.methods import METHODS, method_named
from bcc_lightning.explanation.neighbours import TrainingCells, features_of, training_cells
from bcc_lightning.explanation.page import PANEL, ExplainedCell, PageFacts, thumbnail, write_index, write_page
from bcc_lightning.explanation.scores import Faithfulness
from bcc_lightning.prediction.classifier import Images, Pixels, TrainedClassifier, named_images
from bcc_lightning.safe_names import file_name
from bcc_lightning.tracking.trained_networks import TrainedNetwork

EXAMPLES = 6

FEATURES = "training_features.npz"


@dataclass
class ExplainedImages:
    """What a call has explained.

    Attributes:
        cells: the cells, in the order given.
        pages: the page of each.
        index: page of all pages; None for a single one.
        unreadable: what could not be read, and why.
        notice: what is to be known of the magnification of the images; empty if nothing is.
    """

    cells: list[ExplainedCell] = field(default_factory=list)
    pages: list[Path] = field(default_factory=list)
    index: Path | None = None
    unreadable: list[str] = field(default_factory=list)
    notice: str = ""


class Explainer:
    """Explains the answers of a trained network.

    Args:
        network: where it comes from.
        root: folder of its data, if they have moved.
    """

    def __init__(self, network: TrainedNetwork, root: str | None = None) -> None:
        self.network = network
        self.root = root
        self.classifier = TrainedClassifier.of(network)

    def data(self) -> CellDataModule:
        """Read the data of the run; of a cross-validation those of its first fold.

        Raises:
            UserError: the network belongs to no run, or its data are not here.
        """
        source = self.network.folds[0] if self.network.folds else self.network
        return rebuild(source, **({"root": self.root} if self.root else {}))[1]

    def facts(self, training: str = "", typical: float | None = None) -> PageFacts:
        """Describe the network to the pages; arguments as `PageFacts`."""
        return PageFacts(self.network.title, self.network.run_id, self.classifier.module.test_views, training, typical)

    def training(self, store: Path) -> tuple[TrainingCells | None, str]:
        """Return the training cells with their features, and a sentence on them; None where they are not known.

        Args:
            store: file that keeps the features.
        """
        module = self.classifier.module
        try:
            data = self.data()
            key = f"{self.network.run_id} {data.facts()['data.sha256']} {data.facts()['split.sha256']}"
            found = training_cells(module, data.splits["train"], module.class_names, key, store)
        except UserError as error:
            return None, f"The training cells are not shown: {error}."
        drawn, of = len(found.cells), " of the first fold" if self.network.folds else ""
        if drawn == found.total:
            return found, f"All {drawn:,} training cells{of} were compared."
        return found, f"{drawn:,} of the {found.total:,} training cells{of} were compared, drawn at random from each class."

    def explain(
        self, name: str | int, image: str | Path | Pixels, method: str, training: TrainingCells | None, count: int
    ) -> ExplainedCell:
        """Explain one image.

        Args:
            name: of the image, for its page.
            image: a file, or an array (H, W, 3) uint8.
            method: a name of `METHODS`.
            training: training cells to compare it with.
            count: how many of them are shown.

        Raises:
            UserError: the file cannot be read.
        """
        classifier = self.classifier
        read = classifier.square(image)
        probability = classifier.classify(read[None])
        square = classifier.shown(read)[None]
        predicted = probability.argmax(dim=1)
        explanations = explain_images(classifier.module, as_images(square), predicted, method, predicted)
        neighbours = training.nearest(features_of(classifier.module, square), count)[0] if training else None
        probabilities = dict(zip(classifier.class_names, probability[0].tolist(), strict=True))
        return ExplainedCell(name, self.photograph(image), probabilities, explanations, neighbours)

    def photograph(self, image: str | Path | Pixels) -> Pixels:
        """Return the part of an image that the network sees, at its own resolution if a page has room for it: (P, P, 3)."""
        pixels = image if isinstance(image, np.ndarray) else self.classifier.decoded(Path(image).read_bytes())
        square = central_square(pixels, self.classifier.crop)
        return fit_square(square, PANEL) if len(square) > PANEL else square


def explain_network(
    network: TrainedNetwork,
    images: Images,
    out: Path,
    method: str = DEFAULT_METHOD,
    neighbours: int = NEIGHBOURS,
    root: str | None = None,
) -> ExplainedImages:
    """Write a page for each image: map, probabilities, and the most similar training cells.

    Args:
        network: the network.
        images: one image or several, see `Images`.
        out: folder that gets the pages, ``index.html`` if there are several, and the features of the training cells.
        method: a name of `METHODS`.
        neighbours: training cells that are shown; 0 for none.
        root: folder of the run's data, if they have moved.

    Raises:
        UserError: there is no such method, or no image can be read.
    """
    method_named(method)
    given = list(named_images(images))
    explainer = Explainer(network, root)
    found = ExplainedImages(notice=explainer.classifier.size_notice())
    training, said = explainer.training(out / FEATURES) if neighbours else (None, "Training cells were not requested.")
    facts, rows = explainer.facts(said, training.typical_similarity() if training else None), []
    for number, (name, image) in enumerate(tqdm(given, desc="explaining", disable=None, leave=False), start=1):
        try:
            cell = explainer.explain(name, image, method, training, neighbours)
        except UserError as error:
            found.unreadable.append(str(error))
            continue
        stem = file_name(Path(str(name)).stem)
        page = out / (f"{number:04d}_{stem}.html" if len(given) > 1 else f"{stem}.html")
        write_page(cell, facts, page)
        found.cells.append(cell)
        found.pages.append(page)
        rows.append((cell, page.name, thumbnail(cell)))
    if not found.cells:
        raise UserError(f"no image could be read: {'; '.join(found.unreadable[:3]) or 'none was named'}")
    if len(given) > 1:
        found.index = out / "index.html"
        write_index(rows, found.unreadable, facts, found.index)
    return found


def measure_faithfulness(
    network: TrainedNetwork,
    out: Path,
    masks: Path | None = None,
    cells: int = CELLS,
    methods: Sequence[str] = (),
    seed: int = 0,
    root: str | None = None,
) -> Faithfulness:
    """Score the maps of several methods on test cells, and on cells with masks, and write page and tables.

    Args:
        network: the network.
        out: folder that gets ``faithfulness.json``, ``.csv`` and ``.html``.
        masks: folder of cells with masks, see `bcc_lightning.explanation.choices.LAYOUT`.
        cells: test cells that are drawn, each class with its share.
        methods: names of `METHODS`; by default all.
        seed: of the draws.
        root: folder of the run's data, if they have moved.

    Raises:
        UserError: there is no such method, a mask does not fit, or the run's data are not here.
    """
    chosen = list(dict.fromkeys(methods)) or list(METHODS)
    for name in chosen:
        method_named(name)
    explainer = Explainer(network, root)
    classifier, module = explainer.classifier, explainer.classifier.module
    test = explainer.data().evaluated_cells(TEST)
    images = as_images(test.take(stratified(test.labels, cells, seed)))
    side = module.prepare(images[:1].to(module.device)).shape[-1]
    masked = read_masked_cells(masks, classifier.square, classifier.crop, side) if masks else None
    judge = Judge(module, images, masked, seed)
    found = judge.gathered(
        list(tqdm(judge.judge(chosen), total=len(chosen) + len(BASELINES), desc="methods", disable=None, leave=False))
    )
    some = spread(EXAMPLES, len(judge.shown_pixels))
    pixels, classes = judge.shown_pixels[some], judge.shown_classes[some]
    maps = [(METHODS[name].title, maps_of(module, pixels, classes, name)) for name in chosen]
    outlines = masked.masks[some] if masked else None
    examples = examples_figure(pixels.permute(0, 2, 3, 1).cpu().numpy(), maps, outlines)
    seen = "The other folds were trained on these test cells of the first fold." if network.folds else ""
    write_faithfulness(found, explainer.facts(seen), examples, out)
    return found


def as_images(pixels: Pixels) -> torch.Tensor:
    """Return images (N, S, S, 3) as a tensor (N, 3, S, S)."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2)


def spread(count: int, total: int) -> list[int]:
    """Choose positions that are spread evenly over a list."""
    return sorted(set(np.linspace(0, total - 1, min(count, total)).round().astype(int).tolist()))
