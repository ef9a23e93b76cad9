"""The figures of each class that follow from the confusion matrix alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bcc_lightning.evaluation.reliability import RESAMPLES, Interval, percentiles, wilson


@dataclass(frozen=True)
class ClassCounts:
    """The figures of one class against the rest; None where a figure is undefined.

    Attributes:
        cells: number of cells of the class.
        predicted: number of cells that were taken for it.
        precision: share of these that are of the class.
        recall: share of its cells that were recognised.
        f1: harmonic mean of both.
        intervals: 95 % intervals of ``precision`` and ``recall`` (Wilson's) and ``f1`` (bootstrap).
    """

    cells: int
    predicted: int
    precision: float | None
    recall: float | None
    f1: float | None
    intervals: dict[str, Interval]


def by_class(matrix: npt.NDArray[np.integer], class_names: Sequence[str]) -> dict[str, ClassCounts]:
    """Compute the figures of each class.

    Args:
        matrix: (C, C) confusion matrix with at least one cell, rows true, columns predicted.
        class_names: names of the C classes.
    """
    share = matrix.ravel() / matrix.sum()
    draws = np.random.default_rng(0).multinomial(int(matrix.sum()), share, size=RESAMPLES).reshape(RESAMPLES, *matrix.shape)
    found = {}
    for number, name in enumerate(class_names):
        right, cells, predicted = (int(n) for n in (matrix[number, number], matrix[number].sum(), matrix[:, number].sum()))
        limits = {}
        if predicted:
            limits["precision"] = wilson(right, predicted)
        if cells:
            limits["recall"] = wilson(right, cells)
            limits["f1"] = percentiles(
                f1(draws[:, number, number], draws[:, number].sum(axis=1), draws[:, :, number].sum(axis=1))
            )
        found[name] = ClassCounts(
            cells,
            predicted,
            right / predicted if predicted else None,
            right / cells if cells else None,
            2 * right / (cells + predicted) if cells else None,
            limits,
        )
    return found


def f1(
    right: npt.NDArray[np.integer], cells: npt.NDArray[np.integer], predicted: npt.NDArray[np.integer]
) -> npt.NDArray[np.float64]:
    """Compute F1 from counts (R,); NaN where the class does not occur."""
    total = np.where(cells > 0, cells + predicted, np.nan)
    return np.asarray(2 * right / total, np.float64)


def most_mistaken(matrix: npt.NDArray[np.integer], class_names: Sequence[str], most: int) -> list[tuple[int, str, str]]:
    """List the most frequent mistakes: number of cells, their class, and the class they were taken for."""
    mistakes = np.where(np.eye(len(matrix), dtype=bool), 0, matrix)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:most]
    pairs = [(int(row), int(column)) for row, column in zip(*np.unravel_index(order, matrix.shape), strict=True)]
    return [(int(mistakes[pair]), class_names[pair[0]], class_names[pair[1]]) for pair in pairs if mistakes[pair]]
