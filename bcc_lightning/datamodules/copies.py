"""Byte-identical cells: each is kept once, so that none stands on two sides of a split."""

import numpy as np
import numpy.typing as npt


def content_numbers(digests: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Number contents: (N, 32) uint8 hashes to (N,) int64, equal for equal content."""
    return np.asarray(np.unique(np.ascontiguousarray(digests).view("V32").reshape(-1), return_inverse=True)[1])


def without_copies(
    digests: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], splits: npt.NDArray[np.int8]
) -> npt.NDArray[np.bool_]:
    """Choose one of several byte-identical cells, and none where their labels differ.

    Args:
        digests: (N, 32) uint8, SHA-256 of each cell.
        labels: (N,) labels.
        splits: (N,) split codes; the copy with the highest, that is of the test part, is kept, else the first.

    Returns:
        (N,) bool, which cells are kept.
    """
    kept = np.ones(len(labels), np.bool_)
    # Nearly all are single: the first eight bytes tell the others, which alone are looked at closely.
    starts = digests[:, :8].copy().view(np.uint64).reshape(-1)
    ordered = np.sort(starts)
    repeated = np.flatnonzero(np.isin(starts, ordered[1:][ordered[1:] == ordered[:-1]]))
    kept[repeated] = one_of_each(content_numbers(digests[repeated]), labels[repeated], splits[repeated])
    return kept


def one_of_each(
    content: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], splits: npt.NDArray[np.int8]
) -> npt.NDArray[np.bool_]:
    """Choose one cell of each content; arguments and result as in `without_copies`, content (N,) as numbers."""
    order = np.lexsort((-splits.astype(np.int64), content))  # stable: the first of equals goes first
    first = np.unique(content[order], return_index=True)[1]
    kept = np.zeros(len(labels), np.bool_)
    kept[order[first]] = True
    labelled = np.unique(np.stack([content, labels], axis=1), axis=0)[:, 0]
    conflicting = np.bincount(labelled, minlength=content.max(initial=0) + 1) > 1
    return kept & ~conflicting[content]
