"""Probes give what scikit-learn gives by hand, and refuse what cannot be probed."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from bcc_lightning.embedding.choices import chosen_folds
from bcc_lightning.embedding.probing import few_shot, probe_folds, probe_sets
from bcc_lightning.errors import UserError

CLASSES = 3


def cells(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of overlapping classes, the first of them twice as frequent."""
    rng = np.random.default_rng(seed)
    labels = np.array([0, 0, 1, 2] * (count // 4), np.int64)
    return (rng.normal(size=(len(labels), 8)) + labels[:, None] * 0.6).astype(np.float32), labels


def test_folds_are_those_of_scikit_learn() -> None:
    features, labels = cells(200)
    found = {one.name: one for one in probe_folds(features, labels, CLASSES)}
    own = {
        "1-NN": KNeighborsClassifier(1),
        "20-NN": KNeighborsClassifier(20),
        "logistic regression": LogisticRegression(C=8 * 3 / 100, max_iter=1000),  # features x classes / 100
    }
    assert list(found) == list(own)
    for name, classifier in own.items():
        answers = cross_val_predict(classifier, features, labels, cv=StratifiedKFold(5))
        metrics = found[name].metrics
        assert metrics["accuracy"] == pytest.approx(accuracy_score(labels, answers))
        assert metrics["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, answers))
        assert metrics["f1_weighted"] == pytest.approx(f1_score(labels, answers, average="weighted"))
        assert np.mean(found[name].folds["accuracy"]) == pytest.approx(metrics["accuracy"])  # folds of equal size
        low, high = found[name].intervals["accuracy"]
        assert low < metrics["accuracy"] < high
        assert found[name].most_frequent == 0.5


def test_folds_hold_whole_groups() -> None:
    """The cells of a group are alike, and next to each group is one of the other class.

    Folds of single cells find a cell's own group again. The two folds of whole groups hold either {A, B} and {C, D}: then A and D
    are nearer to a group of their class, B and C are not; or {A, D} and {B, C}: then no group is.
    """
    positions, classes = np.array([0, 1, 100, 101], np.float32), np.array([0, 1, 0, 1])
    groups = np.tile(np.arange(4), 6)
    features, labels = positions[groups][:, None], classes[groups]
    pooled, whole = (next(probe_folds(features, labels, 2, 2, known)) for known in (None, groups))
    assert pooled.metrics["accuracy"] == 1
    assert whole.metrics["accuracy"] in {0, 0.5}


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([0, 1] * 12, "2 groups \\(patients or slides\\) cannot be divided into 3 folds"),
        ([0] * 8 + [1] * 8 + [2] * 8, "one class"),
    ],
)
def test_groups_that_cannot_be_divided(groups: list[int], message: str) -> None:
    labels = np.array([0] * 20 + [1] * 4)
    with pytest.raises(UserError, match=message):
        list(probe_folds(np.zeros((24, 2), np.float32), labels, 2, 3, np.array(groups)))


@pytest.mark.parametrize(
    ("asked", "left_out", "folds"), [(None, None, 5), (None, "east", 0), (0, "east", 0), (0, None, 0), (3, None, 3)]
)
def test_folds_by_default(asked: int | None, left_out: str | None, folds: int) -> None:
    assert chosen_folds(asked, left_out) == folds


def test_own_sets() -> None:
    train, test = cells(80), cells(40, seed=1)
    (_, _, found) = probe_sets(train, test, CLASSES)
    answers = LogisticRegression(C=8 * 3 / 100, max_iter=1000).fit(*train).predict(test[0])
    assert found.metrics["accuracy"] == pytest.approx(accuracy_score(test[1], answers))
    assert found.cells == 40
    assert found.folds == {}


def test_more_labelled_cells_help_and_sizes_that_a_class_lacks_are_left_out() -> None:
    train, test = cells(120), cells(400, seed=1)
    found = list(few_shot(train, test, CLASSES, draws=6))
    assert [one.cells for one in found] == [1, 5, 10, 20]  # the rare classes have 30 cells
    assert found[0].metrics["accuracy"] < found[-1].metrics["accuracy"]
    low, high = found[0].ranges["accuracy"]
    assert low < high
    again = list(few_shot(train, test, CLASSES, draws=6))
    assert again == found


def test_a_draw_has_as_many_cells_of_each_class() -> None:
    """With one cell of each class, logistic regression on features that are the class itself is right everywhere."""
    labels = np.arange(30, dtype=np.int64) % CLASSES
    features = np.eye(CLASSES, dtype=np.float32)[labels]
    (one,) = few_shot((features, labels), (features, labels), CLASSES, sizes=(1,), draws=3)
    assert one.metrics == {"accuracy": 1.0, "balanced_accuracy": 1.0, "f1_weighted": 1.0}


@pytest.mark.parametrize(
    ("labels", "message"),
    [([1] * 20, "the cells are of 1 class"), ([0] * 18 + [1, 1], "a class has 2 cells, fewer than the 5 folds; use --folds 2")],
)
def test_what_cannot_be_probed(labels: list[int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(probe_folds(np.zeros((20, 4), np.float32), np.array(labels), CLASSES))
