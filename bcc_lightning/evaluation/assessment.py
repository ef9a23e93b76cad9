"""Everything that is reported of one evaluated set: figures of merit, by class too, with intervals."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.by_class import ClassCounts, by_class
from bcc_lightning.evaluation.calibration import Calibration, at_temperature, calibration, fit_temperature, is_at_limit
from bcc_lightning.evaluation.conformal import ConformalSets, conformal
from bcc_lightning.evaluation.metrics import Predictions, confusion_matrix, final_metrics, in_words
from bcc_lightning.evaluation.reliability import Interval, collapse, intervals, support
from bcc_lightning.evaluation.selective import RiskCoverage, risk_coverage
from bcc_lightning.safe_names import class_of_column

NO_VALIDATION = (
    "There are no predictions of the validation set, so that nothing could be fitted on it: no temperature, no conformal sets."
)
LIMIT_REACHED = (
    "The temperature stopped at the end of the range in which it is sought ({:.2f}): the validation set is classified without a "
    "mistake, or no better than by chance. Figures with temperature mean little."
)


@dataclass(frozen=True)
class ClassFigures(ClassCounts):
    """The figures of one class against the rest, with those of its probabilities; None where a figure is undefined.

    Attributes:
        auroc: area under the ROC curve.
        average_precision: area under the precision-recall curve, as a step function.
    """

    auroc: float | None
    average_precision: float | None


@dataclass(frozen=True)
class Assessment:
    """Everything about one evaluated set.

    Attributes:
        name: of the set, such as ``test``.
        cells: number of cells.
        accuracy: share of the cells that were classified correctly.
        balanced_accuracy: mean recall of the classes that occur.
        most_frequent: accuracy of always answering the set's most frequent class.
        most_frequent_class: that class.
        metrics: all metrics of `final_metrics`, without ``test/``.
        intervals: 95 % intervals of these, and of ``balanced_accuracy``.
        classes: figures by class.
        confusion: (C, C) cells by true class (rows) and predicted class (columns), in the order of `classes`.
        temperature: fitted on the validation set; None without its predictions.
        calibration: errors ``before`` temperature scaling and ``after``; the latter None without validation predictions.
        selective: the risk-coverage curve.
        conformal: prediction sets by promised rate; None without validation predictions.
        notes: sentences that a reader of these figures should know.
    """

    name: str
    cells: int
    accuracy: float
    balanced_accuracy: float
    most_frequent: float
    most_frequent_class: str
    metrics: dict[str, float]
    intervals: dict[str, Interval]
    classes: dict[str, ClassFigures]
    confusion: list[list[int]]
    temperature: float | None
    calibration: dict[str, Calibration | None]
    selective: RiskCoverage
    conformal: dict[str, ConformalSets] | None
    notes: list[str] = field(default_factory=list)

    @property
    def is_below_most_frequent(self) -> bool:
        """Whether always answering the most frequent class would have been right more often."""
        return self.accuracy < self.most_frequent

    def as_dict(self) -> dict[str, Any]:
        """Return a plain dict for JSON."""
        return {**asdict(self), "below_most_frequent": self.is_below_most_frequent}


def assess(name: str, predictions: Predictions, validation: Predictions | None, class_names: list[str]) -> Assessment:
    """Compute everything that is reported of one evaluated set.

    Args:
        name: of the set.
        predictions: of its cells, at least one.
        validation: predictions of the validation set, the only ones that anything is fitted on; None if there are none.
        class_names: names of the C classes.

    Raises:
        UserError: the probabilities are not numbers.
    """
    metrics = without_prefix(final_metrics(predictions, class_names))
    matrix = confusion_matrix(predictions, len(class_names))
    found = without_prefix(intervals(predictions, class_names))
    temperature = None if validation is None else fit_temperature(validation)
    scaled = None if temperature is None else calibration(at_temperature(predictions, temperature))
    words = in_words(name)
    return Assessment(
        name=name,
        cells=len(predictions.label),
        accuracy=metrics["accuracy"],
        balanced_accuracy=metrics["recall_macro"],
        most_frequent=metrics["most_frequent"],
        most_frequent_class=class_names[int(matrix.sum(axis=1).argmax())],
        metrics=metrics,
        intervals={**found, "balanced_accuracy": found["recall_macro"]},
        classes=class_figures(predictions, matrix, class_names),
        confusion=matrix.tolist(),
        temperature=temperature,
        calibration={"before": calibration(predictions), "after": scaled},
        selective=risk_coverage(predictions),
        conformal=None if validation is None else conformal(predictions, validation, class_names),
        notes=[
            *collapse(matrix, class_names, words),
            *support(matrix, class_names, words),
            *answers_elsewhere(matrix, class_names, words),
            *([NO_VALIDATION] if validation is None else []),
            *([LIMIT_REACHED.format(temperature)] if temperature is not None and is_at_limit(temperature) else []),
        ],
    )


def answers_elsewhere(matrix: npt.NDArray[np.int64], class_names: list[str], tested: str) -> list[str]:
    """Describe in a sentence how many cells were taken for classes that a set does not hold; empty if none were."""
    predicted = matrix.sum(axis=0) * (matrix.sum(axis=1) == 0)
    if not predicted.any():
        return []
    named = ", ".join(f"{name} ({count:,})" for name, count in zip(class_names, predicted.tolist(), strict=True) if count)
    return [f"{predicted.sum():,} of {matrix.sum():,} cells of {tested} were taken for classes that it does not hold: {named}."]


def without_prefix(figures: dict[str, Any]) -> dict[str, Any]:
    """Leave out ``test/`` before the names of figures."""
    return {name.removeprefix("test/"): value for name, value in figures.items()}


def class_figures(predictions: Predictions, matrix: npt.NDArray[np.int64], class_names: list[str]) -> dict[str, ClassFigures]:
    """Compute the figures of each class; `matrix` is the confusion matrix of the predictions."""
    probability, label = predictions.probability.numpy(), predictions.label.numpy()
    found = {}
    for number, (name, counts) in enumerate(by_class(matrix, class_names).items()):
        is_class, both = label == number, 0 < counts.cells < len(label)
        found[name] = ClassFigures(
            **vars(counts),
            auroc=float(roc_auc_score(is_class, probability[:, number])) if both else None,
            average_precision=float(average_precision_score(is_class, probability[:, number])) if both else None,
        )
    return found


def read_predictions(table: pd.DataFrame) -> tuple[Predictions, list[str]]:
    """Read a table of filed predictions: ``id``, ``label`` and a column of probabilities per class.

    Returns:
        The predictions, and the names of the classes in the order of their columns.

    Raises:
        UserError: a label is none of the classes, or the table is empty.
    """
    columns = [name for name in table.columns if name not in {"id", "label"}]
    class_names = list(map(class_of_column, columns))
    places = {name: number for number, name in enumerate(class_names)}
    if unknown := sorted(set(table["label"]) - set(places)):
        raise UserError(f"the predictions hold the label {unknown[0]}, which has no column; allowed are {', '.join(class_names)}")
    if table.empty:
        raise UserError("the predictions hold no cells; train the run again")
    label = torch.tensor([places[name] for name in table["label"]], dtype=torch.int64)
    probability = torch.from_numpy(table[columns].to_numpy(np.float32, copy=True))
    return Predictions(torch.arange(len(label)), label, probability), class_names
