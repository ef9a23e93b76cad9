"""Metrics of a tree of classes, by hand."""

import numpy as np
import pytest
import torch

from bcc_lightning.datasets.lineage import COARSE, FINE_CELL_CLASSES, LINEAGE, levels_of
from bcc_lightning.evaluation.hierarchy import distances, hierarchy_intervals, hierarchy_metrics
from bcc_lightning.evaluation.metrics import Predictions
from bcc_lightning.evaluation.reliability import wilson

# Four classes: a and b make up x, x and c make up y, d stands alone.
LEVELS = {"low": ["x", "x", "c", "d"], "high": ["y", "y", "y", "d"]}


def predictions(labels: list[int], probability: list[list[float]]) -> Predictions:
    return Predictions(torch.arange(len(labels)), torch.tensor(labels), torch.tensor(probability))


CELLS = predictions(
    [0, 0, 0, 0, 2],
    [
        [0.9, 0.1, 0.0, 0.0],  # right
        [0.1, 0.8, 0.1, 0.0],  # wrong within x
        [0.1, 0.1, 0.8, 0.0],  # wrong within y
        [0.1, 0.0, 0.0, 0.9],  # wrong in all
        [0.3, 0.3, 0.4, 0.0],  # the class is right, though x is more probable than c
    ],
)


def test_distances() -> None:
    assert distances(CELLS, LEVELS).tolist() == [0, 1, 2, 3, 0]


def test_metrics() -> None:
    found = hierarchy_metrics(CELLS, LEVELS)
    assert found == {
        "test/accuracy_low": pytest.approx(2 / 5),  # the first two; the last cell's x has 0.6
        "test/accuracy_high": pytest.approx(4 / 5),
        "test/mistakes_1": pytest.approx(1 / 5),
        "test/mistakes_2": pytest.approx(1 / 5),
        "test/mistakes_3": pytest.approx(1 / 5),
        "test/mistake_distance": pytest.approx(2.0),
    }
    assert hierarchy_intervals(CELLS, LEVELS) == {"test/accuracy_low": wilson(2, 5), "test/accuracy_high": wilson(4, 5)}


def test_without_mistakes_there_is_no_mean_distance() -> None:
    right = predictions([0, 3], [[1.0, 0, 0, 0], [0, 0, 0, 1.0]])
    assert "test/mistake_distance" not in hierarchy_metrics(right, LEVELS)


def test_the_tree_of_blood_cells_is_whole() -> None:
    levels = levels_of(FINE_CELL_CLASSES)
    assert [len(level) for level in levels.values()] == [11, 11]
    assert len(set(levels["coarse"])) == 8
    assert set(LINEAGE) == set(levels["coarse"])
    assert {name for name, coarse in COARSE.items() if coarse == "ig"} == {"promyelocyte", "myelocyte", "metamyelocyte"}
    far = distances(
        Predictions(torch.arange(2), torch.tensor([3, 8]), torch.eye(11)[[4, 10]]), levels
    )  # promyelocyte for myelocyte, and what is far apart
    assert far[0] == 1
    assert np.all(far > 0)
