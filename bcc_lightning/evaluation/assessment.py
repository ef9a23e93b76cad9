"""Everything that is to be known of a network's answers for one labelled set."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.calibration import calibration, fit_temperature, scaled
from bcc_lightning.evaluation.conformal import conformal
from bcc_lightning.evaluation.metrics import TEST, Predictions, confusion_matrix, final_metrics, in_words
from bcc_lightning.evaluation.reliability import collapse, intervals, percentiles, support, wilson
from bcc_lightning.evaluation.selective import selective
from bcc_lightning.safe_names import column_name

RESAMPLES = 1000


@dataclass
class Assessment:
    """What is known of one set.

    Attributes:
        name: of the set.
        class_names: names of the C classes.
        predictions: answers for its cells.
        metrics: as `final_metrics` computes them, without ``test/``.
        intervals: 95 % interval of each that has one.
        classes: for each class ``class``, ``support``, and precision, recall, F1, AUROC and average precision, the first three
            with ``_low`` and ``_high``; None for a class without cells.
        calibration: ``before`` and, if there are validation answers, ``after`` temperature scaling.
        temperature: fitted on validation cells; None without them.
        conformal: coverage of prediction sets calibrated on validation cells; empty without them.
        selective: risk and coverage.
        warnings: sentences on a network that has learnt little.
        notes: sentences on the set, and on what is not known.
    """

    name: str
    class_names: list[str]
    predictions: Predictions
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    classes: list[dict[str, Any]]
    calibration: dict[str, dict[str, float]]
    selective: dict[str, float]
    temperature: float | None = None
    conformal: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """Name of the set as a title."""
        return in_words(self.name).removeprefix("the ").capitalize()

    @property
    def accuracy(self) -> float:
        """Share of cells that are right."""
        return self.metrics["accuracy"]

    @property
    def most_frequent(self) -> float:
        """Accuracy of always answering the most frequent class of the set."""
        return self.metrics["most_frequent"]

    @property
    def is_useless(self) -> bool:
        """Whether always answering the most frequent class would do as well."""
        return self.accuracy <= self.most_frequent

    @property
    def confusion(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """(C, C) cells by true class (rows) and predicted class (columns)."""
        return confusion_matrix(self.predictions, len(self.class_names))

    def as_dict(self) -> dict[str, Any]:
        """Return a plain dict for JSON."""
        return {
            "name": self.name,
            "cells": len(self.predictions.label),
            "accuracy": self.accuracy,
            "balanced_accuracy": self.metrics["recall_macro"],
            "most_frequent": self.most_frequent,
            "most_frequent_class": self.class_names[int(self.predictions.label.bincount().argmax())],
            "metrics": self.metrics,
            "intervals": {name: list(interval) for name, interval in self.intervals.items()},
            "class_names": self.class_names,
            "classes": self.classes,
            "confusion": self.confusion.tolist(),
            "temperature": self.temperature,
            "calibration": self.calibration,
            "conformal": self.conformal,
            "selective": self.selective,
            "warnings": self.warnings,
            "notes": self.notes,
        }


def assess(predictions: Predictions, class_names: list[str], validation: Predictions | None, name: str = TEST) -> Assessment:
    """Compute everything that is to be known of answers for a labelled set.

    Args:
        predictions: of the set, at least one cell.
        class_names: names of the C classes.
        validation: answers for the validation set, on which temperature and prediction sets are fitted; None without them.
        name: of the set.

    Raises:
        UserError: the set has no cells, or probabilities are not numbers.
    """
    if not len(predictions.label):
        raise UserError(f"{in_words(name)} has no cells; name a set with labelled cells")
    matrix = confusion_matrix(predictions, len(class_names))
    found = Assessment(
        name,
        class_names,
        predictions,
        {key.removeprefix("test/"): value for key, value in final_metrics(predictions, class_names).items()},
        {key.removeprefix("test/"): value for key, value in intervals(predictions, class_names).items()},
        by_class(predictions, class_names),
        {"before": calibration(predictions)},
        selective(predictions),
        warnings=collapse(matrix, class_names, in_words(name)),
        notes=support(matrix, class_names, in_words(name)),
    )
    if "recall_macro" in found.intervals:
        found.intervals["balanced_accuracy"] = found.intervals["recall_macro"]
    if validation is None or not len(validation.label):
        found.notes.append(
            "No answers for a validation set are filed, so there is no temperature and there are no prediction sets."
        )
        return found
    found.temperature = fit_temperature(validation)
    found.calibration["after"] = calibration(scaled(predictions, found.temperature))
    found.conformal = conformal(validation, predictions, class_names)
    return found


def by_class(predictions: Predictions, class_names: list[str]) -> list[dict[str, Any]]:
    """Compute the figures of each class; intervals of precision and recall are Wilson's, that of F1 is bootstrapped."""
    matrix, label = confusion_matrix(predictions, len(class_names)), predictions.label.numpy()
    share = matrix.ravel() / matrix.sum()
    draws = np.random.default_rng(0).multinomial(int(matrix.sum()), share, size=RESAMPLES).reshape(RESAMPLES, *matrix.shape)
    rows = []
    for number, name in enumerate(class_names):
        right, true, answered = int(matrix[number, number]), int(matrix[number].sum()), int(matrix[:, number].sum())
        row: dict[str, Any] = {"class": name, "support": true, "answered": answered}
        for figure, total in (("precision", answered), ("recall", true)):
            row[figure] = right / total if total else None
            row[f"{figure}_low"], row[f"{figure}_high"] = wilson(right, total) if total else (None, None)
        row["f1"] = 2 * right / (true + answered) if true else None
        if true:
            both = draws[:, number].sum(axis=1) + draws[:, :, number].sum(axis=1)
            scores = np.divide(2 * draws[:, number, number], both, out=np.zeros(RESAMPLES), where=both > 0)
            row["f1_low"], row["f1_high"] = percentiles(scores)
        one, score = label == number, predictions.probability[:, number].numpy()
        both_occur = 0 < true < len(label)
        row["auroc"] = float(roc_auc_score(one, score)) if both_occur else None
        row["average_precision"] = float(average_precision_score(one, score)) if both_occur else None
        rows.append(row)
    return rows


def predictions_of(table: pd.DataFrame, class_names: list[str]) -> Predictions:
    """Read filed predictions: ``label`` and a column of probabilities per class."""
    number = {name: label for label, name in enumerate(class_names)}
    probability = torch.from_numpy(table[list(map(column_name, class_names))].to_numpy(np.float32).copy())
    label = torch.from_numpy(table["label"].map(number).to_numpy(np.int64).copy())
    return Predictions(torch.arange(len(table)), label, probability)
