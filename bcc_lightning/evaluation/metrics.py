"""The predictions of one pass over a split, gathered from all processes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import multiclass_calibration_error
from torchmetrics.utilities import dim_zero_cat

from bcc_lightning.errors import UserError


@dataclass  # not frozen: torchmetrics walks through what a metric computes and refuses frozen ones
class Predictions:
    """Predictions in the order of the split.

    Attributes:
        position: (N,) int64, position of each cell in its split, ascending.
        label: (N,) int64, true class.
        probability: (N, C) float32, rows sum to 1.
    """

    position: Tensor
    label: Tensor
    probability: Tensor

    @property
    def predicted(self) -> Tensor:
        """(N,) int64, the most probable class."""
        return self.probability.argmax(dim=1)

    @property
    def correct(self) -> int:
        """Number of cells that were classified correctly."""
        return int((self.predicted == self.label).sum())


class PredictionGatherer(Metric):
    """Collects predictions batch by batch and gathers them from all processes at the end of a pass."""

    full_state_update = False
    position: list[Tensor]
    label: list[Tensor]
    probability: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("position", "label", "probability"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, position: Tensor, label: Tensor, probability: Tensor) -> None:
        """Add a batch: (B,) int64, (B,) int64, (B, C) float32."""
        self.position.append(position)
        self.label.append(label)
        self.probability.append(probability)

    def gather(self) -> Predictions:
        """Return all predictions, in the order of the split, and forget them; torchmetrics turns one cell into no dimension."""
        found: Predictions = self.compute()
        self.reset()
        return Predictions(found.position.reshape(-1), found.label.reshape(-1), found.probability)

    def compute(self) -> Predictions:
        """Return all predictions, in the order of the set."""
        position = dim_zero_cat(self.position)
        order = torch.argsort(position)
        label, probability = dim_zero_cat(self.label), dim_zero_cat(self.probability)
        return Predictions(position[order].cpu(), label[order].cpu(), probability[order].cpu())


def worst_mistakes(predictions: Predictions, most: int) -> list[int]:
    """Choose the mistakes of which the network was surest, the surest first: rows."""
    rows = (predictions.predicted != predictions.label).nonzero().flatten()
    order = predictions.probability[rows].amax(dim=1).argsort(descending=True, stable=True)
    return [int(row) for row in rows[order][:most]]


Floats = npt.NDArray[np.float64]
Value = TypeVar("Value")

CALIBRATION_BINS = 15

TEST, VALIDATION = "test", "validation"
"""Names of the sets that chosen weights are evaluated on; further test sets have names of their own."""


def validation_metrics(predictions: Predictions) -> dict[str, float]:
    """Compute what an epoch is judged by: ``val/accuracy`` (share of cells), ``val/f1_macro``, ``val/most_frequent``."""
    found = shares(predictions) | averages(confusion_matrix(predictions, predictions.probability.shape[1]))
    return {f"val/{name}": found[name] for name in ("accuracy", "f1_macro", "most_frequent")}


def final_metrics(predictions: Predictions, class_names: list[str]) -> dict[str, float]:
    """Compute what a finished run is judged by.

    Args:
        predictions: of the whole set, at least one cell.
        class_names: names of the C classes.

    Returns:
        ``test/accuracy``, ``test/most_frequent`` (the accuracy of always answering the set's most frequent class),
        ``test/{precision,recall,f1}_{macro,weighted}``, ``test/auroc_macro``, ``test/ece``, and ``test/recall/<class>`` for each
        class that occurs; each in [0, 1].

    Raises:
        UserError: the network's probabilities are not numbers.
    """
    broken = int((~predictions.probability.isfinite().all(dim=1)).sum())
    if broken:
        raise UserError(
            f"the network's probabilities are not numbers for {broken} of {len(predictions.label)} cells. "
            "Next step: lower --model.lr, or choose another --model.precision"
        )
    matrix = confusion_matrix(predictions, len(class_names))
    found = shares(predictions) | averages(matrix)
    auroc = auroc_macro(predictions.probability.numpy(), predictions.label.numpy())
    if np.isfinite(auroc).all():
        found["auroc_macro"] = float(auroc[0])
    ece = multiclass_calibration_error(predictions.probability, predictions.label, len(class_names), CALIBRATION_BINS)
    found["ece"] = float(ece)
    for name, row, right in zip(class_names, matrix, matrix.diagonal(), strict=True):
        if row.sum():
            found[f"recall/{name}"] = float(right / row.sum())
    return {f"test/{name}": value for name, value in found.items()}


def metrics_of(name: str, metrics: Mapping[str, Value]) -> dict[str, Value]:
    """Name the metrics of an evaluated set: ``test/accuracy`` is ``test_on/<name>/accuracy`` of any set but the test set."""
    return {metric_of(name, key.removeprefix("test/")): value for key, value in metrics.items()}


def metric_of(name: str, metric: str) -> str:
    """Name a metric, such as ``accuracy``, of an evaluated set."""
    return f"test/{metric}" if name == TEST else f"test_on/{name}/{metric}"


def in_words(name: str) -> str:
    """Name an evaluated set as a person would: ``the test set``, ``the validation set``, ``test set clinic``."""
    return f"the {name} set" if name in {TEST, VALIDATION} else f"test set {name}"


def title_of(name: str) -> str:
    """Name an evaluated set in a heading: ``Test set``, ``Validation set``, ``Test set clinic``."""
    return f"{name.capitalize()} set" if name in {TEST, VALIDATION} else f"Test set {name}"


def confusion_matrix(predictions: Predictions, num_classes: int) -> npt.NDArray[np.int64]:
    """Count cells by true class (rows) and predicted class (columns): (C, C) int64."""
    cells = predictions.label * num_classes + predictions.predicted
    return np.bincount(cells.numpy(), minlength=num_classes**2).reshape(num_classes, num_classes)


def shares(predictions: Predictions) -> dict[str, float]:
    """Compute the accuracy, and that of always answering the most frequent class."""
    cells = len(predictions.label)
    return {"accuracy": predictions.correct / cells, "most_frequent": int(predictions.label.bincount().max()) / cells}


def averages(matrix: npt.NDArray[np.int64]) -> dict[str, float]:
    """Compute precision, recall and F1 of one confusion matrix, macro and weighted."""
    return {name: float(values[0]) for name, values in matrix_metrics(matrix[None].astype(np.float64)).items()}


def matrix_metrics(matrices: Floats) -> dict[str, Floats]:
    """Compute precision, recall and F1 of many confusion matrices at once.

    Args:
        matrices: (R, C, C), rows true, columns predicted.

    Returns:
        Metric name, such as ``f1_macro``, to (R,) values; macro over the classes that occur in each matrix.
    """
    hits = np.diagonal(matrices, axis1=1, axis2=2)
    true, predicted = matrices.sum(axis=2), matrices.sum(axis=1)
    scores = {"precision": divide(hits, predicted), "recall": divide(hits, true), "f1": divide(2 * hits, true + predicted)}
    occurs = true > 0
    result = {}
    for name, score in scores.items():
        result[f"{name}_macro"] = divide((score * occurs).sum(axis=1), occurs.sum(axis=1))
        result[f"{name}_weighted"] = divide((score * true).sum(axis=1), true.sum(axis=1))
    return result


def auroc_macro(
    probability: npt.NDArray[np.floating], label: npt.NDArray[np.int64], counts: npt.NDArray[np.integer] | None = None
) -> Floats:
    """Compute the mean AUROC of each class that occurs against the rest, exactly, ties counting half.

    Args:
        probability: (N, C).
        label: (N,) true classes.
        counts: (R, N), how often each cell counts in each of R draws; by default each once.

    Returns:
        (R,) values; NaN where a draw holds fewer than two classes.
    """
    counts = np.ones((1, len(label)), np.int64) if counts is None else counts
    total = counts.sum(axis=1)
    sums, occurring = np.zeros(len(counts)), np.zeros(len(counts))
    for number in np.unique(label).tolist():
        score = probability[:, number]
        order = np.argsort(score, kind="stable")
        starts = np.flatnonzero(np.r_[True, score[order][1:] != score[order][:-1]])  # of cells with equal scores
        positive = label[order] == number
        ones = np.add.reduceat(counts[:, order] * positive, starts, axis=1)
        others = np.add.reduceat(counts[:, order] * ~positive, starts, axis=1)
        below = np.cumsum(others, axis=1) - others
        of_class = ones.sum(axis=1)
        pairs = of_class * (total - of_class)
        defined = pairs > 0
        sums[defined] += (ones * (below + others / 2)).sum(axis=1)[defined] / pairs[defined]
        occurring += defined
    return np.asarray(np.divide(sums, occurring, out=np.full(len(counts), np.nan), where=occurring > 0), np.float64)


def calibration_error(
    probability: npt.NDArray[np.floating], label: npt.NDArray[np.int64], counts: npt.NDArray[np.integer]
) -> Floats:
    """Compute the expected calibration error of many draws at once, as torchmetrics does for one.

    Args:
        probability: (N, C).
        label: (N,) true classes.
        counts: (R, N), how often each cell counts in each draw.

    Returns:
        (R,) values in [0, 1].
    """
    confidence = probability.max(axis=1)
    gap = confidence - (probability.argmax(axis=1) == label)
    bins = np.digitize(confidence, np.linspace(0, 1, CALIBRATION_BINS + 1, dtype=confidence.dtype)) - 1
    of_bins = np.zeros((len(label), CALIBRATION_BINS + 1))
    of_bins[np.arange(len(label)), bins] = gap
    return np.asarray(np.abs(counts @ of_bins).sum(axis=1) / counts.sum(axis=1), np.float64)


def divide(numerator: Floats, denominator: npt.NDArray[np.number]) -> Floats:
    """Divide; 0 where the denominator is 0."""
    result: Floats = np.divide(numerator, denominator, out=np.zeros_like(numerator, dtype=np.float64), where=denominator > 0)
    return result
