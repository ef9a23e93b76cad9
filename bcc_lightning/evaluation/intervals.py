"""95 % intervals of the test metrics."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import binomtest
from torchmetrics.functional.classification import multiclass_auroc, multiclass_calibration_error

from bcc_lightning.evaluation.metrics import CALIBRATION_BINS, confusion_matrix
from bcc_lightning.evaluation.predictions import Predictions

CONFIDENCE = 0.95
TAILS = (50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE))
RESAMPLES = 1000
SLOW_RESAMPLES = 200
"""Draws of the bootstrap; fewer for metrics that are computed from the probabilities of all cells."""

Interval = tuple[float, float]


def wilson(right: int, total: int) -> Interval:
    """Compute Wilson's interval of a share (Wilson, JASA 22 (1927) 209)."""
    interval = binomtest(right, total).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def percentiles(values: npt.ArrayLike) -> Interval:
    """Take the percentile interval of bootstrapped values."""
    low, high = np.percentile(np.asarray(values), TAILS)
    return float(low), float(high)


def intervals(predictions: Predictions, class_names: list[str]) -> dict[str, Interval]:
    """Compute 95 % intervals: Wilson's for shares of cells, a percentile bootstrap over the test cells for the others.

    Drawing N cells with replacement is the same as drawing the cells of the confusion matrix from a multinomial distribution,
    which takes milliseconds; only metrics that need probabilities draw cells.

    Args:
        predictions: of the whole test part.
        class_names: names of the C classes.

    Returns:
        Metric name to (low, high).
    """
    matrix = confusion_matrix(predictions, len(class_names))
    result = {"test/accuracy": wilson(predictions.correct, len(predictions.label))}
    for i, name in enumerate(class_names):
        if total := int(matrix[i].sum()):
            result[f"test/recall/{name}"] = wilson(int(matrix[i, i]), total)
    share = matrix.ravel() / matrix.sum()
    draws = np.random.default_rng(0).multinomial(int(matrix.sum()), share, size=RESAMPLES)
    resampled = matrix_metrics(draws.reshape(RESAMPLES, *matrix.shape).astype(np.float64))
    return result | {name: percentiles(values) for name, values in resampled.items()} | probability_intervals(predictions)


def probability_intervals(predictions: Predictions) -> dict[str, Interval]:
    """Bootstrap the metrics that are computed from probabilities: macro AUROC and calibration error."""
    classes, cells = predictions.probability.shape[1], len(predictions.label)
    generator = torch.Generator().manual_seed(0)
    auroc, ece = [], []
    for _ in range(SLOW_RESAMPLES):
        rows = torch.randint(cells, (cells,), generator=generator)
        probability, label = predictions.probability[rows], predictions.label[rows]
        auroc.append(float(multiclass_auroc(probability, label, classes, validate_args=False)))
        ece.append(float(multiclass_calibration_error(probability, label, classes, CALIBRATION_BINS, validate_args=False)))
    return {"test/auroc_macro": percentiles(auroc), "test/ece": percentiles(ece)}


def matrix_metrics(matrices: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.float64]]:
    """Compute precision, recall and F1 of many confusion matrices at once.

    Args:
        matrices: (R, C, C), rows true, columns predicted.

    Returns:
        Metric name to (R,) values; averaged as torchmetrics does: macro over the classes that occur.
    """
    hits = np.diagonal(matrices, axis1=1, axis2=2)
    true, predicted = matrices.sum(axis=2), matrices.sum(axis=1)
    scores: dict[str, Callable[[], npt.NDArray[np.float64]]] = {
        "precision": lambda: divide(hits, predicted),
        "recall": lambda: divide(hits, true),
        "f1": lambda: divide(2 * hits, true + predicted),
    }
    occurs = (true + predicted) > 0
    result = {}
    for name, score in scores.items():
        per_class = score()
        result[f"test/{name}_macro"] = divide((per_class * occurs).sum(axis=1), occurs.sum(axis=1))
        result[f"test/{name}_weighted"] = divide((per_class * true).sum(axis=1), true.sum(axis=1))
    return result


def divide(numerator: npt.NDArray[np.float64], denominator: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Divide, giving 0 where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator, dtype=np.float64), where=denominator > 0)
