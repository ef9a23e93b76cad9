"""Conformal prediction: sets of classes that hold the true one with a promised probability, for each class by itself.

The promise rests on one assumption: the cells are drawn like the validation cells on which the sets were calibrated. It does not
hold on another laboratory's slides, which the measured coverage then shows.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from crepes import ConformalClassifier

from bcc_lightning.evaluation.metrics import Predictions

LEVELS = (0.90, 0.95)


def prediction_sets(validation: Predictions, test: Predictions, level: float) -> npt.NDArray[np.bool_]:
    """Find the classes that cannot be ruled out for each cell; calibrated class by class (Mondrian), with crepes.

    Args:
        validation: answers for the cells that calibrate.
        test: answers for the cells in question.
        level: promised share of cells whose true class is in the set, of each class.

    Returns:
        (N, C) which classes belong to the set of each cell. A class without validation cells belongs to every set.
    """
    label = validation.label.numpy()
    own = 1 - validation.probability.numpy()[np.arange(len(label)), label]
    scores = 1 - test.probability.numpy()
    held = np.ones(scores.shape, np.bool_)
    for number in np.unique(label).tolist():
        calibrated = ConformalClassifier().fit(own[label == number])
        held[:, number] = calibrated.predict_p(scores[:, [number]], smoothing=False)[:, 0] > 1 - level
    return held


def conformal(validation: Predictions, test: Predictions, class_names: list[str]) -> list[dict[str, Any]]:
    """Measure coverage and size of prediction sets at each of `LEVELS`.

    Returns:
        For each level ``level``, ``coverage`` (share of cells whose true class is in the set), ``size`` (mean number of classes),
        ``single`` (share of sets with one class), and ``classes``: the same for each true class, with the number of
        ``calibrated_on`` cells.
    """
    label = test.label.numpy()
    found = []
    for level in LEVELS:
        sets = prediction_sets(validation, test, level)
        covered, size = sets[np.arange(len(label)), label], sets.sum(axis=1)
        by_class = [
            {
                "class": name,
                "coverage": float(covered[label == number].mean()) if (label == number).any() else None,
                "size": float(size[label == number].mean()) if (label == number).any() else None,
                "calibrated_on": int((validation.label == number).sum()),
            }
            for number, name in enumerate(class_names)
        ]
        single = float((size == 1).mean())
        row = {"level": level, "coverage": float(covered.mean()), "size": float(size.mean()), "single": single}
        found.append({**row, "classes": by_class})
    return found
