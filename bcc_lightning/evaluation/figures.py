"""The figures of a run. Each function takes data and returns a figure; none keeps state."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
from cycler import cycler
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator, NullFormatter

from bcc_lightning.evaluation.calibration import Bin
from bcc_lightning.evaluation.reliability import wilson
from bcc_lightning.files import whole_file
from bcc_lightning.printable import shortened

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

TRAIN, VAL, TEST = "#3b6fb6", "#d1603d", "#6a994e"
COLOURS = (TRAIN, VAL, TEST, "#7b5ea7", "#b08900", "#5b6b7b")
GREY, INK = "#8a8a8a", "#1d1d1f"

STYLE: "dict[RcKeyType, Any]" = {
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
"""How all figures look, for matplotlib's `rc_context`."""

SAMPLES_PER_CLASS = 8
LONGEST_NAME = 32
"""Longest class name in a figure, in characters."""

MANY = 12
"""With more classes, names are drawn steeply; names with more characters need more room."""

SMALLEST_PITCH = 0.36
"""Inches per class if there are many."""

SMALLEST_SHARE = 0.002
"""Share of a row from which on a mistake is coloured."""

DARK = 0.12
"""Share of a row above which the colour of a mistake is dark, so that its text is white."""

ROOMY = 0.55
"""Inches per class from which on a cell of the matrix has room for count and share."""


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


@rc_context(STYLE)
def curves_figure(history: EpochMetrics, kept: int | None = None) -> Figure:
    """Draw loss, accuracy and learning rate by epoch.

    Args:
        history: metrics of each epoch.
        kept: epoch whose weights were kept, from 0; None if there is none yet.
    """
    figure = Figure(figsize=(11, 3.6), dpi=120, layout="constrained")
    loss, accuracy, rate = figure.subplots(1, 3, width_ratios=(3, 3, 2))
    for axes, metric in ((loss, "loss"), (accuracy, "accuracy")):
        for split, colour in (("train", TRAIN), ("val", VAL)):
            epochs, values = history.curve(f"{split}/{metric}")
            axes.plot(epochs, values, "o-", color=colour, markersize=4, label={"train": "training", "val": "validation"}[split])
    rate.plot(*history.curve("train/lr"), "o-", color=TEST, markersize=4)
    rate.set_ylim(bottom=0)
    if majority := history.curve("val/most_frequent")[1]:
        label = f"most frequent class: {majority[-1]:.3f}"
        accuracy.axhline(majority[-1], color=GREY, linestyle="--", linewidth=1, label=label)
    for axes, title in ((loss, "Loss"), (accuracy, "Accuracy"), (rate, "Learning rate")):
        axes.set(xlabel="epoch", title=title)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
        if kept is not None:
            axes.axvline(kept, color=INK, linewidth=1, linestyle=":", label=f"kept: epoch {kept}")
    for axes in (loss, accuracy):
        axes.legend()
    return figure


