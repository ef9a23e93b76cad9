"""The sheet that shows what pipelines do to cells."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure

from bcc_lightning.printable import shortened
from bcc_lightning.transforms.laboratory import Laboratories
from bcc_lightning.transforms.operations import Pixels
from bcc_lightning.transforms.pipelines import Pipeline, batch_entropy, seed_pipeline

PANEL, GAP, GROUP_GAP = 96, 4, 22
"""Side of a panel, gap between panels and gap between groups of panels, in pixels."""

HEAD, NAMES = 58, 110
"""Space above the panels for the titles, and to their left for the class names, in pixels."""

LONGEST_NAME = 18
"""Characters of a class name that fit there."""

Panels = list[list[Pixels]]


def preview_figure(
    images: Sequence[Pixels],
    labels: Sequence[str],
    pipelines: Mapping[str, Pipeline | None],
    draws: int = 4,
    seed: int = 0,
    laboratories: Mapping[str, Laboratories] | None = None,
) -> Figure:
    """Draw the sheet: one row per cell, first the stored image, then several draws of each pipeline.

    Args:
        images: N images (H, W, 3) uint8 RGB, of any size.
        labels: N class names.
        pipelines: pipelines by name; None leaves images unchanged.
        draws: how often each pipeline is applied to each cell, at least 1.
        seed: the same seed draws the same sheet.
        laboratories: differences between laboratories by name; the images must then have one size.
    """
    groups = {"as stored": [[image] for image in images]}
    for name, pipeline in pipelines.items():
        groups[name] = [draw_cell(image, row, pipeline, draws, seed) for row, image in enumerate(images)]
    for name, differences in (laboratories or {}).items():
        groups[name] = draw_laboratories(images, differences, draws, seed)
    sheet, lefts = lay_out(list(groups.values()), len(images))
    figure = Figure(figsize=(sheet.shape[1] / 100, sheet.shape[0] / 100), dpi=130)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    axes.imshow(sheet, interpolation="nearest", aspect="auto")
    axes.text(NAMES, 16, "What training sees instead of the stored images", fontsize=10, weight="bold", va="center")
    for name, left in zip(groups, lefts, strict=True):
        axes.text(left, HEAD - 8, name, fontsize=8.5, color="#333333")
    names = list(dict.fromkeys(labels))
    shown = dict(zip(names, shortened(names, LONGEST_NAME), strict=True))
    for row, label in enumerate(labels):
        axes.text(NAMES - 8, HEAD + row * (PANEL + GAP) + PANEL / 2, shown[label], fontsize=8, ha="right", va="center")
    return figure


def draw_cell(image: Pixels, row: int, pipeline: Pipeline | None, draws: int, seed: int) -> list[Pixels]:
    """Apply a pipeline several times to one image, each time with new random numbers."""
    drawn = []
    for draw in range(draws):
        if pipeline is not None:
            seed_pipeline(pipeline, seed, draw, np.array([row]))
        drawn.append(image if pipeline is None else pipeline(image=image)["image"])
    return drawn


def draw_laboratories(images: Sequence[Pixels], laboratories: Laboratories, draws: int, seed: int) -> Panels:
    """Show images in several laboratories: for each image as many panels as there are draws."""
    batch = torch.from_numpy(np.stack(list(images))).permute(0, 3, 1, 2)
    entropy = [batch_entropy(seed, draw, np.arange(len(images))) for draw in range(draws)]
    drawn = [laboratories(batch, one).permute(0, 2, 3, 1).numpy() for one in entropy]
    return [[shown[row] for shown in drawn] for row in range(len(images))]


def lay_out(groups: list[Panels], rows: int) -> tuple[npt.NDArray[np.uint8], list[int]]:
    """Arrange the panels on a white sheet.

    Args:
        groups: for each group, a list of panels for each row.
        rows: number of rows.

    Returns:
        The sheet (H, W, 3) uint8, and the left edge of each group in pixels.
    """
    widths = [len(group[0]) * (PANEL + GAP) for group in groups]
    lefts = [NAMES + sum(widths[:i]) + i * GROUP_GAP for i in range(len(groups))]
    sheet = np.full((HEAD + rows * (PANEL + GAP) + GAP, lefts[-1] + widths[-1] + GROUP_GAP, 3), 255, np.uint8)
    for group, left in zip(groups, lefts, strict=True):
        for row, panels in enumerate(group):
            for column, image in enumerate(panels):
                y, x = HEAD + row * (PANEL + GAP), left + column * (PANEL + GAP)
                sheet[y : y + PANEL, x : x + PANEL] = to_panel(image)
    return sheet, lefts


def to_panel(image: Pixels) -> Pixels:
    """Resize an image to a panel: pixels of small images stay visible, those of large ones are averaged."""
    small = max(image.shape[:2]) <= PANEL
    resized = cv2.resize(image, (PANEL, PANEL), interpolation=cv2.INTER_NEAREST if small else cv2.INTER_AREA)
    return np.asarray(resized, np.uint8)
