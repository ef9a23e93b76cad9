"""Accuracy of classifiers that never see the cell: from the border, the mean colour, or the file alone."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # has no types

from bcc_lightning.audit.cells import Scan
from bcc_lightning.datasets.decoding import ImageFacts

FOLDS = 3
CONFIDENCE = 0.95
ROUNDS = 40


@dataclass(frozen=True)
class Probe:
    """The result of a probe.

    Attributes:
        accuracy: share of correctly classified cells, each by a fit without that cell.
        interval: Wilson's 95 % interval of the accuracy.
        chance: share of the most frequent class, the accuracy of always guessing it.
        cells: number of cells; copies and classes with fewer than `FOLDS` cells are left out.
    """

    accuracy: float
    interval: tuple[float, float]
    chance: float
    cells: int


def probe_shortcuts(scan: Scan, labels: npt.NDArray[np.int64], positions: npt.NDArray[np.int64]) -> dict[str, Probe]:
    """Predict the class from data that should not reveal it.

    Args:
        scan: scan of all cells.
        labels: (N,) int64.
        positions: (M,) cells to use: readable, one of each group of copies.

    Returns:
        ``border_pixels``, ``mean_colour`` and ``file_properties``; empty if fewer than two classes have enough cells.
    """
    frequent = np.flatnonzero(np.bincount(labels[positions]) >= FOLDS)
    chosen = positions[np.isin(labels[positions], frequent)]
    if len(frequent) <= 1:
        return {}
    views = {
        "border_pixels": scan.border[chosen],
        "mean_colour": scan.mean_colour[chosen],
        "file_properties": file_properties([scan.facts[position] for position in chosen.tolist()]),
    }
    # The trees are too small for several threads: on a busy machine these would mostly wait for each other.
    with threadpool_limits(1), ThreadPoolExecutor(len(views)) as threads:
        return dict(zip(views, threads.map(lambda view: probe(view, labels[chosen]), views.values()), strict=True))


def probe(view: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> Probe:
    """Cross-validate gradient boosting on a few numbers per cell.

    Args:
        view: (N, F).
        labels: (N,) int64.
    """
    boosting = HistGradientBoostingClassifier(max_iter=ROUNDS, max_leaf_nodes=15, learning_rate=0.15, random_state=0)
    guesses = cross_val_predict(boosting, view, labels, cv=StratifiedKFold(FOLDS, shuffle=True, random_state=0))
    right, total = int((guesses == labels).sum()), len(labels)
    interval = binomtest(right, total).proportion_ci(CONFIDENCE, method="wilson")
    return Probe(right / total, (float(interval.low), float(interval.high)), float(np.bincount(labels).max() / total), total)


def file_properties(facts: list[ImageFacts | None]) -> npt.NDArray[np.float32]:
    """Return width, height, bytes, bytes per pixel, colour mode and format: (N, 6) float32; file names are not used."""
    present = [fact for fact in facts if fact]
    modes = sorted({fact.mode for fact in present})
    formats = sorted({fact.format for fact in present})
    rows = [
        (f.width, f.height, f.size, f.size / (f.width * f.height), modes.index(f.mode), formats.index(f.format)) for f in present
    ]
    return np.array(rows, np.float32)
