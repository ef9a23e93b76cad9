"""Parts of a split as folders: for programs that know folders only."""

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from bcc_lightning.datamodules.image_files import ImageFiles
from bcc_lightning.datasets.listing import NO_SPLIT, SPLITS, CellListing
from bcc_lightning.datasets.spelling import SetName

LONGEST_STEM = 200
"""Bytes of the source's name that a file keeps; file systems take 255 with hash and suffix."""


def divided_listing(data: ImageFiles) -> CellListing:
    """List the files of a data set with the split that training would use; copies that it leaves out belong to none."""
    codes = np.full(len(data.listing), NO_SPLIT, np.int8)
    codes[np.flatnonzero(data.kept)] = data.codes
    return replace(data.listing, splits=codes)


def write_part(listing: CellListing, part: SetName, out: Path) -> None:
    """Write one part as a folder of classes, by hard links where the disk allows it, else by copying.

    Args:
        listing: a data set with its split.
        part: ``train``, ``val`` or ``test``.
        out: the folder; files that are there already stay.
    """
    for row in np.flatnonzero(listing.splits == SPLITS.index(part)).tolist():
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
