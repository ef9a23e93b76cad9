"""Sets written as folders, for programs that read only folders."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np

from bcc_lightning.datasets.listing import SPLITS, CellListing
from bcc_lightning.datasets.spelling import SetName

LONGEST_STEM = 200
"""Bytes of the source's name that a file keeps; file systems take 255 with hash and suffix."""


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
