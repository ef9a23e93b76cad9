"""The page of an evaluation: each set with its figures, a further set before the run's own test."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from matplotlib.figure import Figure

from bcc_lightning.evaluation.assessment import Assessment
from bcc_lightning.evaluation.assessment_figures import (
    ShownCell,
    conformal_figure,
    curves_by_class_figure,
    gallery_figure,
    least_sure,
    mistakes_figure,
    reliability_figure,
    risk_coverage_figure,
    worst_mistakes,
)
from bcc_lightning.evaluation.figures import save_figure
from bcc_lightning.evaluation.metrics import Predictions
from bcc_lightning.explanation.maps import explain_images
from bcc_lightning.files import whole_file
from bcc_lightning.modules.base import CellClassifier
from bcc_lightning.prediction.classifier import Pixels
from bcc_lightning.printable import page_template
from bcc_lightning.tracking.filing import data_uri

SHOWN = 18
"""Most cells in each part of the gallery."""

Look = Callable[[Sequence[int]], list[ShownCell]]
"""Gets the cells at rows of the predictions, with their maps."""


@dataclass(frozen=True)
class EvaluatedSet:
    """A set as the page shows it.

    Attributes:
        title: what the set is called on the page.
        read: a sentence that says where its cells come from.
        notices: further sentences.
        assessment: its figures.
        predictions: of its cells.
        look: gets cells for the gallery; a sentence that says why there are none.
    """

    title: str
    read: str
    notices: tuple[str, ...]
    assessment: Assessment
    predictions: Predictions
    look: Look | str


def write_page(
    file: Path, network: str, run_id: str | None, sets: Sequence[EvaluatedSet], test_time: str | None, adapted: bool = False
) -> None:
    """Write the page whole or not at all.

    Args:
        file: the HTML file.
        network: title of the network.
        run_id: of its run, if it has one.
        sets: what was evaluated, the most important first.
        test_time: over which views of a cell the probabilities were averaged; None where each was looked at once.
        adapted: whether the network was adapted to the first of the sets.
    """
    drawn = [(one, embedded(figures_of(one))) for one in sets]
    page = page_template("bcc_lightning.engine", "evaluation.html.jinja").render(
        network=network, run_id=run_id, sets=drawn, test_time=test_time, adapted=adapted
    )
    with whole_file(file) as draft:
        draft.write_text(page, encoding="utf-8")


def figures_of(one: EvaluatedSet) -> dict[str, Figure]:
    """Draw the figures of a set, by their names in the page."""
    found, predictions = one.assessment, one.predictions
    figures = {
        "mistakes": mistakes_figure(found),
        "curves": curves_by_class_figure(found, predictions),
        "risk_coverage": risk_coverage_figure(found.selective, found.accuracy),
    }
    if before := found.calibration["before"]:
        figures["reliability"] = reliability_figure(before, found.calibration["after"], found.temperature)
    if found.conformal:
        figures["conformal"] = conformal_figure(found.conformal)
    if not isinstance(one.look, str):
        for name, rows in (("worst", worst_mistakes(predictions, SHOWN)), ("unsure", least_sure(predictions, SHOWN))):
            if rows:
                figures[name] = gallery_figure(one.look(rows))
    return figures


def embedded(figures: dict[str, Figure]) -> dict[str, str]:
    """Draw figures as URIs that hold their images."""
    found = {}
    with TemporaryDirectory() as folder:
        for name, figure in figures.items():
            file = Path(folder) / f"{name}.png"
            save_figure(figure, file)
            found[name] = data_uri(file)
    return found


def shown_cells(
    module: CellClassifier, pixels: Pixels, predictions: Predictions, rows: Sequence[int], class_names: Sequence[str]
) -> list[ShownCell]:
    """Explain cells for the gallery.

    Args:
        module: the network that classified them.
        pixels: (M, S, S, 3) uint8, their images.
        predictions: of the whole set.
        rows: M rows of the predictions.
        class_names: names of the C classes.
    """
    labels = predictions.label[list(rows)]
    heat = explain_images(module, torch.from_numpy(pixels).permute(0, 3, 1, 2), labels).combined
    found = []
    for place, row in enumerate(rows):
        probability, label = predictions.probability[row], int(predictions.label[row])
        predicted = int(probability.argmax())
        shares = float(probability[predicted]), float(probability[label])
        found.append(ShownCell(pixels[place], heat[place], class_names[label], class_names[predicted], *shares))
    return found
