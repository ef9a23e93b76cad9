"""SMOTE in pixel space: new cells of rare classes, blended from two neighbouring cells of the class.

Chawla et al., SMOTE: Synthetic Minority Over-sampling Technique, 2002. Sampling is imbalanced-learn's. It is handed the rows of
an identity matrix instead of pixels: in a new row then stand the two cells that it lies between and how far. Blending them here,
one cell at a time, takes a byte per value; imbalanced-learn on pixels needs them as floating-point numbers, several times over.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bcc_lightning.errors import UserError

BLOCK_BYTES = 64 * 2**20
BLOCK_CELLS = 512
"""Cells that are compared with each other at a time: as many as fit in `BLOCK_BYTES` as float32, this many at most."""
EXACT = 1024
"""Products of two values from -128 to 127 that float32 adds up without rounding: 1024 * 128 * 128 = 2 ** 24."""


class SyntheticCells(NamedTuple):
    """The cells that SMOTE adds.

    Attributes:
        images: (M, H, W, 3) uint8.
        labels: (M,) int64.
        parents: (M, 2) int64, positions of the two cells that each one lies between.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    parents: npt.NDArray[np.int64]


def synthesise(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], seed: int, neighbours: int = 5) -> SyntheticCells:
    """Make as many new cells as bring each class to the count of the largest.

    The new cell is ``a + u (b - a)``, rounded, where ``b`` is one of the nearest neighbours of ``a`` in its class by Euclidean
    distance of all pixel values, and ``u`` is drawn from 0 to 1. A class with fewer cells than `neighbours` and one has as many
    neighbours as there are others. Give it the training part only: a blend of a training and a test cell is a leak.

    Args:
        images: (N, H, W, 3) uint8, the training part.
        labels: (N,) int64, 0 or more.
        seed: seed of the drawing; the same seed gives the same cells.
        neighbours: nearest neighbours that a cell is blended with, 1 or more.

    Raises:
        UserError: a class has one cell only, or there is not enough memory; see `needed_memory`.
    """
    if neighbours < 1:
        raise UserError(f"SMOTE with {neighbours} neighbours is not possible; it takes 1 or more, 5 are usual")
    pixels = images.reshape(len(images), -1)
    refuse_single_cells(labels)
    refuse_too_large(labels, images.shape[1:])
    rows = sample_rows(pixels, labels, seed, neighbours)
    first, last = rows.indices[rows.indptr[:-1]], rows.indices[rows.indptr[1:] - 1]
    # A row has one entry where both parents are the same cell, or the new cell is its first parent.
    share = np.where(first == last, 0, rows.data[rows.indptr[1:] - 1])
    made = np.empty((len(first), pixels.shape[1]), np.uint8)
    for place, (a, b, u) in enumerate(zip(first, last, share, strict=True)):
        made[place] = np.rint((1 - u) * pixels[a] + u * pixels[b])
    parents = np.stack([first, last], axis=1).astype(np.int64)
    return SyntheticCells(made.reshape(-1, *images.shape[1:]), labels[first], parents)


def needed_memory(labels: npt.NDArray[np.int64], values: int) -> int:
    """Estimate the memory that SMOTE takes beside the training part, in bytes.

    With N cells, M new ones, n cells in the largest class that is filled up, D values per image (height times width times 3) and
    B cells compared at a time: ``M D`` for the new cells, ``(N + M) D`` for the array that joins them to the others, and before
    that ``8 B (D + 2 n)`` while neighbours are sought. B is 64 MiB / 4 D, at least 1, at most 512 and n.

    Args:
        labels: (N,) labels of the training part.
        values: D.
    """
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    new = int((counts.max() - counts).sum())
    largest = int(counts[counts < counts.max()].max(initial=0))
    return (len(labels) + 2 * new) * values + 8 * min(block_cells(values), largest) * (values + 2 * largest)


