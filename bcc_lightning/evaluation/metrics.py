"""The metrics of every experiment, from torchmetrics, and their confidence intervals."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import binomtest
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassCalibrationError,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from bcc_lightning.evaluation.predictions import Predictions

CALIBRATION_BINS = 15
RESAMPLES = 1000
CONFIDENCE = 0.95

Interval = tuple[float, float]


def validation_metrics(num_classes: int) -> MetricCollection:
    """Collect what an epoch is judged by: ``val/accuracy`` (share of cells) and ``val/f1_macro``."""
    return MetricCollection(
        {"accuracy": MulticlassAccuracy(num_classes, average="micro"), "f1_macro": MulticlassF1Score(num_classes)},
        prefix="val/",
    )


def test_metrics(num_classes: int) -> MetricCollection:
    """Collect what a finished run is judged by; ``test/recall/<class>`` comes from `recall_by_class`."""
    metrics: dict[str, Metric | MetricCollection] = {"accuracy": MulticlassAccuracy(num_classes, average="micro")}
    for average in ("macro", "weighted"):
        metrics[f"precision_{average}"] = MulticlassPrecision(num_classes, average=average)
        metrics[f"recall_{average}"] = MulticlassRecall(num_classes, average=average)
        metrics[f"f1_{average}"] = MulticlassF1Score(num_classes, average=average)
    metrics["auroc_macro"] = MulticlassAUROC(num_classes)
    metrics["ece"] = MulticlassCalibrationError(num_classes, n_bins=CALIBRATION_BINS)
    return MetricCollection(metrics, prefix="test/")


test_metrics.__test__ = False  # type: ignore[attr-defined]  # pytest takes the name for a test


def recall_by_class(predictions: Predictions, class_names: list[str]) -> dict[str, Tensor]:
    """Compute the recall of each class that has cells, as ``test/recall/<class>``."""
    recall = MulticlassRecall(len(class_names), average="none")(predictions.probability, predictions.label)
    present = torch.bincount(predictions.label, minlength=len(class_names)) > 0
    return {f"test/recall/{name}": value for name, value, there in zip(class_names, recall, present, strict=True) if there}


def confusion_matrix(predictions: Predictions, num_classes: int) -> npt.NDArray[np.int64]:
    """Count cells by true class (rows) and predicted class (columns): (C, C) int64."""
    cells = predictions.label * num_classes + predictions.predicted
    return np.bincount(cells.numpy(), minlength=num_classes**2).reshape(num_classes, num_classes)


def accuracy_interval(predictions: Predictions) -> Interval:
    """Compute Wilson's 95 % interval of the accuracy (Wilson, JASA 22 (1927) 209)."""
    interval = binomtest(predictions.correct, len(predictions.label)).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def intervals(predictions: Predictions, num_classes: int) -> dict[str, Interval]:
    """Compute 95 % intervals of the test metrics that follow from the confusion matrix.

    The accuracy has Wilson's interval; the others a percentile bootstrap. Drawing N cells with replacement is the same as
    drawing the cells of the confusion matrix from a multinomial distribution, which takes milliseconds.

    Returns:
        Metric name to (low, high).
    """
    matrix = confusion_matrix(predictions, num_classes)
    total = int(matrix.sum())
    draws = np.random.default_rng(0).multinomial(total, matrix.ravel() / total, size=RESAMPLES)
    resampled = draws.reshape(RESAMPLES, num_classes, num_classes).astype(np.float64)
    tails = [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)]
    result = {"test/accuracy": accuracy_interval(predictions)}
    for name, value in matrix_metrics(resampled).items():
        low, high = np.percentile(value, tails)
        result[name] = (float(low), float(high))
    return result


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
