"""Metrics, intervals and balancing against other libraries and arithmetic by hand."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score, roc_auc_score
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import multiclass_calibration_error

from bcc_lightning.balancing.balance import Weighted, balance_cells
from bcc_lightning.datasets.batches import CellBatch
from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.metrics import (
    PredictionGatherer,
    Predictions,
    auroc_macro,
    calibration_error,
    confusion_matrix,
    final_metrics,
    matrix_metrics,
)
from bcc_lightning.evaluation.reliability import collapse, equal_folds, intervals, support, wilson
from bcc_lightning.modules.losses import weighted_loss
from bcc_lightning.modules.recipe import Loss


def random_predictions(cells: int = 400, classes: int = 5, seed: int = 0) -> Predictions:
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(0, classes, (cells,), generator=generator)
    logits = torch.randn(cells, classes, generator=generator) + 1.5 * torch.nn.functional.one_hot(label, classes)
    return Predictions(torch.arange(cells), label, logits.softmax(dim=1))


@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_metrics_of_a_confusion_matrix_agree_with_scikit_learn(average: str) -> None:
    predictions = random_predictions()
    values = matrix_metrics(confusion_matrix(predictions, 5)[None].astype(np.float64))
    for name, score in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        expected = score(predictions.label, predictions.predicted, average=average)
        assert values[f"{name}_{average}"][0] == pytest.approx(expected)


def without(predictions: Predictions, *absent: int) -> Predictions:
    """Leave the cells of some classes out; the network may still answer them."""
    rows = ~torch.isin(predictions.label, torch.tensor(absent))
    return Predictions(predictions.position[rows], predictions.label[rows], predictions.probability[rows])


def scikit_learn(predictions: Predictions) -> dict[str, float]:
    """Scikit-learn's answers over the classes that occur."""
    true, answer, probability = predictions.label.numpy(), predictions.predicted.numpy(), predictions.probability.numpy()
    occurring = np.unique(true)
    expected = {"test/accuracy": accuracy_score(true, answer), "test/most_frequent": np.bincount(true).max() / len(true)}
    for name, score in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        for average in ("macro", "weighted"):
            value = score(true, answer, labels=occurring, average=average, zero_division=0)
            expected[f"test/{name}_{average}"] = value
    expected["test/auroc_macro"] = np.mean([roc_auc_score(true == c, probability[:, c]) for c in occurring])
    by_class = recall_score(true, answer, labels=occurring, average=None, zero_division=0)
    return expected | {f"test/recall/{'abcde'[c]}": value for c, value in zip(occurring, by_class, strict=True)}


@pytest.mark.parametrize("absent", [(), (2,), (0, 4), (1, 2, 3)])
def test_figures_are_scikit_learns_over_the_classes_that_occur(absent: tuple[int, ...]) -> None:
    predictions = without(random_predictions(), *absent)
    found = final_metrics(predictions, list("abcde"))
    expected = scikit_learn(predictions)
    assert found.keys() == expected.keys() | {"test/ece"}
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_auroc_counts_ties_half_as_scikit_learn_does() -> None:
    rng = np.random.default_rng(0)
    label, probability = rng.integers(0, 3, 200), rng.integers(0, 4, (200, 3)) / 4
    expected = np.mean([roc_auc_score(label == c, probability[:, c]) for c in range(3)])
    assert auroc_macro(probability, label)[0] == pytest.approx(expected)


def test_drawn_cells_give_what_scikit_learn_and_torchmetrics_say_of_them() -> None:
    predictions = without(random_predictions(120), 3)
    probability, label = predictions.probability.numpy(), predictions.label.numpy()
    draws = np.random.default_rng(2).integers(len(label), size=(20, len(label)))
    counts = np.stack([np.bincount(draw, minlength=len(label)) for draw in draws])
    auroc, ece = auroc_macro(probability, label, counts), calibration_error(probability, label, counts)
    for number, rows in enumerate(draws):
        expected = np.mean([roc_auc_score(label[rows] == c, probability[rows, c]) for c in np.unique(label[rows])])
        assert auroc[number] == pytest.approx(expected)
        drawn = torch.from_numpy(rows)
        error = multiclass_calibration_error(predictions.probability[drawn], predictions.label[drawn], 5, 15)
        assert ece[number] == pytest.approx(float(error), abs=1e-6)


@pytest.mark.parametrize("classes", [range(5), (0, 3), (1, 2, 4)])
def test_a_perfect_classifier_has_auroc_one_with_the_interval_one_to_one(classes: tuple[int, ...]) -> None:
    label = torch.tensor(list(classes) * 2)  # two cells of each class: many draws lack some of them
    perfect = Predictions(torch.arange(len(label)), label, torch.eye(5)[label])
    figures, found = final_metrics(perfect, list("abcde")), intervals(perfect, list("abcde"))
    for name in ("auroc_macro", "f1_macro", "recall_macro", "precision_macro"):
        assert figures[f"test/{name}"] == 1
        assert found[f"test/{name}"] == (1, 1)


def test_a_set_with_a_single_class_has_no_auroc_and_no_undefined_figure() -> None:
    predictions = without(random_predictions(), 0, 1, 2, 3)
    figures, found = final_metrics(predictions, list("abcde")), intervals(predictions, list("abcde"))
    assert "test/auroc_macro" not in figures | found
    assert figures["test/most_frequent"] == 1
    assert np.isfinite([*figures.values(), *np.ravel(list(found.values()))]).all()
    assert found.keys() == figures.keys() - {"test/most_frequent"}


