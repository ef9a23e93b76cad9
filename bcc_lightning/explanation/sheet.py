"""The sheet of a report: several cells of each class, and where the network looked in each.

It is drawn for a page 1100 pixels wide, with twice as many pixels, so that it can be looked at closely.
"""

from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from bcc_lightning.evaluation.metrics import Predictions
from bcc_lightning.explanation.colours import Picture, enlarged, legend, overlaid, without_peaks
from bcc_lightning.explanation.maps import Explanations
from bcc_lightning.explanation.methods import METHODS
from bcc_lightning.printable import shortened

WIDTH = 1100
"""Of the page, in pixels; one is a hundredth of an inch of the figure."""

SMALLEST_PANEL, LARGEST_PANEL = 100, 170
GAP = 6
GROUP_GAP = 30
CAPTION = 26
HEADING = 34
LEGEND = 74
"""In pixels: side of a panel, gap between panels and between cells, height of a caption, of a class's name and of the legend."""

RESOLUTION = 200
"""Dots per inch; two for each pixel of the page."""

LONGEST = 8000
"""Largest height of the file in pixels; a sheet of very many classes has a lower resolution."""

POINTS = 0.72
"""Points of a font that is one pixel high."""

LONGEST_NAME = 28
"""Longest class name in a line, in characters."""

RIGHT, WRONG, GREY = "#1b5e20", "#b71c1c", "#555555"


class Layout(NamedTuple):
    """Where cells stand.

    Attributes:
        panel: side of a panel in pixels.
        columns: cells side by side.
        width: of a cell's panels in pixels.
    """

    panel: int
    columns: int
    width: int

    @property
    def row(self) -> int:
        """Height of a row of cells in pixels."""
        return CAPTION + self.panel

    def left(self, column: int) -> int:
        """Return where the panels of a column begin, in pixels."""
        return GAP + column * (self.width + GROUP_GAP)


def choose_cells(predictions: Predictions, num_classes: int, per_class: int) -> list[int]:
    """Choose cells of each class: the most confident mistake, if there is one, then correctly classified ones in order.

    Returns:
        Rows of `predictions`, class by class.
    """
    rows: list[int] = []
    confidence = predictions.probability.amax(dim=1)
    right = predictions.predicted == predictions.label
    for number in range(num_classes):
        members = torch.nonzero(predictions.label == number).flatten()
        wrong = members[~right[members]]
        mistakes = wrong[confidence[wrong].argsort(descending=True)].tolist()
        correct = members[right[members]].tolist()
        rows += (mistakes[:1] + correct + mistakes[1:])[:per_class]
    return rows


