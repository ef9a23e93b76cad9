"""Labels that do not match the image: confident learning on predictions that were made without the cell in question.

A label is suspect if a classifier, trained on the other cells, is sure of another class (Northcutt, Jiang and Chuang,
Confident learning, JAIR 70 (2021) 1373).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from cleanlab.rank import get_label_quality_scores
from scipy.linalg import cholesky, solve_triangular
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import StandardScaler

from bcc_lightning.audit.appearance import Features
from bcc_lightning.audit.cells import AuditedCells, shrink
from bcc_lightning.datasets.classes import class_key
from bcc_lightning.errors import UserError

Labels = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float32]

FEWEST = 5
"""Labels of classes with fewer cells are not checked."""

COMPONENTS = 250
ANCHORS = 2000
KERNEL_WIDTH = 0.3
"""Width of the kernel, in units of the mean squared length."""

RIDGE = 0.03
JITTER = 1e-8
"""Keeps the equations solvable if anchors are close together."""

SAMPLE = 6000
"""Number of cells for fitting components and anchors; more change the result less than the choice of folds does."""

BATCH = 1024


@dataclass(frozen=True)
class Suspicion:
    """The evidence against the labels of N cells.

    Attributes:
        score: (N,) float32 in [0, 1]; probability of the most probable other class minus that of the label, at least 0.
        suggested: (N,) int64, the most probable class.
        typical: median margin of those labels that are more probable than any other class: how sure the predictions are on this
            data set. Few cells or similar classes make it small.
    """

    score: npt.NDArray[np.float32]
    suggested: Labels
    typical: float


def suspicion(probability: Probabilities, labels: Labels) -> Suspicion:
    """Compare predictions with labels.

    Args:
        probability: (N, C), computed without the cell's own label.
        labels: (N,).
    """
    quality = get_label_quality_scores(labels, probability, method="normalized_margin")
    margin = 2 * quality - 1
    typical = float(np.median(margin[margin > 0])) if (margin > 0).any() else 1.0
    return Suspicion(np.maximum(-margin, 0).astype(np.float32), probability.argmax(axis=1), typical)


def leave_one_out(features: Features, rows: Labels, labels: Labels, seed: int = 0) -> Probabilities:
    """Classify each cell with a classifier fitted without it: kernel ridge regression on principal components.

    In ridge regression, the prediction without a cell follows exactly from the prediction with it and from its leverage h, as
    y - (y - f) / (1 - h); so one fit is enough for all cells (Allen, Technometrics 16 (1974) 125).

    Args:
        features: (M, F) of cells without copies; a copy would reveal the cell's own label.
        rows: (N,) int64, rows of the cells to predict; copying their features would double the memory.
        labels: (N,) int64.
        seed: seed of the choice of cells for components and anchors.

    Returns:
        (N, C) float32, rows sum to 1.
    """
    classes, code = np.unique(labels, return_inverse=True)
    target = np.eye(len(classes))[code]
    points = principal_points(features, rows, seed)
    anchors = points[np.random.default_rng(seed).permutation(len(points))[:ANCHORS]]
    prior = kernel(anchors, anchors)
    gram, moment = RIDGE * prior, np.zeros((len(anchors), len(classes)))
    gram[np.diag_indices(len(gram))] += JITTER * len(points)
    parts = np.array_split(np.arange(len(points)), len(points) // BATCH + 1)
    for part in parts:
        known = kernel(points[part], anchors)
        gram += known.T @ known
        moment += known.T @ target[part]
    root = cholesky(gram, lower=True, overwrite_a=True)
    half = solve_triangular(root, moment, lower=True)
    answers = np.empty_like(target)
    for part in parts:
        whitened = solve_triangular(root, kernel(points[part], anchors).T, lower=True)
        leverage = (whitened**2).sum(axis=0)[:, None]
        answers[part] = target[part] - (target[part] - whitened.T @ half) / np.maximum(1 - leverage, JITTER)
    return as_probabilities(answers, classes)


def kernel(points: Features, anchors: Features) -> npt.NDArray[np.float64]:
    """Return the kernel of points (N, D) and anchors (A, D): (N, A) float64; the constant term allows a mean."""
    return np.asarray(rbf_kernel(points, anchors, gamma=KERNEL_WIDTH) + 1, np.float64)


def principal_points(features: Features, rows: Labels, seed: int) -> Features:
    """Standardise features and project them to principal components: (N, D) float32, mean squared length 1."""
    sample = np.sort(np.random.default_rng(seed).choice(len(rows), min(SAMPLE, len(rows)), replace=False))
    chosen = features[rows[sample]]
    scaler = StandardScaler().fit(chosen)
    count = min(COMPONENTS, len(sample) - 1, features.shape[1])
    components = PCA(count, svd_solver="randomized", random_state=seed).fit(scaler.transform(chosen))
    batches = np.array_split(rows, len(rows) // BATCH + 1)
    points = np.concatenate([components.transform(scaler.transform(features[part])) for part in batches])
    return np.asarray(points / max(np.sqrt((points**2).sum(axis=1).mean()), JITTER), np.float32)


def as_probabilities(answers: npt.NDArray[np.float64], classes: Labels) -> Probabilities:
    """Convert regression outputs to probabilities: (N, classes present) to (N, C).

    A regression on 0 and 1 already estimates probabilities. A softmax would move every confident output to nearly 1 and so
    lose the order of the most suspect labels.
    """
    probability = np.zeros((len(answers), int(classes.max()) + 1), np.float32)
    positive = np.maximum(answers, 1e-6)
    probability[:, classes] = positive / positive.sum(axis=1, keepdims=True)
    return probability


NETWORK_BATCH = 64


@torch.inference_mode()
def predict(cells: AuditedCells, positions: npt.NDArray[np.int64], checkpoint: Path) -> npt.NDArray[np.float32]:
    """Read cells again and classify them at the image size of the module's training.

    Args:
        cells: the data set.
        positions: (M,) readable cells.
        checkpoint: ``best.ckpt`` of a run.

    Returns:
        (M, C) float32 in the order of the data set's classes, rows sum to 1.

    Raises:
        UserError: the module was trained on other classes.
    """
    from bcc_lightning.modules.assumed_shares import log_odds
    from bcc_lightning.modules.checkpoint import load_classifier

    module = load_classifier(checkpoint)
    known = list(map(class_key, module.class_names))
    if sorted(known) != sorted(map(class_key, cells.class_names)):
        raise UserError(
            f"{checkpoint} was trained on the classes {', '.join(module.class_names)}; the audited cells have "
            f"{', '.join(cells.class_names)}. Give a checkpoint that was trained on these classes, or leave it out"
        )
    order = [known.index(class_key(name)) for name in cells.class_names]
    parts = [np.zeros((0, len(order)), np.float32)]
    for start in range(0, len(positions), NETWORK_BATCH):
        images = [shrink(cells.read(p).image, module.image_size) for p in positions[start : start + NETWORK_BATCH].tolist()]
        # The audited cells have the shares of the training cells, whatever the network assumes of others.
        logits = module(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)) - log_odds(module.network)
        parts.append(logits.float().softmax(dim=1).numpy()[:, order])
    return np.concatenate(parts)
