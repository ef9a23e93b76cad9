"""Paint what the tutorial works on: python docs/paint_tutorial.py FOLDER.

``FOLDER/cells`` holds a folder of cells per class, with three faults for the audit to find; ``FOLDER/clinic`` the same classes
from a laboratory with a paler stain; ``FOLDER/smears`` the cells of two smears, unsorted.
"""

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from bcc_lightning.datasets.classes import EIGHT_CELL_CLASSES
from bcc_lightning.datasets.smear_painter import paint_cells

SIDE = 48
"""Pixels of a side."""

WHITE_CELLS = {"neutrophil": 0.60, "lymphocyte": 0.28, "monocyte": 0.08, "eosinophil": 0.03, "basophil": 0.01}
"""A normal differential."""

EOSINOPHILIA = {"neutrophil": 0.42, "lymphocyte": 0.25, "monocyte": 0.07, "eosinophil": 0.25, "basophil": 0.01}
"""A differential with eight times as many eosinophils."""


def labels_of(counts: dict[str, int]) -> npt.NDArray[np.int64]:
    """Return the class numbers of so many cells of each class."""
    return np.repeat([EIGHT_CELL_CLASSES.index(name) for name in counts], list(counts.values())).astype(np.int64)


def save(image: npt.NDArray[np.uint8], file: Path) -> None:
    """Save an image, in a folder that may have to be made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(file, compress_level=0)  # the size of a compressed file would tell the class


def paint_classes(folder: Path, each: int, seed: int, paleness: float = 0.0, difficulty: float = 0.3) -> None:
    """Paint as many cells of each class, in a folder per class.

    Args:
        folder: folder of the class folders.
        each: cells of each class.
        seed: seed of the cells.
        paleness: share by which every colour is closer to white.
        difficulty: 0 paints textbook cells, 1 lets the classes overlap.
    """
    labels = labels_of(dict.fromkeys(EIGHT_CELL_CLASSES, each))
    images = paint_cells(labels, SIDE, difficulty, seed)
    images = (images + (255.0 - images) * paleness).astype(np.uint8)
    for row, (label, image) in enumerate(zip(labels, images, strict=True)):
        save(image, folder / EIGHT_CELL_CLASSES[label] / f"{row % each + 1:03d}.png")


def paint_smear(folder: Path, shares: dict[str, float], cells: int, seed: int) -> None:
    """Paint the cells of a smear in a random order."""
    labels = labels_of({name: round(share * cells) for name, share in shares.items()})
    labels = np.random.default_rng(seed).permutation(labels)
    for row, image in enumerate(paint_cells(labels, SIDE, 0.6, seed)):
        save(image, folder / f"{row + 1:03d}.png")


def plant_faults(cells: Path) -> None:
    """Plant a cell with two labels, an image that is not a cell, and a file that is cut off."""
    (cells / "monocyte" / "copy.png").write_bytes((cells / "lymphocyte" / "001.png").read_bytes())
    chart = Image.new("RGB", (SIDE, SIDE), "white")
    ImageDraw.Draw(chart).text((4, 18), "slide 7", fill="black")
    chart.save(cells / "basophil" / "label.png")
    whole = (cells / "platelet" / "001.png").read_bytes()
    (cells / "platelet" / "cut_off.png").write_bytes(whole[: len(whole) // 2])


def main(folder: Path) -> None:
    """Paint everything."""
    paint_classes(folder / "cells", each=60, seed=1, difficulty=0.6)
    plant_faults(folder / "cells")
    paint_classes(folder / "clinic", each=20, seed=2, paleness=0.2, difficulty=0.6)
    for place, (name, shares) in enumerate({"smear_1": WHITE_CELLS, "smear_2": EOSINOPHILIA}.items()):
        paint_smear(folder / "smears" / name, shares, cells=100, seed=3 + place)
    for part in sorted(folder.iterdir()):
        print(f"{part}: {sum(1 for file in part.rglob('*.png'))} images")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