def block_cells(values: int) -> int:
    """Choose how many cells are compared at a time, by the number of values of an image."""
    return max(1, min(BLOCK_CELLS, BLOCK_BYTES // (4 * values)))


def refuse_single_cells(labels: npt.NDArray[np.int64], class_names: tuple[str, ...] | None = None) -> None:
    """Refuse classes that SMOTE cannot fill up, since one cell has no neighbour.

    Raises:
        UserError: naming class and count.
    """
    counts = np.bincount(labels)
    if counts.max() > 1 and (counts == 1).any():
        single = ", ".join(class_names[number] if class_names else str(number) for number in np.flatnonzero(counts == 1).tolist())
        raise UserError(
            f"SMOTE blends two cells of a class; class {single} has 1 training cell. "
            "Add cells, or use --data.balance oversample with an augmentation"
        )


def refuse_too_large(labels: npt.NDArray[np.int64], shape: tuple[int, ...]) -> None:
    """Refuse to begin what memory cannot hold; the system would kill the run halfway.

    Raises:
        UserError: naming what is needed and what there is.
    """
    needed, available = needed_memory(labels, int(np.prod(shape))), available_memory()
    if available is not None and needed > available:
        raise UserError(
            f"SMOTE of {len(labels)} images of {shape[1]}x{shape[0]} pixels needs {needed / 2**30:.1f} GiB of memory, "
            f"{available / 2**30:.1f} GiB are free; choose a smaller --data.image_size, or --data.balance oversample"
        )


def sample_rows(pixels: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], seed: int, neighbours: int) -> Any:  # noqa: ANN401
    """Let imbalanced-learn choose parents and shares: (M, N) sparse, each row the shares of the cells in a new one."""
    from imblearn.over_sampling import SMOTE
    from scipy.sparse import eye_array

    if len(np.unique(np.bincount(labels)[np.unique(labels)])) == 1:
        return eye_array(0, len(labels), format="csr")
    sampler = SMOTE(random_state=seed, k_neighbors=PixelNeighbours(pixels, neighbours))
    rows = sampler.fit_resample(eye_array(len(labels), format="csr"), labels)[0][len(labels) :]
    rows.sum_duplicates()
    rows.eliminate_zeros()
    return rows


class PixelNeighbours:
    """What imbalanced-learn asks for neighbours, when rows stand for images.

    Args:
        pixels: (N, D) uint8, the images.
        neighbours: number of neighbours of each.
    """

    def __init__(self, pixels: npt.NDArray[np.uint8], neighbours: int) -> None:
        self.pixels = pixels
        self.neighbours = neighbours

    def __sklearn_clone__(self) -> "PixelNeighbours":
        """Stay one: a clone would copy all pixels."""
        return self

    def fit(self, rows: Any) -> "PixelNeighbours":  # noqa: ANN401 - a sparse matrix, scipy has no types
        """Do nothing: neighbours are sought among the rows that are asked for."""
        return self

    def kneighbors(self, rows: Any, return_distance: bool = False) -> npt.NDArray[np.int64]:  # noqa: ANN401
        """Find the neighbours of the cells that (n, N) `rows` stand for: (n, k + 1) row numbers, each itself first."""
        return nearest(self.pixels, rows.indices, self.neighbours)

    def kneighbors_graph(self, rows: Any) -> None:  # noqa: ANN401
        """Exist, since imbalanced-learn looks for it; SMOTE never calls it."""
        raise NotImplementedError


def nearest(pixels: npt.NDArray[np.uint8], cells: npt.NDArray[np.int64], neighbours: int) -> npt.NDArray[np.int64]:
    """Find the nearest neighbours of each cell among these cells, by Euclidean distance.

    scikit-learn's search takes all pixels as float32 and two blocks of float64 per thread; this takes two blocks of float32 and
    is twice as fast. Distances are exact whole numbers, so that all machines find the same neighbours.

    Args:
        pixels: (N, D) uint8.
        cells: (n,) rows of `pixels`.
        neighbours: k; where n is smaller, n - 1.

    Returns:
        (n, k + 1) indices into `cells`, the cell itself first, then from near to far.
    """
    count = len(cells)
    blocks = np.split(np.arange(count), range(block_cells(pixels.shape[1]), count, block_cells(pixels.shape[1])))
    found = np.empty((count, min(neighbours, count - 1) + 1), np.int64)
    for rows in blocks:
        left = centred(pixels[cells[rows]])
        distance = np.empty((len(rows), count))
        for columns in blocks:
            right = left if columns is rows else centred(pixels[cells[columns]])
            # The square of the left cell is the same for all: it does not change who is nearest.
            distance[:, columns] = np.einsum("ij,ij->i", right, right, dtype=np.float64) - 2 * products(left, right)
        distance[np.arange(len(rows)), rows] = -np.inf
        found[rows] = np.argsort(distance, axis=1, kind="stable")[:, : found.shape[1]]
    return found


def centred(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Move bytes to -128 to 127, as float32."""
    moved = values.astype(np.float32)
    moved -= 128
    return moved


def products(left: npt.NDArray[np.float32], right: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Multiply each row by each without rounding: (n, D) and (m, D) whole numbers from -128 to 127 to (n, m)."""
    total = np.zeros((len(left), len(right)))
    for start in range(0, left.shape[1], EXACT):
        total += left[:, start : start + EXACT] @ right[:, start : start + EXACT].T
    return total


MEMINFO = Path("/proc/meminfo")
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def available_memory() -> int | None:
    """Tell how many bytes can be taken without swapping: of the machine, or of the container or job where that is less.

    Returns:
        Bytes; None where the system does not tell.
    """
    known = [free for free in (free_on_machine(), free_in_cgroup()) if free is not None]
    return min(known, default=None)


def free_on_machine() -> int | None:
    """Read what Linux holds available, or elsewhere what is installed."""
    if MEMINFO.is_file():
        lines = (line.split() for line in MEMINFO.read_text().splitlines())
        return next((int(line[1]) * 1024 for line in lines if line[0] == "MemAvailable:"), None)
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def free_in_cgroup() -> int | None:
    """Read what the limit of a container or job leaves (control groups, version 2); file caches can be given up."""
    try:
        own = next(line for line in OWN_CGROUP.read_text().splitlines() if line.startswith("0::"))
        folder = CGROUPS / own.removeprefix("0::").lstrip("/")
        limit, used = ((folder / name).read_text() for name in ("memory.max", "memory.current"))
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return int(limit) - int(used) + int(stat["inactive_file"])
    # No such limit, or "max".
    except (OSError, StopIteration, ValueError, KeyError):
        return None
