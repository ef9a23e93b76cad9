"""The metrics of every experiment, from torchmetrics, and their confidence intervals."""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
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


EXTERNAL = ("test/accuracy", "test/f1_weighted", "test/ece", "test/recall/")
"""Metrics that mean the same where some classes have no cells, as in test sets of other laboratories."""

Value = TypeVar("Value")


def external_metrics(name: str, metrics: Mapping[str, Value]) -> dict[str, Value]:
    """Choose and rename what a further test set is judged by, as ``test_on/<name>/accuracy``."""
    return {f"test_on/{name}/{key.removeprefix('test/')}": value for key, value in metrics.items() if key.startswith(EXTERNAL)}


def confusion_matrix(predictions: Predictions, num_classes: int) -> npt.NDArray[np.int64]:
    """Count cells by true class (rows) and predicted class (columns): (C, C) int64."""
    cells = predictions.label * num_classes + predictions.predicted
    return np.bincount(cells.numpy(), minlength=num_classes**2).reshape(num_classes, num_classes)
