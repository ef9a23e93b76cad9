"""Labels that contradict the picture: confident learning on predictions that were made without the cell in question.

A label is suspect where a classifier, trained on the other cells, is sure of another class (Northcutt, Jiang and Chuang,
Confident learning, JAIR 70 (2021) 1373).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from cleanlab.rank import get_label_quality_scores
from sklearn.decomposition import PCA
from sklearn.kernel_approximation import Nystroem
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

from bcc_lightning.auditing.appearance import Features

Labels = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float32]

FOLDS = 5
COMPONENTS = 250
ANCHORS = 2000
KERNEL_WIDTH = 0.5
"""Of the kernel, in units of the mean squared length."""

RIDGE = 0.03
SAMPLE = 6000
"""Cells that components and anchors are fitted to; more changes the result by less than the choice of folds."""

BATCH = 1024


@dataclass(frozen=True)
class Suspicion:
    """What speaks against the labels of N cells.

    Attributes:
        score: (N,) float32 in [0, 1]; probability of the most probable other class less that of the label, 0 where negative.
        suggested: (N,) int64, the most probable class.
    """

    score: npt.NDArray[np.float32]
    suggested: Labels


def suspicion(probability: Probabilities, labels: Labels) -> Suspicion:
    """Compare predictions with labels.

    Args:
        probability: (N, C), made without the cell's own label.
        labels: (N,).
    """
    quality = get_label_quality_scores(labels, probability, method="normalized_margin")
    return Suspicion(np.maximum(1 - 2 * quality, 0).astype(np.float32), probability.argmax(axis=1))


def out_of_fold(features: Features, rows: Labels, labels: Labels, seed: int = 0) -> Probabilities:
    """Predict each cell by a classifier that was fitted without it: kernel ridge regression on principal components.

    The sums over all cells are built once; each fold takes its own cells off them, which spares four fits of five.

    Args:
        features: (M, F) of cells without copies; a copy in another fold would tell its own label.
        rows: (N,) int64, rows of the cells to be predicted; a copy of the features would double the memory.
        labels: (N,) int64, each class at least `FOLDS` times.
        seed: of folds and anchors.

    Returns:
        (N, C) float32, rows sum to 1.
    """
    classes, code = np.unique(labels, return_inverse=True)
    points = kernel_points(features, rows, seed)
    target = np.eye(len(classes), dtype=np.float32)[code]
    gram, moment = points.T @ points, points.T @ target
    answers = np.zeros_like(target)
    for _, held in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(points, code):
        part = points[held]
        system = (gram - part.T @ part).astype(np.float64)
        system[np.diag_indices(len(system))] += RIDGE
        answers[held] = part @ np.linalg.solve(system, moment - part.T @ target[held])
    return as_probabilities(answers, classes)


def kernel_points(features: Features, rows: Labels, seed: int) -> Features:
    """Map features so that a linear fit becomes a kernel fit: (N, anchors + 1) float32, the last column 1."""
    sample = np.sort(np.random.default_rng(seed).choice(len(rows), min(SAMPLE, len(rows)), replace=False))
    chosen = features[rows[sample]]
    scaler = StandardScaler().fit(chosen)
    count = min(COMPONENTS, len(sample) - 1, features.shape[1])
    components = PCA(count, svd_solver="randomized", random_state=seed).fit(scaler.transform(chosen))
    batches = np.array_split(rows, len(rows) // BATCH + 1)
    points = np.concatenate([components.transform(scaler.transform(features[part])) for part in batches]).astype(np.float32)
    points /= np.sqrt((points**2).sum(axis=1).mean())
    kernel = Nystroem(gamma=KERNEL_WIDTH, n_components=min(ANCHORS, len(sample)), random_state=seed).fit(points[sample])
    mapped = np.ones((len(points), kernel.n_components + 1), np.float32)
    for start in range(0, len(points), BATCH):
        mapped[start : start + BATCH, :-1] = kernel.transform(points[start : start + BATCH])
    return mapped


def as_probabilities(answers: Features, classes: Labels) -> Probabilities:
    """Turn regression answers into probabilities: (N, classes present) to (N, C).

    A regression on 0 and 1 estimates probabilities by itself. A softmax on top would bring every confident answer to nearly 1
    and so lose the order of the most suspect labels.
    """
    probability = np.zeros((len(answers), int(classes.max()) + 1), np.float32)
    positive = np.maximum(answers, 1e-6)
    probability[:, classes] = positive / positive.sum(axis=1, keepdims=True)
    return probability
