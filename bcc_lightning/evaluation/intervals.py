"""95 % intervals of the test metrics."""

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from bcc_lightning.evaluation.metrics import auroc_macro, calibration_error, confusion_matrix, matrix_metrics
from bcc_lightning.evaluation.predictions import Predictions

CONFIDENCE = 0.95
TAILS = (50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE))
RESAMPLES = 1000
"""Draws of the bootstrap."""

CELLS_AT_ONCE = 2_000_000
"""Draws times cells that are held in memory at once."""

Interval = tuple[float, float]


def wilson(right: int, total: int) -> Interval:
    """Compute Wilson's interval of a share (Wilson, JASA 22 (1927) 209)."""
    interval = binomtest(right, total).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def percentiles(values: npt.ArrayLike) -> Interval:
    """Compute the percentile interval of bootstrapped values; draws in which a metric is undefined (NaN) are ignored."""
    low, high = np.nanpercentile(np.asarray(values), TAILS)
    return float(low), float(high)


def intervals(predictions: Predictions, class_names: list[str]) -> dict[str, Interval]:
    """Compute 95 % intervals: Wilson's for shares of cells, a percentile bootstrap over the test cells for the others.

    Drawing N cells with replacement is the same as drawing the entries of the confusion matrix from a multinomial distribution,
    which takes milliseconds; only metrics that need probabilities draw cells.

    Args:
        predictions: of the whole test set.
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
    resampled = matrix_metrics(draws.reshape(RESAMPLES, *matrix.shape).astype(np.float64)) | probability_metrics(predictions)
    return result | {f"test/{name}": percentiles(values) for name, values in resampled.items() if np.isfinite(values).any()}


def probability_metrics(predictions: Predictions) -> dict[str, npt.NDArray[np.float64]]:
    """Compute what needs the probabilities of drawn cells, for `RESAMPLES` draws: ``auroc_macro`` and ``ece``, (R,) each."""
    probability, label = predictions.probability.numpy(), predictions.label.numpy()
    cells, generator = len(label), np.random.default_rng(0)
    at_once = max(1, CELLS_AT_ONCE // cells)
    found: dict[str, list[npt.NDArray[np.float64]]] = {"auroc_macro": [], "ece": []}
    for start in range(0, RESAMPLES, at_once):
        draws = generator.integers(cells, size=(min(at_once, RESAMPLES - start), cells))
        counts = np.stack([np.bincount(draw, minlength=cells) for draw in draws])
        found["auroc_macro"].append(auroc_macro(probability, label, counts))
        found["ece"].append(calibration_error(probability, label, counts))
    return {name: np.concatenate(values) for name, values in found.items()}
