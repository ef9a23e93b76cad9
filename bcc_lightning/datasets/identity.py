"""The identity of a data set and of its images: hashes of the content, independent of order, place and age of the files."""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bcc_lightning.datasets.cells import CHUNK, CellImages, Names


def identify(content: str, cells: CellImages, class_names: Sequence[str]) -> dict[str, str]:
    """Hash each component of a data set.

    Args:
        content: hash of the files or arrays that hold the pixels, hexadecimal.
        cells: all cells.
        class_names: names of the C classes, in label order.

    Returns:
        ``pixels``, ``ids``, ``labels`` (by class name), ``groups`` (which cells belong together, whatever the groups are
        called), ``weights`` (1 if none are given), ``classes`` (their names in order), and ``laboratories`` where they are known;
        SHA-256 in hexadecimal.
    """
    names, order = in_order(cells.ids)
    by_name = np.frombuffer(b"".join(hashlib.sha256(name.encode()).digest()[:8] for name in class_names), np.uint64)
    weights = np.ones(len(cells), np.float32) if cells.weights is None else cells.weights
    return {
        "pixels": content,
        "ids": hash_names(names),
        "labels": hash_array(by_name[cells.labels[order]]),
        "groups": "none" if cells.groups is None else hash_array(numbered_by_appearance(cells.groups[order])),
        "weights": hash_array(weights[order]),
        **({} if cells.laboratories is None else {"laboratories": hash_array(numbered_by_appearance(cells.laboratories[order]))}),
        "classes": hash_names(Names.of(class_names)),
    }


def whole(components: dict[str, str]) -> str:
    """Hash all components together."""
    return hashlib.sha256("".join(f"{name} {components[name]}\n" for name in sorted(components)).encode()).hexdigest()


def content_hash(paths: Names, digests: npt.NDArray[np.uint8]) -> str:
    """Hash files, independent of their order.

    Args:
        paths: N relative paths.
        digests: (N, 32) uint8, hash of each file.
    """
    names, order = in_order(paths)
    return hashlib.sha256(f"{hash_names(names)} {hash_array(digests[order])}".encode()).hexdigest()


def in_order(ids: Sequence[str]) -> tuple[Names, npt.NDArray[np.int64]]:
    """Sort names; return them, and their former positions, (N,) int64."""
    array = ids.array if isinstance(ids, Names) else Names.of(ids).array
    order = pc.sort_indices(array)
    return Names(array.take(order)), np.asarray(order.to_numpy(zero_copy_only=False), np.int64)


def hash_names(names: Names) -> str:
    """Hash names in their order, a chunk at a time."""
    digest = hashlib.sha256()
    for start in range(0, len(names), CHUNK):
        chunk: pa.StringArray = names.array[start : start + CHUNK]
        digest.update("".join(f"{len(name)} {name}" for name in chunk.to_pylist()).encode())
    return digest.hexdigest()


def hash_array(values: npt.NDArray[np.generic]) -> str:
    """Hash the values of an array."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def numbered_by_appearance(groups: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Number groups by their first cell: (N,) to (N,) int64, the same for equal partitions."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def content_numbers(digests: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Number contents: (N, 32) uint8 hashes to (N,) int64, the same for equal content."""
    return np.asarray(np.unique(np.ascontiguousarray(digests).view("V32").reshape(-1), return_inverse=True)[1])


def without_copies(
    digests: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], splits: npt.NDArray[np.int8]
) -> npt.NDArray[np.bool_]:
    """Choose one of several byte-identical cells, and none if their labels differ.

    Args:
        digests: (N, 32) uint8, SHA-256 of each cell.
        labels: (N,) labels.
        splits: (N,) split codes; the copy with the highest code (test before validation before training) is kept, else the first.

    Returns:
        (N,) bool, which cells are kept.
    """
    kept = np.ones(len(labels), np.bool_)
    # Nearly all contents are unique: the first eight bytes find the others, and only those are compared in full.
    starts = digests[:, :8].copy().view(np.uint64).reshape(-1)
    ordered = np.sort(starts)
    repeated = np.flatnonzero(np.isin(starts, ordered[1:][ordered[1:] == ordered[:-1]]))
    kept[repeated] = one_of_each(content_numbers(digests[repeated]), labels[repeated], splits[repeated])
    return kept


def one_of_each(
    content: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], splits: npt.NDArray[np.int8]
) -> npt.NDArray[np.bool_]:
    """Choose one cell of each content; arguments and result as in `without_copies`, content (N,) as numbers."""
    order = np.lexsort((-splits.astype(np.int64), content))  # stable: the first of equal cells comes first
    first = np.unique(content[order], return_index=True)[1]
    kept = np.zeros(len(labels), np.bool_)
    kept[order[first]] = True
    labelled = np.unique(np.stack([content, labels], axis=1), axis=0)[:, 0]
    conflicting = np.bincount(labelled, minlength=content.max(initial=0) + 1) > 1
    return kept & ~conflicting[content]
