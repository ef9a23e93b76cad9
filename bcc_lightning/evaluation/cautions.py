"""Plain sentences on what figures are worth: over which classes they are, and whether a network has learnt anything."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

COLLAPSED = 0.95
"""Share of a set's cells above which the answers of a network count as one class only."""

FEW_CELLS = 10
"""Cells of a class below which its recall is said to rest on few."""


def collapse(matrix: npt.NDArray[np.int64], class_names: Sequence[str], tested: str) -> list[str]:
    """Describe a network that answers nearly always the same, or is no better than always answering the same.

    Args:
        matrix: (C, C) confusion matrix, rows true, columns predicted.
        class_names: names of the C classes.
        tested: the set, as in "the test set".

    Returns:
        A sentence for each; none for a network that tells cells apart, and none for a set with a single class.
    """
    true, answers, cells = matrix.sum(axis=1), matrix.sum(axis=0), int(matrix.sum())
    if (true > 0).sum() < 2:  # noqa: PLR2004 - of one class nothing can be told apart
        return []
    found = []
    one, most = int(answers.argmax()), int(true.argmax())
    if answers[one] > COLLAPSED * cells:
        found.append(
            f"The network answers {class_names[one]} for {100 * answers[one] / cells:.1f} % of {tested}; "
            f"{100 * true[one] / cells:.1f} % of it are {class_names[one]}."
        )
    right = int(np.trace(matrix))
    if right <= true[most]:
        found.append(
            f"Accuracy on {tested} is {right / cells:.4f}, no better than {true[most] / cells:.4f} for always answering "
            f"{class_names[most]}, its most frequent class."
        )
    return found


def equal_folds(accuracies: Sequence[float]) -> list[str]:
    """Describe folds that all have exactly the same accuracy, which different cells hardly ever give."""
    if len(accuracies) < 2 or len(set(accuracies)) > 1:  # noqa: PLR2004 - one fold deviates from nothing
        return []
    return [
        f"All {len(accuracies)} folds have exactly the same accuracy, {accuracies[0]:.4f}; a network that answers one class "
        "only, or folds with the same cells, would explain it."
    ]


def support(matrix: npt.NDArray[np.int64], class_names: Sequence[str], tested: str) -> list[str]:
    """Describe which classes a set lacks and which have few cells; arguments as `collapse`."""
    cells = matrix.sum(axis=1)
    absent = [name for name, count in zip(class_names, cells, strict=True) if not count]
    occurring = len(class_names) - len(absent)
    found = []
    if absent:
        over = (
            f"macro figures are means over {occurring} of {len(class_names)} classes"
            if occurring > 1
            else "macro figures are those of a single class, and there is no AUROC"
        )
        found.append(f"No cell of {', '.join(absent)} in {tested}: {over}.")
    for name, count in zip(class_names, cells, strict=True):
        if 0 < count < FEW_CELLS:
            noun = "cell" if count == 1 else "cells"
            found.append(f"{name} has {count} {noun} in {tested}: each moves its recall by {1 / count:.2f}.")
    return found
