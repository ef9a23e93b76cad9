"""Scores of strange cells, by formulas written out with NumPy and scikit-learn."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from sklearn.covariance import EmpiricalCovariance
from sklearn.neighbors import NearestNeighbors
from torch import nn

from bcc_lightning import PlainCNN
from bcc_lightning.datasets.cells import CellImages
from bcc_lightning.datasets.smear_painter import paint_cells
from bcc_lightning.errors import UserError
from bcc_lightning.novelty.choices import read_share
from bcc_lightning.novelty.detectors import DETECTORS, Detector, LastLayer, Seen, fit_detector
from bcc_lightning.novelty.guard import Guard, Reference, look_at_own_cells
from bcc_lightning.prediction.classifier import TrainedClassifier

DRAW = np.random.default_rng(0)
LABELS = np.repeat([0, 1, 3], 60)  # class 2 has no cells
TRAINING = (
    DRAW.normal(size=(180, 12)).astype(np.float32) * np.linspace(0.2, 2, 12, dtype=np.float32)
    + 3 * np.eye(12, dtype=np.float32)[LABELS]
)
FAR = 8 * np.eye(12, dtype=np.float32)[4]  # a direction in which training cells hardly vary and that no class has
OTHERS = np.concatenate([TRAINING[:5] + 0.01, TRAINING[5:10] + FAR])
LAYER = nn.Linear(12, 4)
with torch.no_grad():
    LAYER.weight.copy_(torch.eye(4, 12))
    LAYER.bias.copy_(torch.tensor([0.1, 0.2, 0.3, 0.4]))


def seen(features: np.ndarray[Any, np.dtype[np.float32]]) -> Seen:
    tensor = torch.from_numpy(features)
    return Seen(tensor, LAYER(tensor).detach())


def mahalanobis() -> np.ndarray[Any, Any]:
    means = np.stack([TRAINING[label == LABELS].mean(0) for label in (0, 1, 3)])
    centred = TRAINING - means[np.searchsorted([0, 1, 3], LABELS)]
    covariance = EmpiricalCovariance(assume_centered=True).fit(centred.astype(np.float64))
    return np.stack([covariance.mahalanobis(OTHERS - mean) for mean in means]).min(0)


def nearest() -> np.ndarray[Any, Any]:
    def unit(rows: Any) -> Any:
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    return NearestNeighbors(n_neighbors=10).fit(unit(TRAINING)).kneighbors(unit(OTHERS))[0][:, -1]


def residual(features: Any) -> Any:
    """Equations 3 to 5 of Wang et al. (2022): the length outside the six directions in which training cells extend most."""
    weight, bias = LAYER.weight.detach().numpy(), LAYER.bias.detach().numpy()
    origin = -np.linalg.pinv(weight) @ bias
    centred = (TRAINING - origin).astype(np.float64)
    directions = np.linalg.eigh(centred.T @ centred)[1][:, :6]  # in ascending order: the six that remain
    return np.linalg.norm((features - origin) @ directions, axis=1)


def virtual_logit() -> np.ndarray[Any, Any]:
    scale = seen(TRAINING).logits.numpy().max(1).mean() / residual(TRAINING).mean()
    return scale * residual(OTHERS) - logsumexp(seen(OTHERS).logits.numpy(), axis=1)


def test_scores_are_those_of_the_formulas() -> None:
    logits = seen(OTHERS).logits.numpy()
    probability = torch.softmax(torch.from_numpy(logits), 1).numpy()
    expected = {"msp": -probability.max(1), "energy": -logsumexp(logits, axis=1), "knn": nearest(), "vim": virtual_logit()}
    for name, scores in expected.items():
        found = fit_detector(name, seen(TRAINING), LABELS, LAYER)(seen(OTHERS))  # type: ignore[arg-type]
        shift = found[0] - scores[0] if name == "msp" else 0  # minus the probability, or one minus it
        assert found - shift == pytest.approx(scores, abs=1e-4)
    found = fit_detector("mahalanobis", seen(TRAINING), LABELS, LAYER)(seen(OTHERS))
    assert found / found[0] == pytest.approx(mahalanobis() / mahalanobis()[0], rel=0.02)


@pytest.mark.parametrize("name", DETECTORS[2:])
def test_what_is_far_from_all_training_cells_is_strange(name: Detector) -> None:
    scores = fit_detector(name, seen(TRAINING), LABELS, LAYER)(seen(OTHERS))
    assert scores[:5].max() < scores[5:].min()


@pytest.fixture(scope="module")
def classifier() -> TrainedClassifier:
    torch.manual_seed(0)
    return TrainedClassifier(PlainCNN(class_names=["a", "b"], image_size=32))


def cells(count: int, seed: int) -> CellImages:
    labels = np.arange(count, dtype=np.int64) % 2
    return CellImages(paint_cells(labels, 32, 0.2, seed), labels, [f"{seed}/{row}" for row in range(count)])


def test_the_last_layer_makes_the_logits_of_the_features(classifier: TrainedClassifier) -> None:
    pixels = cells(7, 1).images
    found = LastLayer(classifier).look(pixels)
    with torch.inference_mode():
        assert torch.allclose(found.logits, classifier.module(classifier.images(pixels)), atol=1e-4)


def test_familiarity_is_the_share_of_own_cells_that_are_at_least_as_strange(classifier: TrainedClassifier, tmp_path: Any) -> None:
    reference = look_at_own_cells(classifier, cells(60, 1), cells(39, 2))
    reference.write(tmp_path / "novelty.npz")
    guard = Guard(classifier, Reference.read(tmp_path / "novelty.npz"))
    strangest, median = guard.own[-1], guard.own[19]
    found = guard.familiarity(np.array([strangest + 1, strangest, median, -np.inf]))
    assert found.tolist() == [1 / 40, 2 / 40, 21 / 40, 1.0]
    noise = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    assert guard.familiarity(guard.scores(noise)).max() <= guard.familiarity(guard.scores(cells(20, 3).images)).mean()


def test_files_that_hold_nothing_of_use(tmp_path: Any) -> None:
    for name, content in (("empty.npz", b""), ("half.npz", b"PK\x03\x04half")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match="holds no features of a network's own cells"):
            Reference.read(tmp_path / name)
    np.savez(tmp_path / "pickle.npz", training=np.array([object()]), labels=np.zeros(1), validation=np.zeros(1))
    with pytest.raises(UserError, match="holds no features"):
        Reference.read(tmp_path / "pickle.npz")


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 5.0, float("nan")])
def test_shares_that_are_none(value: float) -> None:
    with pytest.raises(UserError, match="--abstain is"):
        read_share(value)
    assert read_share(None) is None
    assert read_share(0.05) == 0.05