def contact_sheet(explanations: Explanations, labels: Tensor, probability: Tensor, class_names: list[str]) -> Figure:
    """Draw the sheet: a block per class, with as many cells side by side as a page holds.

    Args:
        explanations: maps of N cells.
        labels: (N,) int64, true classes, ascending.
        probability: (N, C), rows sum to 1.
        class_names: names of the C classes.
    """
    names, titles = shortened(class_names, LONGEST_NAME), panel_titles(explanations)
    members = {label: torch.nonzero(labels == label).flatten().tolist() for label in torch.unique_consecutive(labels).tolist()}
    layout = arrange(len(titles), max(map(len, members.values())))
    rows = sum(-(-len(cells) // layout.columns) for cells in members.values())
    height = LEGEND + CAPTION + len(members) * HEADING + rows * layout.row + GAP
    figure = Figure(figsize=(WIDTH / 100, height / 100), dpi=min(RESOLUTION, 100 * LONGEST / height))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(height, 0))
    axes.axis("off")
    draw_legend(axes, METHODS[explanations.method].title)
    for column in range(layout.columns):
        for place, title in enumerate(titles):
            centre = layout.left(column) + place * (layout.panel + GAP) + layout.panel / 2
            write(axes, centre, LEGEND + CAPTION - 8, title, GREY, size=12, align="center")
    top = LEGEND + CAPTION
    for label, cells in members.items():
        axes.plot([GAP, WIDTH - GAP], [top + 5, top + 5], color="#d6d6da", linewidth=0.8)
        write(axes, GAP, top + HEADING - 8, names[label], "black", size=16, weight="bold")
        top += HEADING
        for number, cell in enumerate(cells):
            row, column = divmod(number, layout.columns)
            left, upper = layout.left(column), top + row * layout.row + CAPTION
            draw_panels(axes, left, upper, panels(explanations, cell, 2 * layout.panel))
            write_caption(axes, left, upper - 8, probability[cell], label, names)
        top += -(-len(cells) // layout.columns) * layout.row
    return figure


def panel_titles(explanations: Explanations) -> list[str]:
    """Name the panels of a cell, from left to right."""
    branches = list(explanations.branches)
    return ["cell", *branches, *(["combined"] if len(branches) > 1 else []), "saliency"]


def panels(explanations: Explanations, cell: int, side: int) -> list[Picture]:
    """Draw the panels of a cell: the image with its pixels, then each map over it."""
    image = enlarged(explanations.pixels[cell], side, smooth=False)
    maps = [maps[cell] for maps in explanations.branches.values()]
    if len(maps) > 1:
        maps.append(explanations.combined[cell])
    return [image, *(overlaid(image, one) for one in [*maps, without_peaks(explanations.saliency[cell])])]


def arrange(panels_per_cell: int, most: int) -> Layout:
    """Choose how many cells stand side by side, and how large their panels are.

    Args:
        panels_per_cell: panels of a cell.
        most: cells of the largest class.
    """
    smallest = panels_per_cell * (SMALLEST_PANEL + GAP) - GAP + GROUP_GAP
    columns = max(1, min(most, (WIDTH - 2 * GAP + GROUP_GAP) // smallest))
    room = (WIDTH - 2 * GAP - (columns - 1) * GROUP_GAP) // columns
    panel = min(SMALLEST_PANEL if most == 1 else LARGEST_PANEL, (room + GAP) // panels_per_cell - GAP)
    return Layout(panel, columns, panels_per_cell * (panel + GAP) - GAP)


def draw_panels(axes: Axes, left: int, top: int, pictures: list[Picture]) -> None:
    """Draw the panels of a cell side by side; each has twice as many pixels a side as the page."""
    for number, picture in enumerate(pictures):
        panel = len(picture) // 2
        at = left + number * (panel + GAP)
        axes.imshow(picture, extent=(at, at + panel, top + panel, top), interpolation="none", aspect="auto")


def write_caption(axes: Axes, left: int, bottom: int, probability: Tensor, label: int, names: list[str]) -> None:
    """Write what a cell was taken for; a mistake in red. `probability` is (C,)."""
    predicted = int(probability.argmax())
    right = predicted == label
    text = f"{'' if right else 'taken for '}{names[predicted]}, {100 * probability[predicted]:.0f} %"
    write(axes, left, bottom, text, RIGHT if right else WRONG, 13, weight="normal" if right else "bold")


def draw_legend(axes: Axes, method: str) -> None:
    """Draw the scale of the maps, and what it means; `method` is the method's title."""
    axes.imshow(legend(256, 2), extent=(GAP, GAP + 220, 30, 14), interpolation="none", aspect="auto")
    for at, text in ((GAP, "0: no influence"), (GAP + 220, "1: most in this image")):
        write(axes, at, 48, text, GREY, 12, "left" if at == GAP else "center")
    text = f"{method}: the brighter (yellow) a place, the more it speaks for the predicted class."
    write(axes, GAP + 330, 28, text, GREY, 12)
    text = "Saliency: how much the loss of the true class changes with each pixel; the top 1 % is shown as 1."
    write(axes, GAP + 330, 48, text, GREY, 12)


def write(axes: Axes, x: float, y: float, text: str, colour: str, size: int, align: str = "left", weight: str = "normal") -> None:
    """Write a text whose size is in pixels of the page."""
    axes.text(x, y, text, color=colour, fontsize=POINTS * size, ha=align, weight=weight)
