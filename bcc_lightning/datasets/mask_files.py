"""Segmentation masks that lie beside the images that they belong to; they are no cells."""

import os
from collections.abc import Sequence
from pathlib import Path

from bcc_lightning.datasets.decoding import LARGEST, UnreadableImageError, opened
from bcc_lightning.datasets.spelling import letters

MASK_FOLDERS = frozenset({"mask", "masks", "segmentationmask", "segmentationmasks"})
"""Folder names, letters only, of folders that hold masks."""

MARKS = ("mask", "masks", "segmentation")
"""What a mask's name has before or after that of its image; not ``seg``, which stands for segmented neutrophils."""

FEW_COLOURS = 16
"""A mask has a value for each part of the cell and each cell; an image of a cell has hundreds of colours."""


def is_mask_folder(name: str) -> bool:
    """Check whether a folder holds masks by its name."""
    return letters(name) in MASK_FOLDERS


def mask_names(folder: Path, images: Sequence[str]) -> set[str]:
    """Find the masks among the images of a folder.

    A mask is called like another image and ``_mask`` or its like, as in ``01.png`` and ``01_mask.png``; or the same but for its
    ending, as in ``01.bmp`` and ``01.png``, and has few colours where the other has many. Only the latter are opened.

    Args:
        folder: that holds them.
        images: names of its image files.
    """
    by_stem: dict[str, list[str]] = {}
    for name in images:
        by_stem.setdefault(os.path.splitext(name)[0].lower(), []).append(name)
    found = set()
    for stem, names in by_stem.items():
        if any(rest in by_stem for rest in unmarked(stem)):
            found.update(names)
        elif len(names) > 1:
            flat = {name for name in names if has_few_colours(folder / name)}
            found.update(flat if len(flat) < len(names) else ())
    return found


def unmarked(stem: str) -> list[str]:
    """List the names that an image would have whose mask is called so."""
    if not any(mark in stem for mark in MARKS):
        return []
    ends = [stem.removesuffix(f"{sign}{mark}") for mark in MARKS for sign in "_-. " if stem.endswith(f"{sign}{mark}")]
    begins = [stem.removeprefix(f"{mark}{sign}") for mark in MARKS for sign in "_-. " if stem.startswith(f"{mark}{sign}")]
    return [*ends, *begins]


def has_few_colours(file: Path) -> bool:
    """Check whether an image has as few colours as a mask; one that cannot be read has not."""
    try:
        with opened(file.read_bytes()) as image:
            return image.width * image.height <= LARGEST and image.getcolors(FEW_COLOURS) is not None
    except (OSError, UnreadableImageError):
        return False
