"""How reliable a result is: 95 % intervals, and warnings about networks that have learnt little."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from bcc_lightning.evaluation.metrics import Predictions, auroc_macro, calibration_error, confusion_matrix, matrix_metrics

CONFIDENCE = 0.95
TAILS = (50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE))
RESAMPLES = 1000
"""Draws of the bootstrap."""

CELLS_AT_ONCE = 2_000_000
"""Number of draws times cells that are held in memory at once."""

Interval = tuple[float, float]


def wilson(right: int, total: int) -> Interval:
    """Return Wilson's interval of a share (Wilson, JASA 22 (1927) 209)."""
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
        predictions: predictions for the whole test set.
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
    """Compute ``auroc_macro`` and ``ece``, which need the probabilities of drawn cells, for `RESAMPLES` draws: (R,) each."""
    probability, label = predictions.probability.numpy(), predictions.label.numpy()
    found: dict[str, list[npt.NDArray[np.float64]]] = {"auroc_macro": [], "ece": []}
    for counts in drawn_cells(len(label)):
        found["auroc_macro"].append(auroc_macro(probability, label, counts))
        found["ece"].append(calibration_error(probability, label, counts))
    return {name: np.concatenate(values) for name, values in found.items()}


def drawn_cells(cells: int, resamples: int = RESAMPLES) -> Iterator[npt.NDArray[np.int64]]:
    """Draw as many cells as a set has, with replacement, again and again; the same draws for every network.

    Args:
        cells: number of cells N of the set.
        resamples: number of draws.

    Yields:
        (R, N), how often each cell was drawn in R of the draws, as many as fit in memory.
    """
    generator = np.random.default_rng(0)
    at_once = max(1, CELLS_AT_ONCE // cells)
    for start in range(0, resamples, at_once):
        draws = generator.integers(cells, size=(min(at_once, resamples - start), cells))
        yield np.stack([np.bincount(draw, minlength=cells) for draw in draws])


COLLAPSED = 0.95
"""If more than this share of the cells get one class, the network counts as collapsed to it."""

FEW_CELLS = 10
"""The recall of a class with fewer cells gets a warning."""


def collapse(matrix: npt.NDArray[np.int64], class_names: Sequence[str], tested: str) -> list[str]:
    """Describe a network that nearly always predicts the same class, or is no better than one that does.

    Args:
        matrix: (C, C) confusion matrix, rows true, columns predicted.
        class_names: names of the C classes.
        tested: the set, e.g. "the test set".

    Returns:
        A sentence for each; none for a network that distinguishes classes, and none for a set with a single class.
    """
    true, answers, cells = matrix.sum(axis=1), matrix.sum(axis=0), int(matrix.sum())
    if (true > 0).sum() < 2:  # noqa: PLR2004 - a single class cannot be confused
        return []
    found = []
    one, most = int(answers.argmax()), int(true.argmax())
    if answers[one] > COLLAPSED * cells:
        found.append(
            f"The network predicts {class_names[one]} for {100 * answers[one] / cells:.1f} % of {tested}; "
            f"{100 * true[one] / cells:.1f} % of it is {class_names[one]}."
        )
    right = int(np.trace(matrix))
    if right <= true[most]:
        found.append(
            f"Accuracy on {tested} is {right / cells:.4f}, no better than {true[most] / cells:.4f} for always answering "
            f"{class_names[most]}, its most frequent class."
        )
    return found


def equal_folds(accuracies: Sequence[float]) -> list[str]:
    """Describe folds that all have exactly the same accuracy, which is very unlikely with different cells."""
    if len(accuracies) < 2 or len(set(accuracies)) > 1:  # noqa: PLR2004 - a single fold has nothing to differ from
        return []
    return [
        f"All {len(accuracies)} folds have exactly the same accuracy, {accuracies[0]:.4f}; possible reasons are a network that "
        "predicts one class only, or folds with the same cells."
    ]


def support(matrix: npt.NDArray[np.int64], class_names: Sequence[str], tested: str) -> list[str]:
    """Describe which classes a set lacks and which have few cells; arguments as `collapse`."""
    cells = matrix.sum(axis=1)
    absent = [name for name, count in zip(class_names, cells, strict=True) if not count]
    occurring = len(class_names) - len(absent)
    found = []
    if absent:
        over = (
            f"macro metrics are means over {occurring} of {len(class_names)} classes"
            if occurring > 1
            else "macro metrics are those of a single class, and there is no AUROC"
        )
        found.append(f"No cells of {', '.join(absent)} in {tested}: {over}.")
    for name, count in zip(class_names, cells, strict=True):
        if 0 < count < FEW_CELLS:
            noun = "cell" if count == 1 else "cells"
            found.append(f"{name} has {count} {noun} in {tested}: each cell changes its recall by {1 / count:.2f}.")
    return found
