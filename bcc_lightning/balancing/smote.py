"""SMOTE in pixel space: new cells of rare classes, each blended from two neighbouring cells of the class.

Chawla et al., SMOTE: Synthetic Minority Over-sampling Technique, 2002. imbalanced-learn does the sampling, on the rows of an
identity matrix instead of pixels. Each new row then contains the shares of the two cells that it is blended from. The cells are
blended here, one at a time, which takes one byte per value; imbalanced-learn would need several floating-point copies of all
pixels.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bcc_lightning.errors import UserError

BLOCK_BYTES = 64 * 2**20
BLOCK_CELLS = 512
"""Largest number of cells that are compared at a time; fewer where they exceed `BLOCK_BYTES` as float32."""
EXACT = 1024
"""Number of products of two values from -128 to 127 that float32 sums without rounding: 1024 * 128 * 128 = 2 ** 24."""


class SyntheticCells(NamedTuple):
    """The cells that SMOTE adds.

    Attributes:
        images: (M, H, W, 3) uint8.
        labels: (M,) int64.
        parents: (M, 2) int64, positions of the two cells that each one is blended from.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    parents: npt.NDArray[np.int64]


def synthesise(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], seed: int, neighbours: int = 5) -> SyntheticCells:
    """Make new cells until each class has as many cells as the largest.

    A new cell is ``a + u (b - a)``, rounded, where ``b`` is one of the nearest neighbours of ``a`` in its class by the Euclidean
    distance of all pixel values, and ``u`` is drawn from 0 to 1. In a class with no more than `neighbours` cells, all others are
    neighbours. Use it on the training set only: a blend of a training cell and a test cell is a leak.

    Args:
        images: (N, H, W, 3) uint8, the training set.
        labels: (N,) int64, 0 or more.
        seed: seed of the sampling; the same seed makes the same cells.
        neighbours: number of nearest neighbours from which the second cell is drawn, 1 or more.

    Raises:
        UserError: `neighbours` is below 1, a class has only one cell, or memory is insufficient; see `needed_memory`.
    """
    if neighbours < 1:
        raise UserError(f"SMOTE with {neighbours} neighbours is not possible; use 1 or more, usually 5")
    pixels = images.reshape(len(images), -1)
    refuse_single_cells(labels)
    refuse_too_large(labels, images.shape[1:])
    rows = sample_rows(pixels, labels, seed, neighbours)
    first, last = rows.indices[rows.indptr[:-1]], rows.indices[rows.indptr[1:] - 1]
    # A row has a single entry where both parents are the same cell, or where the new cell equals its first parent.
    share = np.where(first == last, 0, rows.data[rows.indptr[1:] - 1])
    made = np.empty((len(first), pixels.shape[1]), np.uint8)
    for place, (a, b, u) in enumerate(zip(first, last, share, strict=True)):
        made[place] = np.rint((1 - u) * pixels[a] + u * pixels[b])
    parents = np.stack([first, last], axis=1).astype(np.int64)
    return SyntheticCells(made.reshape(-1, *images.shape[1:]), labels[first], parents)


def needed_memory(labels: npt.NDArray[np.int64], values: int) -> int:
    """Estimate the memory that SMOTE needs in addition to the training set, in bytes.

    With N cells, M new cells, n cells in the largest class that receives new cells, D values per image (height times width times
    3) and B cells compared at a time: ``M D`` for the new cells, ``(N + M) D`` for the array of all cells, and ``8 B (D + 2 n)``
    for the search for neighbours. B is 64 MiB / 4 D, at least 1 and at most 512 and n.

    Args:
        labels: (N,) int64, labels of the training set.
        values: D, number of values per image.
    """
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    new = int((counts.max() - counts).sum())
    largest = int(counts[counts < counts.max()].max(initial=0))
    return (len(labels) + 2 * new) * values + 8 * min(block_cells(values), largest) * (values + 2 * largest)


