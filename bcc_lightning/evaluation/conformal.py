"""Conformal prediction sets: for each cell the classes that cannot be ruled out, right at a promised rate in every class.

The sets are class-conditional (Mondrian; Vovk, Gammerman and Shafer 2005): each class is calibrated on the validation cells of
that class alone, so that the promise holds for rare classes too. It holds for cells that are drawn like the validation cells; how
often it is kept on cells of another laboratory is measured, not promised.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bcc_lightning.evaluation.metrics import Predictions
from bcc_lightning.evaluation.reliability import Interval, wilson

LEVELS = (0.90, 0.95)
"""Promised rates at which a set holds the true class."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ClassSets:
    """The prediction sets of the cells of one class.

    Attributes:
        cells: number of cells.
        calibrated_on: number of validation cells of the class.
        coverage: share of the cells whose set holds the class; None without cells.
        interval: Wilson's 95 % interval of it; None likewise.
        mean_size: mean number of classes in their sets; None likewise.
    """

    cells: int
    calibrated_on: int
    coverage: float | None
    interval: Interval | None
    mean_size: float | None


@dataclass(frozen=True)
class ConformalSets:
    """The prediction sets of all cells at one promised rate.

    Attributes:
        coverage: share of the cells whose set holds the true class.
        interval: Wilson's 95 % interval of it.
        mean_size: mean number of classes in a set.
        single: share of the sets with exactly one class: cells that need no second look.
        empty: share of the sets without a class: cells that are like none of the validation cells.
        classes: the same by class.
    """

    coverage: float
    interval: Interval
    mean_size: float
    single: float
    empty: float
    classes: dict[str, ClassSets]


def conformal(predictions: Predictions, validation: Predictions, class_names: list[str]) -> dict[str, ConformalSets]:
    """Measure the prediction sets of cells at each of `LEVELS`.

    Args:
        predictions: of the cells, at least one.
        validation: of the validation set, which calibrates the sets.
        class_names: names of the C classes.

    Returns:
        Promised rate as text, ``0.90``, to what was measured.
    """
    p_values = class_p_values(predictions.probability.numpy(), validation)
    return {f"{level:.2f}": measure(in_sets(p_values, level), predictions, validation, class_names) for level in LEVELS}


def class_p_values(probability: npt.NDArray[np.floating], validation: Predictions) -> Floats:
    """Compute for each cell and class the share of validation cells of the class that fit it no better.

    Args:
        probability: (N, C), rows sum to 1.
        validation: what calibrates them.

    Returns:
        (N, C) in (0, 1]; 1 for a class without validation cells, which can never be ruled out.
    """
    calibrated = calibrated_classifier(validation.probability.numpy(), validation.label.numpy())
    scores = 1 - probability.astype(np.float64)
    columns = [p_values(calibrated, scores[:, number], np.full(len(scores), number)) for number in range(scores.shape[1])]
    return np.stack(columns, axis=1)


def in_sets(p_values: Floats, level: float) -> npt.NDArray[np.bool_]:
    """Choose the classes that cannot be ruled out at a promised rate: (N, C) to (N, C)."""
    return p_values > 1 - level + 1e-12  # beyond the rounding of 1 - level: a p-value equal to it may be ruled out


def measure(
    sets: npt.NDArray[np.bool_], predictions: Predictions, validation: Predictions, class_names: list[str]
) -> ConformalSets:
    """Count how often sets (N, C) hold the true class, and how large they are."""
    label, sizes = predictions.label.numpy(), sets.sum(axis=1)
    held = sets[np.arange(len(label)), label]
    calibrated_on = np.bincount(validation.label.numpy(), minlength=len(class_names)).tolist()
    classes = {}
    for number, name in enumerate(class_names):
        members = label == number
        cells, right = int(members.sum()), int(held[members].sum())
        found = (right / cells, wilson(right, cells), float(sizes[members].mean())) if cells else (None, None, None)
        classes[name] = ClassSets(cells, calibrated_on[number], *found)
    return ConformalSets(
        float(held.mean()),
        wilson(int(held.sum()), len(held)),
        float(sizes.mean()),
        float((sizes == 1).mean()),
        float((sizes == 0).mean()),
        classes,
    )


def coverage_over_resplits(
    predictions: Predictions, level: float, resplits: int = 200, share: float = 0.5, seed: int = 0
) -> Floats:
    """Divide cells again and again into calibration and test cells, class by class, and measure the coverage of each class.

    Averaged over the resplits, it is at least the promised rate wherever the method is carried out correctly.

    Args:
        predictions: of cells that the network was not trained on.
        level: promised rate.
        resplits: number of divisions.
        share: share of the cells of each class that calibrate.
        seed: of the divisions.

    Returns:
        (`resplits`, C) coverage; NaN where a class has no test cell.
    """
    probability, label = predictions.probability.numpy(), predictions.label.numpy()
    score = 1 - probability[np.arange(len(label)), label].astype(np.float64)
    generator, classes = np.random.default_rng(seed), probability.shape[1]
    found = np.full((resplits, classes), np.nan)
    for row in found:
        for number in np.unique(label).tolist():
            mixed = generator.permutation(score[label == number])
            calibrating = round(share * len(mixed))
            tested = mixed[calibrating:]
            if len(tested):
                calibrated = fitted(mixed[:calibrating], np.zeros(calibrating, np.int64))
                row[number] = (p_values(calibrated, tested, np.zeros(len(tested), np.int64)) > 1 - level + 1e-12).mean()
    return found


def calibrated_classifier(probability: npt.NDArray[np.floating], label: npt.NDArray[np.int64]) -> Any:  # noqa: ANN401 - crepes has no types
    """Calibrate on cells with known classes: a cell fits its class the worse, the lower the probability of that class is."""
    return fitted(1 - probability[np.arange(len(label)), label].astype(np.float64), label)


def fitted(scores: Floats, categories: npt.NDArray[np.int64]) -> Any:  # noqa: ANN401 - crepes has no types
    """Fit the conformal classifier of crepes: scores (N,), the higher the stranger, and the class of each."""
    return quiet_crepes().ConformalClassifier().fit(scores, bins=categories)


def quiet_crepes() -> Any:  # noqa: ANN401 - crepes has no types
    """Import crepes, which from its import on would show all warnings of the process."""
    with warnings.catch_warnings():
        import crepes
        import crepes.martingales

    return crepes


def p_values(calibrated: Any, scores: Floats, categories: npt.NDArray[np.int64]) -> Floats:  # noqa: ANN401 - crepes has no types
    """Compute p-values (N,) without random smoothing, so that the same cells always get the same sets."""
    return np.asarray(calibrated.predict_p(scores, bins=categories, smoothing=False), np.float64)
