"""The figures of a run. Each function takes data and returns a figure; none keeps state."""

from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from bcc_lightning.evaluation.reliability import wilson
from bcc_lightning.files import whole_file
from bcc_lightning.printable import shortened

TRAIN, VAL, TEST = "#3b6fb6", "#d1603d", "#6a994e"
SAMPLES_PER_CLASS = 8
LONGEST_NAME = 32
"""Longest class name in a figure, in characters."""

MANY = 12
"""With more classes, names are drawn steeply; names with more characters need more room."""

SMALLEST_PITCH = 0.36
"""Inches per class if there are many."""

DARK = 0.5
"""Share of a row above which a cell of the matrix is dark, so that its text is white."""


class EpochMetrics(Protocol):
    """The metrics of each epoch of a run."""

    def curve(self, metric: str) -> tuple[list[int], list[float]]:
        """Return the epochs that have a metric, and its values."""
        ...


class LabelledImages(Protocol):
    """Images with labels."""

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """(N,) classes."""
        ...

    def take(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Return the images at (M,) positions: (M, H, W, 3)."""
        ...


def save_figure(figure: Figure, target: Path) -> None:
    """Write a figure as PNG, whole or not at all; ``$`` in a name does not begin a formula."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    with whole_file(target) as draft, rc_context({"text.parse_math": False}):  # some texts are created while drawing
        figure.savefig(draft, dpi=figure.dpi)


def curves_figure(history: EpochMetrics) -> Figure:
    """Draw loss and accuracy of training and validation by epoch; the chosen epoch is marked."""
    figure = Figure(figsize=(10, 4), dpi=120, layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    for axes, metric in ((loss, "loss"), (accuracy, "accuracy")):
        for split, colour in (("train", TRAIN), ("val", VAL)):
            epochs, values = history.curve(f"{split}/{metric}")
            axes.plot(epochs, values, "o-", color=colour, markersize=4, label={"train": "training", "val": "validation"}[split])
        axes.set(xlabel="epoch", ylabel=metric, title=metric.capitalize())
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
    if majority := history.curve("val/most_frequent")[1]:
        accuracy.axhline(
            majority[-1], color="#888888", linestyle="--", linewidth=1, label=f"most frequent class {majority[-1]:.4f}"
        )
    mark_best(accuracy, *history.curve("val/accuracy"))
    for axes in (loss, accuracy):
        axes.legend(frameon=False)
    return figure


def mark_best(axes: Axes, epochs: list[int], values: list[float]) -> None:
    """Circle the epoch with the highest validation accuracy, in a tie the first."""
    if values:
        best = int(np.argmax(values))
        label = f"best validation {values[best]:.4f}, epoch {epochs[best]}"
        axes.plot(epochs[best], values[best], "o", markersize=11, mfc="none", mec="black", label=label)


def confusion_figure(matrix: npt.NDArray[np.int64], class_names: list[str], tested: str = "Test set") -> Figure:
    """Draw a confusion matrix: rows true, columns predicted, counts as text, share of the row as colour.

    Args:
        matrix: (C, C) counts.
        class_names: names of the C classes.
        tested: set that was evaluated, for the title.
    """
    pitch = min(0.72, max(SMALLEST_PITCH, 14.4 / len(class_names)))
    names = shortened(class_names, LONGEST_NAME)
    side = 2.2 + pitch * len(names) + 0.08 * max(0, max(map(len, names)) - MANY)
    figure = Figure(figsize=(side + 1, side), dpi=120, layout="constrained")
    axes = figure.subplots()
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            shade = "white" if share[row, column] > DARK else "#222222"
            axes.text(column, row, f"{count}", ha="center", va="center", color=shade, fontsize=max(6, 12.5 * pitch))
    cells = matrix.sum(axis=1)
    recall = [f"{name}  ({100 * share[i, i]:.1f} %)" if cells[i] else f"{name}  (no cells)" for i, name in enumerate(names)]
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), recall)
    axes.set(xlabel="predicted class", ylabel="true class  (recall)")
    right, total = int(np.trace(matrix)), int(matrix.sum())
    figure.suptitle(
        f"{shortened([tested], LONGEST_NAME)[0]}\n{right:,} of {total:,} cells correct ({100 * right / max(total, 1):.2f} %; "
        f"most frequent class: {100 * cells.max() / max(total, 1):.2f} %)"
    )
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    return figure


def members_figure(correct: dict[str, int], cells: int, most_frequent: float) -> Figure:
    """Draw the test accuracy of an ensemble and of its members, with Wilson's 95 % intervals.

    Args:
        correct: name of a member or the ensemble to its number of correctly classified cells; the ensemble comes last.
        cells: number of test cells.
        most_frequent: share of the most frequent class among them.
    """
    figure = Figure(figsize=(8, 1.2 + 0.45 * len(correct)), dpi=120, layout="constrained")
    axes = figure.subplots()
    for row, right in enumerate(correct.values()):
        low, high = wilson(right, cells)
        colour = TEST if row == len(correct) - 1 else TRAIN
        axes.plot([100 * low, 100 * high], [row, row], color=colour)
        axes.plot(100 * right / cells, row, "o", color=colour)
        axes.annotate(f"{100 * right / cells:.2f}", (100 * right / cells, row), (0, 5), textcoords="offset points", ha="center")
    axes.set_yticks(range(len(correct)), shortened(correct, 2 * LONGEST_NAME))
    label = f"test accuracy in %, {cells:,} cells, 95 % interval; most frequent class: {100 * most_frequent:.2f}"
    axes.set(xlabel=label, ylim=(len(correct) - 0.4, -0.7))
    axes.grid(axis="x", alpha=0.25)
    return figure


