"""Metrics, intervals and balancing against other libraries and arithmetic by hand."""

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, precision_score, recall_score
from torch.nn.functional import cross_entropy

from bcc_lightning.balancing.balance import balance_cells
from bcc_lightning.balancing.draws import Weighted
from bcc_lightning.datamodules.cell_images import CellBatch
from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.intervals import intervals, matrix_metrics, wilson
from bcc_lightning.evaluation.metrics import confusion_matrix
from bcc_lightning.evaluation.predictions import PredictionGatherer, Predictions
from bcc_lightning.modules.losses import weighted_loss


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
        assert values[f"test/{name}_{average}"][0] == pytest.approx(expected)


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
    loss = weighted_loss(logits, batch, "cross_entropy", focal_gamma=2.0, label_smoothing=0.0)
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
