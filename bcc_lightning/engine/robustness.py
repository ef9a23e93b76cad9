"""How a trained network stands faults of images: its own test set with each corruption at each severity, as a page."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from tqdm import tqdm

from bcc_lightning.datasets.cells import CellImages
from bcc_lightning.engine.further_sets import at_side
from bcc_lightning.engine.rebuild import own_data
from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.corruptions import CORRUPTIONS, SEVERITIES, Pixels, Robustness, measure_robustness
from bcc_lightning.evaluation.figures import save_figure
from bcc_lightning.evaluation.metrics import TEST
from bcc_lightning.explanation.faithfulness import stratified
from bcc_lightning.files import refuse_unwritable_folder, write_json
from bcc_lightning.pages.rendering import data_uri, write_html
from bcc_lightning.prediction.classifier import TrainedClassifier
from bcc_lightning.tracking.additions import add_to_run
from bcc_lightning.tracking.trained_networks import TrainedNetwork

MOST_CELLS = 1000
"""Cells of the test set that are looked at, each class with its share: with 56 variants of each, more would take long."""

PAGE, FIGURES = "robustness.html", "robustness.json"


@dataclass(frozen=True)
class RobustnessReport:
    """What was measured, and where it was written.

    Attributes:
        robustness: the errors.
        cells: number of cells.
        folder: where the page and ``robustness.json`` are.
    """

    robustness: Robustness
    cells: int
    folder: Path


def evaluate_robustness(network: TrainedNetwork, out: Path, file: bool = True) -> RobustnessReport:
    """Classify cells of the network's own test set with each fault at each severity.

    Args:
        network: a run whose data are on this machine.
        out: folder of the page and its figures.
        file: whether they are filed in the run, below ``evaluation/``.

    Raises:
        UserError: the data are not here, or folds of a cross-validation were trained on test cells of others.
    """
    refuse_unwritable_folder("--out", out)
    refuse_trained_on(network)
    data = own_data(network)
    if isinstance(data, str):
        raise UserError(f"--robustness needs the cells of the run's own test set, which are not here: {data}")
    classifier = TrainedClassifier.of(network)
    cells = data.evaluated_cells(TEST)
    cells = cells.part(stratified(cells.labels, MOST_CELLS, seed=0))
    images = at_side(cells.take(slice(None)), classifier.side)
    with tqdm(total=1 + SEVERITIES * len(CORRUPTIONS), desc="faults", disable=None, leave=False) as bar:

        def classify(shown: Pixels) -> npt.NDArray[np.int64]:
            """Predict the classes of images."""
            size = classifier.batch_size
            parts = [classifier.classify(shown[start : start + size]).argmax(1).numpy() for start in range(0, len(shown), size)]
            bar.update()
            return np.concatenate(parts)

        found = measure_robustness(np.asarray(images), cells.labels, classify)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / FIGURES, {**found.as_dict(), "network": network.title, "run_id": network.run_id, "cells": len(cells)})
    write_robustness_page(out / PAGE, network, found, examples(cells, classifier), len(cells))
    if file and network.run:
        metrics = {f"robustness/{name}": value for name, value in found.as_dict().items() if name in {"BE", "rBE"}}
        add_to_run(network.run, {f"evaluation/{PAGE}": out / PAGE, f"evaluation/{FIGURES}": out / FIGURES}, metrics)
    return RobustnessReport(found, len(cells), out)


def refuse_trained_on(network: TrainedNetwork) -> None:
    """Refuse the vote of folds that were trained on one another's test cells; a test set that all share none was trained on.

    Raises:
        UserError: with the run of a fold.
    """
    if len({frozenset(fold.predictions(TEST)["id"]) for fold in network.folds}) > 1:
        raise UserError(
            f"--robustness: {network.title} are tested on different cells, and each was trained on test cells of the others, so "
            f"that their vote on these says nothing. Next step: name the run of one fold, such as --run {network.folds[0].run_id}"
        )


def examples(cells: CellImages, classifier: TrainedClassifier) -> Pixels:
    """Choose a cell of each of the first classes to show the faults on: (N, S, S, 3)."""
    rows = np.unique(cells.labels, return_index=True)[1][:2]
    return np.asarray(at_side(cells.take(rows), classifier.side))


def write_robustness_page(file: Path, network: TrainedNetwork, found: Robustness, shown: Pixels, cells: int) -> None:
    """Write the page whole or not at all."""
    with TemporaryDirectory() as folder:
        figures: dict[str, str] = {}
        for name, figure in (("errors", errors_figure(found)), ("faults", faults_figure(shown))):
            image = Path(folder) / f"{name}.png"
            save_figure(figure, image)
            figures[name] = data_uri(image)
    content: dict[str, Any] = found.as_dict()
    write_html(
        file,
        "bcc_lightning.engine",
        "robustness.html.jinja",
        network=network.title,
        run_id=network.run_id,
        found=content,
        corruptions=CORRUPTIONS,
        figures=figures,
        cells=cells,
    )


def errors_figure(found: Robustness) -> Figure:
    """Draw the error by severity, a panel for each fault, with AlexNet's published mean."""
    figure = Figure(figsize=(11, 5.4), dpi=110, layout="constrained")
    panels = figure.subplots(2, 6, sharex=True, sharey=True).ravel()
    for axes, one in zip(panels, CORRUPTIONS, strict=False):
        axes.plot(
            range(SEVERITIES + 1),
            [100 * value for value in (found.clean, *found.errors[one.name])],
            "o-",
            color="#1f4e79",
            ms=3.5,
        )
        axes.axhline(100 * one.alexnet, color="#8a8a8a", lw=1, ls="--")
        axes.set_title(one.name, fontsize=9)
        axes.grid(alpha=0.25)
    panels[0].set_ylim(bottom=0)
    panels[0].set_xticks(range(SEVERITIES + 1), ["none", *map(str, range(1, SEVERITIES + 1))], fontsize=8)
    panels[-1].axis("off")
    panels[-1].plot([], [], "o-", color="#1f4e79", label="this network")
    panels[-1].plot([], [], "--", color="#8a8a8a", label="AlexNet, published,\nmean of the severities")
    panels[-1].legend(loc="center", frameon=False, fontsize=8)
    figure.supxlabel("severity", fontsize=9)
    figure.supylabel("error = 1 - balanced accuracy, in percent", fontsize=9)
    return figure


def faults_figure(shown: Pixels) -> Figure:
    """Draw cells with each fault (columns) at each severity (rows)."""
    figure = Figure(figsize=(13.2, 0.62 * SEVERITIES * 1.05 + 0.4), dpi=110)
    panels = figure.subplots(SEVERITIES, len(CORRUPTIONS), gridspec_kw={"wspace": 0.04, "hspace": 0.04})
    for column, one in enumerate(CORRUPTIONS):
        panels[0, column].set_title(one.name, fontsize=8)
        for row in range(SEVERITIES):
            axes = panels[row, column]
            axes.imshow(np.concatenate(list(one(shown, row + 1)), axis=1))
            axes.set_xticks([])
            axes.set_yticks([])
            if column == 0:
                axes.set_ylabel(str(row + 1), fontsize=8, rotation=0, va="center", labelpad=8)
    figure.subplots_adjust(left=0.025, right=0.995, top=0.92, bottom=0.01)
    return figure
