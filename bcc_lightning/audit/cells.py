"""The cells of an audit, and one pass over all of them."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from bcc_lightning.datasets.decoding import ImageFacts, UnreadableImageError, decode
from bcc_lightning.datasets.depth import EIGHT
from bcc_lightning.datasets.listing import NO_SPLIT, SPLITS, CellListing


class ReadCell(NamedTuple):
    """One cell as read from the data set.

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
        ids: N unique names; relative paths if the cells are files.
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
        bits: see `bcc_lightning.datasets.decoding.decode`.
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
    """Return the name of a set from its code; None if the cell is in no set."""
    return None if code == NO_SPLIT else SPLITS[code]


SIDE = 48
"""Side of the thumbnails in pixels; 7 kB per cell."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BORDER_SHARE = 16
"""The border is one sixteenth of a side wide, at least one pixel."""


@dataclass(frozen=True)
class Scan:
    """The data kept of N cells after one pass.

    Attributes:
        thumbnails: (N, SIDE, SIDE, 3) uint8 RGB; zeros for an unreadable cell.
        digests: N SHA-256 digests of the stored bytes; empty for an unreadable cell.
        facts: size, colour mode, format, bytes; None for an unreadable cell.
        border: (N, 15) float32, five quantiles of red, green and blue of the border pixels.
        mean_colour: (N, 3) float32.
        reasons: position of each unreadable cell and why it is unreadable.
    """

    thumbnails: npt.NDArray[np.uint8]
    digests: list[bytes]
    facts: list[ImageFacts | None]
    border: npt.NDArray[np.float32]
    mean_colour: npt.NDArray[np.float32]
    reasons: dict[int, str]

    @property
    def readable(self) -> npt.NDArray[np.int64]:
        """(M,) positions of the cells that could be read, ascending."""
        return np.array([position for position, facts in enumerate(self.facts) if facts], np.int64)


def scan(cells: AuditedCells) -> Scan:
    """Read all cells with as many threads as there are processors; the decoders release Python's lock."""
    count = len(cells.labels)
    result = Scan(
        np.zeros((count, SIDE, SIDE, 3), np.uint8),
        [b""] * count,
        [None] * count,
        np.zeros((count, 3 * len(QUANTILES)), np.float32),
        np.zeros((count, 3), np.float32),
        {},
    )

    def keep(position: int) -> None:
        """Read one cell and store the data kept of it."""
        try:
            cell = cells.read(position)
        except UnreadableImageError as error:
            result.reasons[position] = str(error)
            return
        result.thumbnails[position] = shrink(cell.image, SIDE)
        result.digests[position] = cell.digest
        result.facts[position] = cell.facts
        result.border[position] = border_quantiles(cell.image)
        result.mean_colour[position] = cell.image.mean(axis=(0, 1))

    with ThreadPoolExecutor(os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()) as threads:
        for _ in threads.map(keep, range(count)):
            pass
    return result


def shrink(image: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Resize an image (H, W, 3) to (side, side, 3); shrinking averages pixels, so that details do not become noise."""
    shrinks = min(image.shape[:2]) >= side
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.uint8)


def border_quantiles(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Compute the quantiles of the border pixels, channel by channel: (15,) float32."""
    height, width = image.shape[:2]
    edge = max(1, min(height, width) // BORDER_SHARE)
    sides = (image[:edge], image[-edge:], image[edge:-edge, :edge], image[edge:-edge, -edge:])
    pixels = np.concatenate([side.reshape(-1, 3) for side in sides])
    ordered = np.sort(pixels, axis=0)
    places = np.rint(np.array(QUANTILES) * (len(ordered) - 1)).astype(np.int64)
    return np.asarray(ordered[places].T.ravel(), np.float32)