def test_one_cell_is_enough_for_figures() -> None:
    one = Predictions(torch.zeros(1, dtype=torch.int64), torch.tensor([1]), torch.tensor([[0.3, 0.7]]))
    assert final_metrics(one, ["a", "b"])["test/accuracy"] == 1
    assert intervals(one, ["a", "b"])["test/recall/b"] == pytest.approx((0.2065, 1), abs=1e-4)  # 1 / (1 + z^2)


def test_probabilities_that_are_not_numbers_are_refused() -> None:
    probability = torch.tensor([[0.5, 0.5], [float("nan"), 0.5]])
    with pytest.raises(UserError, match="not numbers for 1 of 2 cells"):
        final_metrics(Predictions(torch.arange(2), torch.arange(2), probability), ["a", "b"])


def test_a_network_that_answers_one_class_is_said_to() -> None:
    found = collapse(np.array([[3, 57], [1, 39]]), ["blast", "other"], "the test set")
    assert found == [
        "The network predicts other for 96.0 % of the test set; 40.0 % of it is other.",
        "Accuracy on the test set is 0.4200, no better than 0.6000 for always answering blast, its most frequent class.",
    ]


@pytest.mark.parametrize(
    ("matrix", "sentences"),
    [
        ([[50, 0], [0, 50]], 0),
        ([[95, 0], [0, 5]], 0),  # 95 % are of one class, and so are exactly 95 % of the answers
        ([[96, 0], [0, 4]], 1),  # above 95 %
        ([[60, 0], [20, 20]], 0),
        ([[60, 0], [40, 0]], 2),
        ([[0, 60], [0, 0]], 0),  # a set with a single class
    ],
)
def test_when_a_network_has_learnt_little(matrix: list[list[int]], sentences: int) -> None:
    assert len(collapse(np.array(matrix), ["a", "b"], "the test set")) == sentences


def test_folds_that_do_not_differ_are_said_to() -> None:
    assert "All 3 folds have exactly the same accuracy, 0.5000" in equal_folds([0.5, 0.5, 0.5])[0]
    assert equal_folds([0.5, 0.5, 0.500001]) == []


def test_absent_and_rare_classes_are_named() -> None:
    matrix = np.array([[20, 0, 0], [0, 0, 0], [1, 0, 3]])
    assert support(matrix, ["a", "b", "c"], "test set ward") == [
        "No cells of b in test set ward: macro metrics are means over 2 of 3 classes.",
        "c has 4 cells in test set ward: each cell changes its recall by 0.25.",
    ]


def test_wilson_interval_by_hand() -> None:
    # 81 of 90 right, z = 1.959964: centre (0.9 + z^2/180) / (1 + z^2/90) = 0.883625,
    # half width z / (1 + z^2/90) * sqrt(0.9 * 0.1 / 90 + z^2 / (4 * 90^2)) = 0.062826.
    low, high = wilson(81, 90)
    assert low == pytest.approx(0.883625 - 0.062826, abs=1e-4)
    assert high == pytest.approx(0.883625 + 0.062826, abs=1e-4)


def test_bootstrap_by_matrix_agrees_with_drawing_cells() -> None:
    predictions = random_predictions()
    true, predicted = predictions.label.numpy(), predictions.predicted.numpy()
    rng = np.random.default_rng(1)
    drawn = [f1_score(true[rows], predicted[rows], average="macro") for rows in rng.integers(0, len(true), (600, len(true)))]
    expected = np.percentile(drawn, [2.5, 97.5])
    np.testing.assert_allclose(intervals(predictions, list("abcde"))["test/f1_macro"], expected, atol=0.012)


def test_gatherer_puts_cells_back_in_order() -> None:
    gatherer = PredictionGatherer()
    gatherer.update(torch.tensor([2, 0]), torch.tensor([5, 3]), torch.tensor([[0.2, 0.8], [0.6, 0.4]]))
    gatherer.update(torch.tensor([1]), torch.tensor([4]), torch.tensor([[1.0, 0.0]]))
    predictions = gatherer.compute()
    assert predictions.position.tolist() == [0, 1, 2]
    assert predictions.label.tolist() == [3, 4, 5]
    assert predictions.probability[:, 0].tolist() == pytest.approx([0.6, 1.0, 0.2])


def test_class_weights_give_torchs_weighted_cross_entropy() -> None:
    labels = np.array([0, 0, 0, 1, 2, 2], np.int64)
    balancing = balance_cells(labels, 3, "class_weights")
    # N / (C n): 6 / (3 * 3), 6 / (3 * 1), 6 / (3 * 2)
    by_class = torch.tensor([2 / 3, 2.0, 1.0])
    assert balancing.weights.tolist() == pytest.approx(by_class[labels].tolist())
    logits, label = torch.randn(6, 3), torch.from_numpy(labels)
    batch = CellBatch(torch.zeros(6), label, torch.from_numpy(balancing.weights), torch.arange(6))
    loss = weighted_loss(logits, batch, Loss())
    assert loss.item() == pytest.approx(cross_entropy(logits, label, weight=by_class).item())


def test_weighted_sampler_draws_each_class_equally_often() -> None:
    labels = np.array([0] * 90 + [1] * 10, np.int64)
    draws = balance_cells(labels, 2, "weighted_sampler").draws
    assert isinstance(draws, Weighted)
    assert draws.probabilities[labels == 0].sum() == pytest.approx(0.5)
    assert draws.probabilities[labels == 1].sum() == pytest.approx(0.5)


def test_balancing_refuses_an_empty_class() -> None:
    with pytest.raises(UserError, match="class 1 has none"):
        balance_cells(np.array([0, 2], np.int64), 3, "class_weights")
