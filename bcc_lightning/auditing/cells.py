"""What an audit reads: cells in files, or in an array such as that of BloodMNIST."""

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from bcc_lightning.datamodules.decoding import ImageFacts, UnreadableImageError, decode
from bcc_lightning.datamodules.depth import EIGHT
from bcc_lightning.datamodules.listing import NO_SPLIT, SPLITS, CellListing


class ReadCell(NamedTuple):
    """One cell, read.

    Attributes:
        digest: SHA-256 of the stored bytes.
        image: (H, W, 3) uint8 RGB.
        facts: size, colour mode, format, bytes.
    """

    digest: bytes
    image: npt.NDArray[np.uint8]
    facts: ImageFacts


class AuditedCells(Protocol):
    """Cells that can be audited.

    Attributes:
        ids: N names, unique; relative paths where the cells are files.
        class_names: names of the C classes, in label order.
        labels: (N,) int64, index into the class names.
        splits: (N,) int8, index into `SPLITS`, or `NO_SPLIT`.
    """

    ids: Sequence[str]
    class_names: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    splits: npt.NDArray[np.int8]

    def read(self, position: int) -> ReadCell:
        """Read one cell; called by several threads at once.

        Raises:
            UnreadableImageError: the cell cannot be read; the message says why.
        """
        ...


class FileCells:
    """Cells in image files.

    Args:
        listing: the files.
        bits: see `bcc_lightning.datamodules.decoding.decode`.
    """

    def __init__(self, listing: CellListing, bits: int = EIGHT) -> None:
        self.bits = bits
        self.root = listing.root
        self.ids: Sequence[str] = listing.paths
        self.class_names = listing.class_names
        self.labels = listing.labels
        self.splits = listing.splits

    def read(self, position: int) -> ReadCell:
        """Read one file, once: see `AuditedCells.read`."""
        try:
            content = (self.root / self.ids[position]).read_bytes()
        except OSError as error:
            raise UnreadableImageError(f"cannot be opened ({error.strerror})") from error
        image, facts = decode(content, self.bits)
        return ReadCell(sha256(content).digest(), image, facts)


class ArrayCells:
    """Cells in one array.

    Args:
        images: (N, H, W, 3) uint8 RGB, or (N, H, W) grey.
        ids: N names, unique.
        labels: (N,) int64.
        splits: (N,) int8, index into `SPLITS`, or `NO_SPLIT`.
        class_names: names of the C classes.
    """

    def __init__(
        self,
        images: npt.NDArray[np.uint8],
        ids: Sequence[str],
        labels: npt.NDArray[np.int64],
        splits: npt.NDArray[np.int8],
        class_names: tuple[str, ...],
    ) -> None:
        self.images, self.ids, self.labels, self.splits, self.class_names = images, ids, labels, splits, class_names

    def read(self, position: int) -> ReadCell:
        """Slice one cell out of the array: see `AuditedCells.read`."""
        stored = self.images[position]
        mode = "RGB" if stored.ndim > GREY else "L"
        image = stored if mode == "RGB" else np.repeat(stored[..., None], 3, axis=2)
        facts = ImageFacts(stored.shape[1], stored.shape[0], mode, "array", stored.nbytes)
        return ReadCell(sha256(stored.tobytes()).digest(), image, facts)


GREY = 2
"""Dimensions of a grey image."""


def split_name(code: int) -> str | None:
    """Name a split by its code; None where the cell belongs to none."""
    return None if code == NO_SPLIT else SPLITS[code]
