"""The sheet of explained cells: image, one map per branch, overlay, saliency."""

import cv2
import matplotlib
import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from torch import Tensor

from bcc_lightning.evaluation.predictions import Predictions
from bcc_lightning.explain.maps import Explanations, Maps
from bcc_lightning.printable import shortened

PANEL = 96
GAP = 6
GROUP_GAP = 26
CAPTION = 26
"""Pixels: side of a panel, between panels, between cells, and of the line above each cell."""

MANY = 12
"""Rows above which a panel is drawn with no more pixels than it has."""

LONGEST_NAME = 28
"""Characters of a class's name in a line, which holds two of them."""

RIGHT, WRONG = "#1b5e20", "#b71c1c"


def choose_cells(predictions: Predictions, num_classes: int, per_class: int) -> list[int]:
    """Choose cells of each class: the most confident mistake, if there is one, then rightly classified ones in order.

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
    """Draw the sheet: one row per class, several cells beside each other.

    Args:
        explanations: maps of N cells.
        labels: (N,) int64, true classes, ascending.
        probability: (N, C), rows sum to 1.
        class_names: names of the C classes.
    """
    names = shortened(class_names, LONGEST_NAME)
    strips = [strip(explanations, i) for i in range(len(labels))]
    titles = [*["cell"], *explanations.branches, *(["combined"] if len(explanations.branches) > 1 else []), "overlay", "saliency"]
    places = grid_places(labels.tolist())
    height, width = CAPTION + PANEL, strips[0].shape[1] + GROUP_GAP
    rows, columns = 1 + max(r for r, _ in places), 1 + max(c for _, c in places)
    sheet = np.ones((rows * height + CAPTION, columns * width, 3), np.float32)
    figure = Figure(figsize=(sheet.shape[1] / 100, sheet.shape[0] / 100), dpi=140 if rows <= MANY else 100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    for i, (row, column) in enumerate(places):
        top, left = CAPTION + row * height + CAPTION, column * width + GROUP_GAP // 2
        sheet[top : top + PANEL, left : left + strips[i].shape[1]] = strips[i]
        predicted = int(probability[i].argmax())
        right = predicted == int(labels[i])
        caption = f"{names[int(labels[i])]} → {names[predicted]} {100 * probability[i, predicted]:.0f} %"
        axes.text(left, top - 5, caption, fontsize=7.5, color=RIGHT if right else WRONG, weight="normal" if right else "bold")
        if row == 0:
            for place, title in enumerate(titles):
                axes.text(left + place * (PANEL + GAP) + PANEL / 2, CAPTION - 8, title, fontsize=7, color="#555555", ha="center")
    axes.imshow(sheet, interpolation="nearest", aspect="auto")
    return figure


def grid_places(labels: list[int]) -> list[tuple[int, int]]:
    """Give each cell its row, one per class that occurs, and its column."""
    rows = {label: row for row, label in enumerate(dict.fromkeys(labels))}
    return [(rows[label], labels[:i].count(label)) for i, label in enumerate(labels)]


def strip(explanations: Explanations, i: int) -> npt.NDArray[np.float32]:
    """Lay the panels of one cell beside each other: (PANEL, W, 3) float32 in [0, 1]."""
    image = cv2.resize(explanations.pixels[i], (PANEL, PANEL), interpolation=cv2.INTER_NEAREST)
    maps = [maps[i] for maps in explanations.branches.values()]
    combined = explanations.combined[i]
    if len(maps) > 1:
        maps.append(combined)
    heat = [colour(m, "turbo") for m in maps]
    strength = 0.6 * enlarge(combined)[..., None]
    overlay = (1 - strength) * image + strength * colour(combined, "turbo")
    panels = [image, *heat, overlay, colour(explanations.saliency[i], "hot")]
    gap = np.ones((PANEL, GAP, 3), np.float32)
    return np.hstack([part for panel in panels for part in (panel, gap)][:-1]).astype(np.float32)


def colour(values: Maps, name: str) -> npt.NDArray[np.float32]:
    """Colour one map (S, S) in [0, 1]: (PANEL, PANEL, 3) float32."""
    return np.asarray(matplotlib.colormaps[name](enlarge(values))[..., :3], np.float32)


def enlarge(values: Maps) -> Maps:
    """Enlarge one map (S, S) to a panel."""
    return np.asarray(cv2.resize(values, (PANEL, PANEL), interpolation=cv2.INTER_LINEAR), np.float32)