def block_cells(values: int) -> int:
    """Compute how many cells are compared at a time from the number of values per image."""
    return max(1, min(BLOCK_CELLS, BLOCK_BYTES // (4 * values)))


def refuse_single_cells(labels: npt.NDArray[np.int64], class_names: tuple[str, ...] | None = None) -> None:
    """Refuse classes of one cell, which has no neighbour.

    Raises:
        UserError: names the classes.
    """
    counts = np.bincount(labels)
    if counts.max() > 1 and (counts == 1).any():
        single = ", ".join(class_names[number] if class_names else str(number) for number in np.flatnonzero(counts == 1).tolist())
        raise UserError(
            f"SMOTE blends two cells of a class; class {single} has 1 training cell. "
            "Add cells, or use --data.balance oversample with an augmentation"
        )


def refuse_too_large(labels: npt.NDArray[np.int64], shape: tuple[int, ...]) -> None:
    """Refuse a data set for which memory is insufficient; the operating system would kill the run halfway.

    Raises:
        UserError: names the needed and the available memory.
    """
    needed, available = needed_memory(labels, int(np.prod(shape))), available_memory()
    if available is not None and needed > available:
        raise UserError(
            f"SMOTE of {len(labels)} images of {shape[1]}x{shape[0]} pixels needs {needed / 2**30:.1f} GiB of memory, "
            f"{available / 2**30:.1f} GiB are free; use a smaller --data.image_size, or --data.balance oversample"
        )


def sample_rows(pixels: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], seed: int, neighbours: int) -> Any:  # noqa: ANN401
    """Let imbalanced-learn choose parents and shares: (M, N) sparse, each row the shares of the N cells in a new cell."""
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
    """Nearest neighbours for imbalanced-learn, whose rows represent images.

    Args:
        pixels: (N, D) uint8, the images.
        neighbours: number of neighbours of each image.
    """

    def __init__(self, pixels: npt.NDArray[np.uint8], neighbours: int) -> None:
        self.pixels = pixels
        self.neighbours = neighbours

    def __sklearn_clone__(self) -> "PixelNeighbours":
        """Return the object itself: a clone would copy all pixels."""
        return self

    def fit(self, rows: Any) -> "PixelNeighbours":  # noqa: ANN401 - a sparse matrix, scipy has no types
        """Do nothing: `kneighbors` searches among the rows it receives."""
        return self

    def kneighbors(self, rows: Any, return_distance: bool = False) -> npt.NDArray[np.int64]:  # noqa: ANN401
        """Find the neighbours of the cells that (n, N) `rows` represent: (n, k + 1) indices into them, the cell itself first."""
        return nearest(self.pixels, rows.indices, self.neighbours)

    def kneighbors_graph(self, rows: Any) -> None:  # noqa: ANN401
        """Raise; imbalanced-learn checks that this method exists, but SMOTE never calls it."""
        raise NotImplementedError


def nearest(pixels: npt.NDArray[np.uint8], cells: npt.NDArray[np.int64], neighbours: int) -> npt.NDArray[np.int64]:
    """Find the nearest neighbours of each cell among the given cells, by Euclidean distance.

    scikit-learn's search needs all pixels as float32 and two blocks of float64 per thread. This one needs two blocks of float32
    and is twice as fast. Distances are exact whole numbers, so that every machine finds the same neighbours.

    Args:
        pixels: (N, D) uint8.
        cells: (n,) rows of `pixels`.
        neighbours: number of neighbours k; n - 1 where there are fewer.

    Returns:
        (n, k + 1) int64, indices into `cells`: the cell itself first, then from near to far.
    """
    count = len(cells)
    blocks = np.split(np.arange(count), range(block_cells(pixels.shape[1]), count, block_cells(pixels.shape[1])))
    found = np.empty((count, min(neighbours, count - 1) + 1), np.int64)
    for rows in blocks:
        left = centred(pixels[cells[rows]])
        distance = np.empty((len(rows), count))
        for columns in blocks:
            right = left if columns is rows else centred(pixels[cells[columns]])
            # The square of the left cell is the same for all columns and does not change which are nearest.
            distance[:, columns] = np.einsum("ij,ij->i", right, right, dtype=np.float64) - 2 * products(left, right)
        distance[np.arange(len(rows)), rows] = -np.inf
        found[rows] = np.argsort(distance, axis=1, kind="stable")[:, : found.shape[1]]
    return found


def centred(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Subtract 128 from bytes: float32 from -128 to 127."""
    moved = values.astype(np.float32)
    moved -= 128
    return moved


def products(left: npt.NDArray[np.float32], right: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Compute the products of all rows without rounding: (n, D) and (m, D) whole numbers from -128 to 127 to (n, m)."""
    total = np.zeros((len(left), len(right)))
    for start in range(0, left.shape[1], EXACT):
        total += left[:, start : start + EXACT] @ right[:, start : start + EXACT].T
    return total


MEMINFO = Path("/proc/meminfo")
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def available_memory() -> int | None:
    """Return how many bytes can be allocated without swapping, on the machine or, where less, in the container or job.

    Returns:
        Bytes; None where the system does not report them.
    """
    known = [free for free in (free_on_machine(), free_in_cgroup()) if free is not None]
    return min(known, default=None)


def free_on_machine() -> int | None:
    """Read the available memory from Linux, or the installed memory elsewhere, in bytes."""
    if MEMINFO.is_file():
        lines = (line.split() for line in MEMINFO.read_text().splitlines())
        return next((int(line[1]) * 1024 for line in lines if line[0] == "MemAvailable:"), None)
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def free_in_cgroup() -> int | None:
    """Read the memory left in a container or job (control groups, version 2), in bytes; file caches count as free."""
    try:
        own = next(line for line in OWN_CGROUP.read_text().splitlines() if line.startswith("0::"))
        folder = CGROUPS / own.removeprefix("0::").lstrip("/")
        limit, used = ((folder / name).read_text() for name in ("memory.max", "memory.current"))
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return int(limit) - int(used) + int(stat["inactive_file"])
    # There is no limit, or it is "max".
    except (OSError, StopIteration, ValueError, KeyError):
        return None
