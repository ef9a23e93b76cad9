"""Metrics of classes in a tree: to take a band neutrophil for a segmented one is a smaller mistake than for a platelet."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from bcc_lightning.evaluation.metrics import Predictions
from bcc_lightning.evaluation.reliability import Interval, wilson

Nodes = tuple[list[str], npt.NDArray[np.int64]]


def nodes_of(level: Sequence[str]) -> Nodes:
    """Return the nodes of a level, in the order in which they first occur, and the node of each class, (C,)."""
    names = list(dict.fromkeys(level))
    return names, np.array([names.index(node) for node in level], np.int64)


def hits(predictions: Predictions, levels: Mapping[str, Sequence[str]]) -> dict[str, npt.NDArray[np.bool_]]:
    """Return for each level which cells get the right node, (N,): the one whose classes are the most probable together."""
    probability, label = predictions.probability.numpy(), predictions.label.numpy()
    found = {}
    for name, level in levels.items():
        names, place = nodes_of(level)
        together = np.stack([probability[:, place == node].sum(axis=1) for node in range(len(names))], axis=1)
        found[name] = together.argmax(axis=1) == place[label]
    return found


def distances(predictions: Predictions, levels: Mapping[str, Sequence[str]]) -> npt.NDArray[np.int64]:
    """Count for each cell, (N,), how many levels above the predicted class the first node is that also holds the true class.

    0 is right; 1 is wrong within a node of the lowest level; one more than there are levels is wrong in all of them.
    """
    label, answer = predictions.label.numpy(), predictions.probability.argmax(dim=1).numpy()
    found = np.where(label == answer, 0, len(levels) + 1)
    for height, level in reversed(list(enumerate(levels.values(), start=1))):
        place = nodes_of(level)[1]
        found = np.where((found > 0) & (place[label] == place[answer]), height, found)
    return found


def hierarchy_metrics(predictions: Predictions, levels: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Compute what the tree adds to the metrics of a set.

    Args:
        predictions: of the whole set.
        levels: from the lowest: name, and the node of each class.

    Returns:
        ``test/accuracy_<level>``; ``test/mistakes_<distance>``, the share of the cells that are wrong by that distance; and
        ``test/mistake_distance``, the mean distance of the mistakes, which is left out where there are none.
    """
    found = {f"test/accuracy_{name}": float(right.mean()) for name, right in hits(predictions, levels).items()}
    far = distances(predictions, levels)
    found |= {f"test/mistakes_{height}": float((far == height).mean()) for height in range(1, len(levels) + 2)}
    return found | ({"test/mistake_distance": float(far[far > 0].mean())} if (far > 0).any() else {})


def hierarchy_intervals(predictions: Predictions, levels: Mapping[str, Sequence[str]]) -> dict[str, Interval]:
    """Compute 95 % intervals (Wilson's) of the accuracies of `hierarchy_metrics`."""
    return {f"test/accuracy_{name}": wilson(int(right.sum()), len(right)) for name, right in hits(predictions, levels).items()}
