"""The page of an evaluation: each set with its figures, a further set before the run's own test."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from matplotlib.figure import Figure

from bcc_lightning.evaluation.assessment import Assessment
from bcc_lightning.evaluation.assessment_figures import (
    ShownCell,
    conformal_figure,
    curves_by_class_figure,
    gallery_figure,
    least_sure,
    risk_coverage_figure,
)
from bcc_lightning.evaluation.calibration import Calibration
from bcc_lightning.evaluation.figures import confusion_figure, reliability_figure, save_figure
from bcc_lightning.evaluation.metrics import Predictions, worst_mistakes
from bcc_lightning.explanation.maps import explain_images
from bcc_lightning.modules.base import CellClassifier
from bcc_lightning.pages.rendering import data_uri, write_html
from bcc_lightning.prediction.classifier import Pixels

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
    write_html(
        file,
        "bcc_lightning.engine",
        "evaluation.html.jinja",
        network=network,
        run_id=run_id,
        sets=drawn,
        test_time=test_time,
        adapted=adapted,
    )


def figures_of(one: EvaluatedSet) -> dict[str, Figure]:
    """Draw the figures of a set, by their names in the page."""
    found, predictions = one.assessment, one.predictions
    figures = {
        "mistakes": confusion_figure(np.array(found.confusion), list(found.classes), one.title),
        "curves": curves_by_class_figure(found, predictions),
        "risk_coverage": risk_coverage_figure(found.selective, found.accuracy),
    }
    if before := found.calibration["before"]:
        panels = [(f"without temperature scaling\n{errors(before)}", before.bins)]
        if after := found.calibration["after"]:
            fitted = f"at temperature {found.temperature:.2f}, fitted on the validation set"
            panels.append((f"{fitted}\n{errors(after)}", after.bins))
        figures["reliability"] = reliability_figure(panels)
    if found.conformal:
        figures["conformal"] = conformal_figure(found.conformal)
    if not isinstance(one.look, str):
        for name, rows in (("worst", worst_mistakes(predictions, SHOWN)), ("unsure", least_sure(predictions, SHOWN))):
            if rows:
                figures[name] = gallery_figure(one.look(rows))
    return figures


def errors(found: Calibration) -> str:
    """Format calibration errors for the title of a panel."""
    return f"expected {found.ece:.3f}, classwise {found.classwise:.3f}, adaptive {found.adaptive:.3f}"


def embedded(figures: dict[str, Figure]) -> dict[str, str]:
    """Draw figures as URIs that hold their images."""
    found: dict[str, str] = {}
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
    answers = predictions.probability[list(rows)].argmax(dim=1)  # which a correction may have changed after the network
    heat = explain_images(module, torch.from_numpy(pixels).permute(0, 3, 1, 2), labels, classes=answers).combined
    found = []
    for place, row in enumerate(rows):
        probability, label = predictions.probability[row], int(predictions.label[row])
        predicted = int(probability.argmax())
        shares = float(probability[predicted]), float(probability[label])
        found.append(ShownCell(pixels[place], heat[place], class_names[label], class_names[predicted], *shares))
    return found