def folds_figure(counts: list[tuple[int, int]], most_frequent: float, tested: str = "test") -> Figure:
    """Draw the accuracy of each fold with Wilson's 95 % interval, and their mean.

    Args:
        counts: correctly classified cells and all cells, by fold.
        most_frequent: mean share of the most frequent class.
        tested: set that the folds were evaluated on, for the axis.
    """
    figure = Figure(figsize=(8, 1.4 + 0.4 * len(counts)), dpi=120, layout="constrained")
    axes = figure.subplots()
    accuracy = [100 * right / cells for right, cells in counts]
    for row, (right, cells) in enumerate(counts):
        low, high = wilson(right, cells)
        axes.plot([100 * low, 100 * high], [row, row], color=TEST)
        axes.plot(accuracy[row], row, "o", color=TEST)
        axes.annotate(f"{accuracy[row]:.2f}", (accuracy[row], row), (0, 5), textcoords="offset points", ha="center")
    axes.axvline(float(np.mean(accuracy)), color="#888888", linestyle="--", linewidth=1, label=f"mean {np.mean(accuracy):.2f}")
    axes.set_yticks(range(len(counts)), [f"fold {row + 1} ({cells:,} cells)" for row, (_, cells) in enumerate(counts)])
    label = f"{tested} accuracy in %, 95 % interval; most frequent class: {100 * most_frequent:.2f}"
    axes.set(xlabel=label, ylim=(len(counts) - 0.4, -0.7))
    axes.grid(axis="x", alpha=0.25)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def class_counts_figure(counts: dict[str, npt.NDArray[np.int64]], class_names: list[str]) -> Figure:
    """Draw the number of cells of each class in each set.

    Args:
        counts: set name to (C,) counts.
        class_names: names of the C classes.
    """
    many = len(class_names) > MANY
    names = shortened(class_names, LONGEST_NAME)
    height = 4 + 0.08 * max(map(len, names)) if many else 4
    figure = Figure(figsize=(max(9, SMALLEST_PITCH * len(names)), height), dpi=120, layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(counts)
    for i, ((split, values), colour) in enumerate(zip(counts.items(), (TRAIN, VAL, TEST), strict=False)):
        places = np.arange(len(class_names)) + (i - (len(counts) - 1) / 2) * width
        bars = axes.bar(places, values, width, color=colour, label=f"{split} ({values.sum():,})")
        axes.bar_label(bars, fontsize=6, padding=1, rotation=90 if many else 0)
    axes.set_xticks(range(len(names)), names, rotation=60 if many else 20, ha="right", rotation_mode="anchor")
    axes.margins(x=0.01)
    axes.set(ylabel="cells", title="Cells per class and set")
    figure.legend(frameon=False, ncols=len(counts), loc="outside lower center")
    return figure


def samples_figure(cells: LabelledImages, class_names: list[str]) -> Figure:
    """Draw the first training cells of each class, as stored.

    Args:
        cells: the training set.
        class_names: names of the C classes.
    """
    pitch = min(1, max(SMALLEST_PITCH, 20 / len(class_names)))
    figure = Figure(figsize=(SAMPLES_PER_CLASS * pitch + 1.2, len(class_names) * pitch), dpi=110, layout="constrained")
    axes = figure.subplots()
    sheet, side = samples_sheet(cells, len(class_names))
    axes.imshow(sheet)  # a single image: 64 axes would take seconds
    axes.set(xticks=[])
    axes.set_yticks((np.arange(len(class_names)) + 0.5) * side, shortened(class_names, LONGEST_NAME))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def samples_sheet(cells: LabelledImages, num_classes: int) -> tuple[npt.NDArray[np.uint8], int]:
    """Arrange the first cells of each class side by side, one row per class.

    Args:
        cells: at least one.
        num_classes: number of classes C.

    Returns:
        The sheet (C * pitch, `SAMPLES_PER_CLASS` * pitch, 3) on white, and the pitch: a cell's side with a margin, in pixels.
    """
    side = cells.take(np.arange(1)).shape[1]
    pitch = side + max(1, side // 16)
    sheet = np.full((num_classes * pitch, SAMPLES_PER_CLASS * pitch, 3), 255, np.uint8)
    for number in range(num_classes):
        members = np.flatnonzero(cells.labels == number)[:SAMPLES_PER_CLASS]
        for place, image in enumerate(cells.take(members)):
            sheet[number * pitch : number * pitch + side, place * pitch : place * pitch + side] = image
    return sheet, pitch
