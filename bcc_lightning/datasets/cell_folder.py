"""Folders of class folders: read as a data set, with what is beside it, and sets written as such folders."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np

from bcc_lightning.datasets.balanced_folder import MANIFEST, is_balanced_folder
from bcc_lightning.datasets.folder_files import image_paths, read_folder
from bcc_lightning.datasets.listing import BALANCED_TRAIN, NO_SPLIT, SPLITS, CellListing, list_folder
from bcc_lightning.datasets.spelling import SetName, letters, set_name, shown
from bcc_lightning.datasets.splits import TEST, VAL
from bcc_lightning.errors import UserError

LONGEST_STEM = 200
"""Bytes of the source's name that a file keeps; file systems take 255 with hash and suffix."""


def list_cell_folder(root: Path, classes: tuple[str, ...] | None = None) -> CellListing:
    """List a folder of class folders.

    Args:
        root: the folder, with or without ``train/ val/ test/``, whatever their spelling.
        classes: class folders to be read, in label order; by default all, in alphabetical order.

    Raises:
        UserError: as `list_folder`, or the folder holds a balanced training set that is not finished, or without the sets that
            belong to it.
    """
    listing = list_folder(root, classes)
    balanced = balanced_training_set(root)
    if balanced and not ((balanced / MANIFEST).is_file() and {VAL, TEST} <= set(listing.splits.tolist())):
        raise UserError(
            f"{balanced} is not finished, or {root} lacks val or test; cut from a balanced training set they "
            "would hold copies of training cells. Next step: run `data balance` again with the same arguments"
        )
    return listing


def balanced_training_set(root: Path) -> Path | None:
    """Find the folder of a training set that ``data balance`` wrote; None if there is none."""
    folders = [root / name for name in read_folder(root, "").folders if set_name(name) == "train"]
    return next((one for one in folders if letters(one.name) == letters(BALANCED_TRAIN) or is_balanced_folder(one)), None)


def sister_notices(listing: CellListing) -> list[str]:
    """Describe the other sets beside a root that is itself one set, in a sentence; empty if there are none."""
    place = listing.root.absolute()
    if not set_name(place.name) or (listing.splits != NO_SPLIT).any():
        return []
    beside = [name for name in read_folder(place.parent, "").folders if set_name(name) not in {None, set_name(place.name)}]
    counts = {name: sum(1 for _ in image_paths(place.parent, name)) for name in beside}
    sisters = ", ".join(f"{shown(name)} ({count:,} images)" for name, count in counts.items() if count)
    if not sisters:
        return []
    name = shown(place.name)
    return [f"{name} is read as the whole data set; beside it are {sisters}. To read all sets, name {place.parent} as root."]


def write_set(listing: CellListing, name: SetName, out: Path) -> None:
    """Write one set as a folder of classes, by hard links where the disk allows it, else by copying.

    Args:
        listing: a data set with its split.
        name: ``train``, ``val`` or ``test``.
        out: the folder; files that are already there stay.
    """
    for row in np.flatnonzero(listing.splits == SPLITS.index(name)).tolist():
        path = listing.paths[row]
        place = out / listing.class_names[listing.labels[row]] / unique_name(path)
        if place.exists():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(listing.root / path, place)
        except OSError:
            shutil.copy2(listing.root / path, place)


def unique_name(path: str) -> str:
    """Name a file so that two of the same name from different folders do not collide, and long names still fit."""
    file = Path(path)
    stem = file.stem.encode()[:LONGEST_STEM].decode(errors="ignore")
    return f"{stem}_{hashlib.sha256(path.encode()).hexdigest()[:8]}{file.suffix}"
