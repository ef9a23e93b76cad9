"""Labelled cell images of a data set, in memory or memory-mapped, and the names that identify them."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import overload

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bcc_lightning.balancing.smote import synthesise
from bcc_lightning.datasets.spelling import SetName
from bcc_lightning.errors import UserError

CHUNK = 65_536

AT_ONCE = 256
"""Images whose pixels are hashed at once."""


class Names(Sequence[str]):
    """A sequence of strings in one Arrow array, which may be memory-mapped from a file.

    Args:
        array: the strings.
    """

    def __init__(self, array: pa.StringArray) -> None:
        self.array = array

    @classmethod
    def of(cls, names: Iterable[str]) -> "Names":
        """Collect names one by one; at most one chunk of them is held as Python strings."""
        chunks, chunk = [pa.array([], pa.string())], []
        for name in names:
            chunk.append(name)
            if len(chunk) == CHUNK:
                chunks.append(pa.array(chunk, pa.string()))
                chunk = []
        return cls(pa.concat_arrays([*chunks, pa.array(chunk, pa.string())]))

    def take(self, rows: npt.NDArray[np.int64]) -> "Names":
        """Return the names at (M,) int64 positions."""
        return Names(self.array.take(pa.array(rows)))

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> "Names": ...

    def __getitem__(self, place: int | slice) -> "str | Names":
        """Return one name, or a slice of them."""
        if isinstance(place, slice):
            return Names(self.array[place])
        return str(self.array[int(place)].as_py())

    def __len__(self) -> int:
        """Return the number of names."""
        return len(self.array)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        for start in range(0, len(self.array), CHUNK):
            yield from self.array[start : start + CHUNK].to_pylist()


@dataclass(frozen=True)
class CellImages:
    """Cells of a data set or of one set of it, as positions in one stored array: workers and runs share its memory pages.

    Attributes:
        images: (M, S, S, 3) uint8 RGB, all stored images; in memory or memory-mapped.
        labels: (N,) int64, index into the class names.
        ids: N names that identify the cells, e.g. ``test/00017`` or a relative path.
        rows: (N,) int64, row of each cell in `images`; None if M = N and the order is the same.
        splits: (N,) int8, set that the data set's authors chose, see `listing.SPLITS`; None if they chose none.
        groups: (N,) int64, patient or slide; None if unknown.
        weights: (N,) float32, weight in the loss; None if all are 1.
        laboratories: (N,) int64, where the cell comes from; None if unknown.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    ids: Sequence[str]
    rows: npt.NDArray[np.int64] | None = None
    splits: npt.NDArray[np.int8] | None = None
    groups: npt.NDArray[np.int64] | None = None
    weights: npt.NDArray[np.float32] | None = None
    laboratories: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """Return the number of cells N."""
        return len(self.labels)

    @property
    def side(self) -> int:
        """Side S of the stored images in pixels."""
        return int(self.images.shape[1])

    def take(self, positions: npt.NDArray[np.int64] | slice) -> npt.NDArray[np.uint8]:
        """Return the images of the cells at (M,) positions: (M, S, S, 3) uint8."""
        return np.asarray(self.images[positions if self.rows is None else self.rows[positions]])

    def part(self, positions: npt.NDArray[np.int64]) -> "CellImages":
        """Return the cells at (M,) positions; no image is copied."""
        return CellImages(
            self.images,
            self.labels[positions],
            self.ids.take(positions) if isinstance(self.ids, Names) else [self.ids[i] for i in positions.tolist()],
            positions if self.rows is None else self.rows[positions],
            None if self.splits is None else self.splits[positions],
            None if self.groups is None else self.groups[positions],
            None if self.weights is None else self.weights[positions],
            None if self.laboratories is None else self.laboratories[positions],
        )

    def counts(self, num_classes: int) -> npt.NDArray[np.int64]:
        """Count the cells of each class: (C,) int64."""
        return np.bincount(self.labels, minlength=num_classes)


def check_labels(labels: npt.NDArray[np.int64], class_names: Sequence[str], source: str) -> None:
    """Refuse labels outside the class list.

    Args:
        labels: (N,) integers.
        class_names: names of the C classes; 0 to C-1 are allowed.
        source: name of the file or data set that holds the labels, for the message.

    Raises:
        UserError: a label is below 0 or above C-1.
    """
    wrong = np.flatnonzero((labels < 0) | (labels >= len(class_names)))
    if len(wrong):
        raise UserError(
            f"{source} has {len(wrong)} labels outside 0 to {len(class_names) - 1} ({', '.join(class_names)}), "
            f"the first is {labels[wrong[0]]} at row {wrong[0]}; correct the file or choose the data set it belongs to"
        )


def pixel_hashes(cells: CellImages) -> Iterator[bytes]:
    """Hash the pixels of each cell, some cells at a time: the images of a large set do not fit into memory."""
    for start in range(0, len(cells), AT_ONCE):
        for image in cells.take(np.arange(start, min(start + AT_ONCE, len(cells)))):
            yield hashlib.sha256(image.tobytes()).digest()


def split_sha256(splits: Mapping[SetName, CellImages]) -> str:
    """Hash which cell is in which set, independent of the order: the sum of the hashes of all cells, modulo 2**256."""
    total = 0
    for name, split in splits.items():
        for cell in split.ids:
            total += int.from_bytes(hashlib.sha256(f"{name}\t{cell}".encode()).digest())
    return f"{total % 2**256:064x}"


def resolution(native_side: int, image_size: int) -> str:
    """Describe what the network sees: ``28 native``, ``28 enlarged to 224`` or ``360 shrunk to 96`` pixels."""
    if native_side == image_size:
        return f"{native_side} native"
    return f"{native_side} {'enlarged' if native_side < image_size else 'shrunk'} to {image_size}"


def stored_side(resolution: str, image_size: int) -> int:
    """Return the side in pixels of the stored images, from what `resolution` has said of them."""
    return min(int(resolution.partition(" ")[0]), image_size)


def shrink(cells: CellImages, image_size: int) -> CellImages:
    """Shrink images that are larger than the network sees, once, by area averaging; smaller ones stay."""
    if cells.side <= image_size:
        return cells
    shape = (image_size, image_size)
    images = np.stack([cv2.resize(image, shape, interpolation=cv2.INTER_AREA) for image in cells.images])
    return replace(cells, images=images.astype(np.uint8, copy=False))


def with_synthetic_cells(cells: CellImages, seed: int) -> CellImages:
    """Add the cells that SMOTE makes of a training set, in memory."""
    images = cells.take(slice(None))
    added = synthesise(images, cells.labels, seed)
    return CellImages(
        np.concatenate([images, added.images]),
        np.concatenate([cells.labels, added.labels]),
        Names.of([*cells.ids, *(f"smote/{row:05d}" for row in range(len(added.labels)))]),
        weights=None if cells.weights is None else np.concatenate([cells.weights, np.ones(len(added.labels), np.float32)]),
    )
