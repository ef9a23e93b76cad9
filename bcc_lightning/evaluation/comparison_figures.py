"""The figures of a comparison: differences with their intervals, and cells that one network gets right and another wrong."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bcc_lightning.evaluation.comparison import Estimate
from bcc_lightning.evaluation.figures import COLOURS, LONGEST_NAME, STYLE
from bcc_lightning.printable import shortened

RIGHT, WRONG = "#1b5e20", "#b71c1c"

PANEL, GAP, CAPTION = 96, 12, 34
"""In pixels: side of a cell, gap between cells, height of the two lines below each."""

COLUMNS = 5
LONGEST_CLASS = 14
"""Longest class name below a cell, in characters."""


@dataclass(frozen=True)
class Disagreement:
    """A cell that one network classified correctly and the other did not.

    Attributes:
        image: (S, S, 3) uint8.
        true: name of its class.
        probability: that the network that is right gave the true class.
        mistaken: class that the other network predicted.
        mistaken_probability: the probability it gave that class.
    """

    image: npt.NDArray[np.uint8]
    true: str
    probability: float
    mistaken: str
    mistaken_probability: float


@rc_context(STYLE)
def differences_figure(pairs: Sequence[tuple[str, dict[str, Estimate]]], names: dict[str, str]) -> Figure:
    """Draw differences with their 95 % intervals, in points (hundredths).

    Args:
        pairs: for each pair its description, such as ``B - A``, and metric to difference.
        names: metric to what a reader calls it; only these are drawn.
    """
    drawn = pairs[: len(COLOURS)]
    pitch = max(0.45, 0.2 * len(drawn) + 0.15)
    figure = Figure(figsize=(8, 1.3 + pitch * len(names)), dpi=120, layout="constrained")
    axes = figure.subplots()
    for place, ((label, differences), colour) in enumerate(zip(drawn, COLOURS, strict=False)):
        offset = (place - (len(drawn) - 1) / 2) * 0.7 / len(drawn)
        shown = label
        for row, metric in enumerate(names):
            one = differences[metric]
            if one.value is None or one.low is None or one.high is None:
                continue
            axes.plot([100 * one.low, 100 * one.high], [row + offset] * 2, color=colour)
            axes.plot(100 * one.value, row + offset, "o", color=colour, label=shown)
            shown = ""
            if len(drawn) == 1:
                text = f"{100 * one.value:+.2f}"
                axes.annotate(text, (100 * one.value, row), (0, 5), textcoords="offset points", ha="center", fontsize=9)
    axes.axvline(0, color="black", linewidth=1)
    axes.set_yticks(range(len(names)), list(names.values()))
    axes.set(xlabel="difference in points (hundredths), 95 % interval", ylim=(len(names) - 0.4, -0.7))
    axes.grid(axis="x", alpha=0.25)
    if len(drawn) == 1:
        axes.set_title(drawn[0][0], fontsize=10)
    else:
        title = f"{len(drawn)} of {len(pairs)} pairs" if len(drawn) < len(pairs) else None
        axes.legend(title=title, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def disagreements_figure(sides: Sequence[tuple[str, Sequence[Disagreement]]]) -> Figure:
    """Draw cells on which two networks disagree, in two blocks side by side.

    Args:
        sides: for each block its title and its cells, as many as are to be drawn.
    """
    rows = max(1, *(-(-len(cells) // COLUMNS) for _, cells in sides))
    width, height = COLUMNS * (PANEL + GAP), rows * (PANEL + CAPTION)
    figure = Figure(figsize=((2 * width + 60) / 100, (height + 60) / 100), dpi=140)
    for block, (title, cells) in enumerate(sides):
        left = (20 + block * (width + 20)) / (2 * width + 60)
        area = (left, 10 / (height + 60), width / (2 * width + 60), height / (height + 60))
        draw_block(figure.add_axes(area), title, cells, (height, width))
    return figure


def draw_block(axes: Axes, title: str, cells: Sequence[Disagreement], shape: tuple[int, int]) -> None:
    """Draw one block of cells: below each, in green the true class, in red the mistake of the other network."""
    height, width = shape
    sheet = np.full((height, width, 3), 255, np.uint8)
    for place, cell in enumerate(cells):
        top, left = place // COLUMNS * (PANEL + CAPTION), place % COLUMNS * (PANEL + GAP)
        method = cv2.INTER_AREA if cell.image.shape[0] > PANEL else cv2.INTER_NEAREST
        sheet[top : top + PANEL, left : left + PANEL] = cv2.resize(cell.image, (PANEL, PANEL), interpolation=method)
        true, mistaken = shortened((cell.true, cell.mistaken), LONGEST_CLASS)
        for line, (text, colour) in enumerate(
            ((f"{true} {100 * cell.probability:.0f} %", RIGHT), (f"{mistaken} {100 * cell.mistaken_probability:.0f} %", WRONG))
        ):
            axes.text(left, top + PANEL + 12 + 13 * line, text, fontsize=7, color=colour)
    axes.imshow(sheet, interpolation="nearest", aspect="auto")
    axes.set_title(shortened([title], 3 * LONGEST_NAME)[0], fontsize=10, loc="left")
    axes.axis("off")