@rc_context(STYLE)
def confusion_figure(matrix: npt.NDArray[np.int64], class_names: Sequence[str], tested: str = "Test set") -> Figure:
    """Draw a confusion matrix in which the mistakes stand out: coloured by their share of the row, beside a grey diagonal.

    Args:
        matrix: (C, C) counts, rows true, columns predicted.
        class_names: names of the C classes.
        tested: set that was evaluated, for the title.
    """
    pitch = min(0.72, max(SMALLEST_PITCH, 14.4 / len(class_names)))
    names = shortened(class_names, LONGEST_NAME)
    side = 2.2 + pitch * len(names) + 0.08 * max(0, max(map(len, names)) - MANY)
    figure = Figure(figsize=(side + 1, side), dpi=120, layout="constrained")
    axes = figure.subplots()
    cells = matrix.sum(axis=1)
    share = matrix / np.maximum(cells[:, None], 1)
    right = np.eye(len(names), dtype=bool)
    mistakes = np.ma.masked_where(right | (matrix == 0), np.maximum(share, SMALLEST_SHARE))
    axes.imshow(np.where(right & (cells > 0), 0.1, 0), cmap="Greys", vmin=0, vmax=1)
    colours = colormaps["OrRd"].with_extremes(bad=(0, 0, 0, 0))
    image = axes.imshow(mistakes, cmap=colours, norm=LogNorm(SMALLEST_SHARE, 1))
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            part = 100 * share[row, column]
            text = f"{count:,}\n{part:.0f} %" if part >= 1 else f"{count:,}\n{part:.1f} %"
            shade = "white" if row != column and share[row, column] > DARK else INK
            size = max(6, 12.5 * pitch)
            axes.text(column, row, text if pitch > ROOMY else f"{count:,}", ha="center", va="center", color=shade, fontsize=size)
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), [f"{name}  ({total:,})" for name, total in zip(names, cells, strict=True)])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="predicted class", ylabel="true class  (cells)")
    correct, total = int(np.trace(matrix)), int(matrix.sum())
    figure.suptitle(f"{shortened([tested], LONGEST_NAME)[0]}\n{correct:,} of {total:,} cells correct")
    bar = figure.colorbar(image, ax=axes, label="mistakes: share of the true class, logarithmic", shrink=0.8)
    bar.set_ticks([0.002, 0.01, 0.05, 0.2, 1.0], labels=["0.2 %", "1 %", "5 %", "20 %", "100 %"])
    bar.outline.set_visible(False)
    return figure


@rc_context(STYLE)
def reliability_figure(panels: Sequence[tuple[str, Sequence[Bin]]]) -> Figure:
    """Draw reliability diagrams side by side, with the number of cells below.

    Args:
        panels: title and bins of each.
    """
    figure = Figure(figsize=(5.2 * len(panels), 4.9), dpi=110, layout="constrained")
    grid = figure.subplots(2, len(panels), squeeze=False, sharex=True, height_ratios=(4, 1))
    for column, (title, bins) in enumerate(panels):
        draw_reliability(grid[0, column], bins)
        grid[0, column].set_title(title, fontsize=10)
        widths = [one.high - one.low for one in bins]
        grid[1, column].bar([one.low for one in bins], [one.cells for one in bins], widths, align="edge", color=GREY)
        grid[1, column].set(
            xlabel="probability of the predicted class", ylabel="cells", yscale="log", xlim=(0, 1), ylim=(0.7, None)
        )
        grid[1, column].yaxis.set_major_formatter("{x:,.0f}")
        grid[1, column].yaxis.set_minor_formatter(NullFormatter())
    grid[0, 0].set_ylabel("share of correct answers")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), ncols=2, loc="outside lower center")
    return figure


def draw_reliability(axes: Axes, bins: Sequence[Bin]) -> None:
    """Draw the share of correctly classified cells in each bin, and its gap to the mean probability."""
    lows, widths = [one.low for one in bins], [one.high - one.low for one in bins]
    axes.bar(lows, [one.accuracy for one in bins], widths, align="edge", color=TRAIN, alpha=0.75, edgecolor="white")
    confidence = [one.confidence for one in bins]
    axes.vlines(confidence, confidence, [one.accuracy for one in bins], color=VAL, linewidth=2, label="calibration gap")
    axes.plot([0, 1], [0, 1], color=INK, linestyle="--", linewidth=1, label="perfect calibration")
    axes.set(ylim=(0, 1.02))


@rc_context(STYLE)
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


@rc_context(STYLE)
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
    axes.axvline(float(np.mean(accuracy)), color=GREY, linestyle="--", linewidth=1, label=f"mean {np.mean(accuracy):.2f}")
    axes.set_yticks(range(len(counts)), [f"fold {row + 1} ({cells:,} cells)" for row, (_, cells) in enumerate(counts)])
    label = f"{tested} accuracy in %, 95 % interval; most frequent class: {100 * most_frequent:.2f}"
    axes.set(xlabel=label, ylim=(len(counts) - 0.4, -0.7))
    axes.grid(axis="x", alpha=0.25)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


@rc_context(STYLE)
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
    figure.legend(ncols=len(counts), loc="outside lower center")
    return figure


@rc_context(STYLE)
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
