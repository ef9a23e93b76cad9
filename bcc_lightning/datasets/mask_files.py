"""Segmentation masks that lie beside the images that they belong to; they are no cells."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from bcc_lightning.datasets.decoding import LARGEST, UnreadableImageError, opened
from bcc_lightning.datasets.spelling import letters

PERHAPS_MASK_FOLDERS = frozenset({"annotation", "groundtruth", "gt", "label", "seg", "segmentation"})
"""Names, letters only and without a plural, of folders that hold masks if their images look so; with ``mask`` in its name one
does anyway."""

MASK = frozenset({"mask", "masks"})
PERHAPS_MASK = frozenset({"gt", "groundtruth", "label", "labels", "seg", "segmentation"})
"""Words that a mask's name has beside those of its image; ``seg`` may also stand for a segmented neutrophil."""

MARKED = re.compile("|".join(sorted(MASK | PERHAPS_MASK)))

PARTS = frozenset({"binary", "cell", "cyto", "cytoplasm", "nuc", "nucleus"})
"""Words for what a mask shows."""

PHOTOGRAPH = frozenset({"image", "img", "orig", "original", "rgb"})
"""Words that an image's name has where that of its mask has another."""

FEW_COLOURS = 16
"""A mask has a value for each part of the cell and each cell; an image of a cell has hundreds of colours."""

LEVELS, LEVEL, NEARLY_ALL = 4, 16, 0.95
"""A mask with soft edges, or one that was compressed, is grey, and nearly all of its pixels are within so few levels of so many
grey values each."""

COLOURED = 24
"""Difference of two channels of a pixel that is not grey."""


class Found(NamedTuple):
    """What lies beside the images of a folder.

    Attributes:
        masks: names of masks.
        twins: names of images that are called like another one but for the ending, and are no masks.
    """

    masks: set[str]
    twins: set[str]


def is_mask_folder(name: str, images: Iterable[Path]) -> bool:
    """Check whether a folder holds masks by its name, and by its first image where the name alone does not tell.

    Args:
        name: of the folder.
        images: the files in it; read only where needed.
    """
    plain = letters(name)
    if "mask" in plain:
        return True
    first = next(iter(images), None) if plain.removesuffix("s") in PERHAPS_MASK_FOLDERS else None
    return first is not None and is_flat(first)


def masks_beside(folder: Path, images: Sequence[str]) -> Found:
    """Find the masks among the images of a folder.

    A mask is called like another image and ``mask``, as in ``01.png`` and ``01_mask.png``, or ``01_img.png`` and
    ``01_nucleus_mask.png``; or like it but for its ending or a word such as ``seg``, and is flat where the other is not. Only the
    latter are opened.

    Args:
        folder: that holds them.
        images: names of its image files.
    """
    stems = {os.path.splitext(name)[0].lower() for name in images}
    if len(stems) == len(images) and not any(map(MARKED.search, stems)):
        return Found(set(), set())
    by_words: dict[tuple[str, ...], list[str]] = {}
    marked: list[tuple[str, list[str]]] = []
    for name in images:
        words = re.split(r"[_\-. ]+", os.path.splitext(name)[0].lower())
        if is_marked := not (MASK | PERHAPS_MASK).isdisjoint(words):
            marked.append((name, words))
        by_words.setdefault(tuple(words) if is_marked else without(words, PHOTOGRAPH), []).append(name)
    masks = set()
    for name, words in marked:
        bare = without(words, MASK | PERHAPS_MASK)
        is_beside = bare in by_words or without(bare, PARTS) in by_words
        if is_beside and (not MASK.isdisjoint(words) or is_flat(folder / name)):
            masks.add(name)
    twins: set[str] = set()
    for same in by_words.values():
        names = {name for name in same if name not in masks}
        if len(names) > 1 and len({os.path.splitext(name)[0].lower() for name in names}) == 1:
            flat = {name for name in names if is_flat(folder / name)}
            masks.update(flat if flat < names else ())
            twins.update(names - masks if len(names - masks) > 1 else ())
    return Found(masks, twins)


def without(words: Iterable[str], some: frozenset[str]) -> tuple[str, ...]:
    """Leave out some words."""
    return tuple(word for word in words if word not in some)


def is_flat(file: Path) -> bool:
    """Check whether an image has no more colours than a mask; one that cannot be read is none."""
    try:
        with opened(file.read_bytes()) as image:
            if image.width * image.height > LARGEST:
                return False
            if image.mode.startswith(("I", "F")):
                return len(np.unique(np.asarray(image))) <= FEW_COLOURS
            return image.getcolors(FEW_COLOURS) is not None or is_flat_grey(image)
    except (OSError, UnreadableImageError):
        return False


def is_flat_grey(image: Image.Image) -> bool:
    """Check whether an image is grey, and nearly all of it of a few levels."""
    pixels: npt.NDArray[np.int16] = np.asarray(image.convert("RGB"), np.int16)
    if (np.ptp(pixels, axis=2) > COLOURED).mean() > 1 - NEARLY_ALL:
        return False
    levels = np.bincount(pixels[..., 1].ravel() // LEVEL)
    return bool(np.sort(levels)[-LEVELS:].sum() >= NEARLY_ALL * levels.sum())
