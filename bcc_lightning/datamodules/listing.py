"""What is known of image files before a pixel is read: path, class, split, group, weight."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from bcc_lightning.datamodules.classes import canonical
from bcc_lightning.datamodules.decoding import SUFFIXES
from bcc_lightning.datamodules.names import Names
from bcc_lightning.errors import UserError

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")
NO_SPLIT = -1
"""Code of a cell that belongs to no split yet; the others are indices into `SPLITS`."""

BALANCED_TRAIN = "Balanced_Train"
"""Folder of a training part that was balanced when it was written."""


@dataclass(frozen=True)
class CellListing:
    """The image files of a data set.

    Attributes:
        root: folder that the paths begin at.
        paths: N paths relative to `root`, with forward slashes; they are the ids of the cells.
        class_names: names of the C classes, in label order.
        labels: (N,) int64, index into the class names.
        splits: (N,) int8, index into `SPLITS` where the split is given, else `NO_SPLIT`.
        groups: (N,) int64, patient or slide; None where unknown.
        weights: (N,) float32, weight in the loss; None where all are 1.
    """

    root: Path
    paths: Names
    class_names: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    splits: npt.NDArray[np.int8]
    groups: npt.NDArray[np.int64] | None = None
    weights: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        """Number of files N."""
        return len(self.labels)


def list_folder(root: Path, class_names: tuple[str, ...] | None = None, parts: Mapping[str, int] | None = None) -> CellListing:
    """List a folder that holds ``train/ val/ test/`` of class folders, or class folders alone.

    Args:
        root: the folder.
        class_names: class folders to be read, in label order, whatever way they are spelled; by default all, in alphabetical
            order, under the project's names where they are known.
        parts: folders of splits and their codes; by default those named ``train``, ``val`` and ``test``.

    Raises:
        UserError: the folder is missing, a class folder is missing or empty, or a link leads out of the root.
    """
    if not root.is_dir():
        raise UserError(f"{root} is no folder; it must hold class folders, or train/, val/ and test/ with class folders in them")
    parts = parts or {name: code for name in subfolders(root) if (code := part_code(name)) != NO_SPLIT} or {"": NO_SPLIT}
    names = class_names or tuple(sorted({canonical(name) for part in parts for name in subfolders(root / part)}))
    if not names:
        raise UserError(f"{root} holds no class folders; expected is one folder per class, or train/, val/, test/ of them")
    labels: list[npt.NDArray[np.int64]] = []
    splits: list[npt.NDArray[np.int8]] = []

    def paths() -> Iterator[str]:
        """Go through the files, and note label and split of each on the way."""
        for part, code in parts.items():
            for label, name in enumerate(names):
                count = 0
                for path in class_files(root, part, name):
                    count += 1
                    yield path
                labels.append(np.full(count, label, np.int64))
                splits.append(np.full(count, code, np.int8))

    listing = CellListing(root, Names.of(paths()), names, np.concatenate(labels), np.concatenate(splits))
    counts = np.bincount(listing.labels, minlength=len(names))
    if (counts == 0).any():
        empty = ", ".join(name for name, count in zip(names, counts, strict=True) if not count)
        raise UserError(f"{root} holds no image of class {empty}; add images or remove the empty folder")
    return listing


def class_files(root: Path, part: str, class_name: str) -> Iterator[str]:
    """Go through the image files of a class in a part: those of every folder whose name means the class."""
    for name in subfolders(root / part):
        if name == class_name or canonical(name) == canonical(class_name):
            yield from image_files(root, f"{part}/{name}".lstrip("/"))


def split_code(name: str) -> int:
    """Tell which split a name means, in any case; `NO_SPLIT` if none."""
    return SPLITS.index(name.lower()) if name.lower() in SPLITS else NO_SPLIT


def part_code(folder: str) -> int:
    """Tell which split a folder is; a balanced training part is one too."""
    return SPLITS.index("train") if folder == BALANCED_TRAIN else split_code(folder)


def subfolders(folder: Path) -> list[str]:
    """Name the folders in a folder, in order; hidden ones are left out."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def image_files(root: Path, folder: str) -> Iterator[str]:
    """Go through the image files below a folder, in order.

    Args:
        root: where paths begin.
        folder: relative to it.

    Raises:
        UserError: a symbolic link leads out of the root.
    """
    refuse_outside(root, folder)
    with os.scandir(root / folder) as entries:
        names, links, folders = [], set(), set()  # most are plain files, of which only the name is kept
        for entry in entries:
            if not entry.name.startswith("."):
                names.append(entry.name)
                links |= {entry.name} if entry.is_symlink() else set()
                folders |= {entry.name} if entry.is_dir() else set()
    for name in sorted(names):
        path = f"{folder}/{name}"
        if name in links:
            refuse_outside(root, path)
        if name in folders:
            yield from image_files(root, path)
        elif os.path.splitext(name)[1].lower() in SUFFIXES:
            yield path


def refuse_outside(root: Path, path: str) -> None:
    """Refuse a symbolic link that leads out of the root: an archive from elsewhere could point at anything."""
    if not (root / path).resolve().is_relative_to(root.resolve()):
        raise UserError(f"{root / path} is a link that leads out of {root}; copy the file, or name the folder it lies in as root")
