"""The most similar training cells: the features that the last layer classifies, cosine by hand, and their store."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn

from bcc_lightning.datasets.cells import CellImages
from bcc_lightning.errors import UserError
from bcc_lightning.explanation import neighbours
from bcc_lightning.explanation.neighbours import TrainingCells, features_of, inputs_of, last_layers, training_cells
from bcc_lightning.modules import CellClassifier, Ensemble, PlainCNN
from bcc_lightning.modules.checkpoint import describe_classifier
from tests.modules.test_conformance import CASES

SINGLE = {name: case for name, case in CASES.items() if name != "Ensemble"}


def images(count: int, side: int = 32) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(256, size=(count, side, side, 3), dtype=np.uint8)


def cells(count: int) -> CellImages:
    return CellImages(images(count), np.arange(count) % 2, [f"train/{i}" for i in range(count)])


def network(seed: int = 0) -> CellClassifier:
    torch.manual_seed(seed)
    return PlainCNN(class_names=["a", "b"], image_size=32, pretrained=False, precision="32").eval()


@pytest.mark.parametrize("case", SINGLE.values(), ids=list(SINGLE))
def test_features_are_what_the_last_layer_classifies(case: Any) -> None:
    """Times its weights, plus its biases, they are the logits."""
    torch.manual_seed(0)
    common: dict[str, Any] = {
        "class_names": ["a", "b", "c"],
        "image_size": case.image_size,
        "pretrained": False,
        "precision": "32",
    }
    module = case.kind(**(case.arguments | common)).eval()
    (layer,) = last_layers(module)
    given = torch.from_numpy(images(2, case.image_size)).permute(0, 3, 1, 2)
    with torch.no_grad(), inputs_of([layer]) as seen:
        logits = module(given)
    torch.testing.assert_close(layer(seen[0]), logits)
    expected = nn.functional.normalize(seen[0], dim=1).detach().numpy()
    np.testing.assert_allclose(features_of(module, images(2, case.image_size)), expected, atol=1e-5)


def test_the_similarity_of_an_ensemble_is_the_mean_of_its_members() -> None:
    members = [network(0), network(1)]
    ensemble = Ensemble(
        class_names=["a", "b"], image_size=32, members=[describe_classifier(member) for member in members], precision="32"
    )
    for member, own in zip(members, ensemble.members, strict=True):
        own.load_state_dict(member.state_dict())
    similarities = [features_of(one, images(3)) @ features_of(one, images(3)).T for one in (*members, ensemble)]
    np.testing.assert_allclose(similarities[2], (similarities[0] + similarities[1]) / 2, atol=1e-5)


def test_a_network_without_a_last_linear_layer_is_refused() -> None:
    module = network()
    cast(Any, module.network).head.classifier = nn.Identity()
    with pytest.raises(UserError, match="does not end in a linear layer"):
        features_of(module, images(1))


def test_nearest_by_hand() -> None:
    """Features of length 1 at 0, 90 and 180 degrees; the cell stands at 60."""
    features = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    found = TrainingCells(cells(3), features, ["a", "b"], total=3)
    ((first, second),) = found.nearest(np.array([[0.5, 3**0.5 / 2]], np.float32), 2)
    assert (first.id, first.label, first.similarity) == ("train/1", "b", pytest.approx(3**0.5 / 2))
    assert (second.id, second.label, second.similarity) == ("train/0", "a", pytest.approx(0.5))
    np.testing.assert_array_equal(first.image, images(3)[1])
    assert found.typical_similarity() == pytest.approx(0)  # each has a neighbour at 90 degrees


def test_a_training_cell_is_most_like_itself(tmp_path: Path) -> None:
    module = network()
    found = training_cells(module, cells(12), ["a", "b"], "run", tmp_path / "features.npz")
    for row, nearest in enumerate(found.nearest(features_of(module, images(12)), 1)):
        assert nearest[0].id == f"train/{row}"
        assert nearest[0].similarity == pytest.approx(1, abs=1e-3)


def test_features_are_computed_once_for_a_run_and_its_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, calls = tmp_path / "features.npz", []
    compute = features_of
    monkeypatch.setattr(neighbours, "features_of", lambda *given: calls.append(1) or compute(*given))
    first = training_cells(network(), cells(12), ["a", "b"], "run data", store)
    again = training_cells(network(), cells(12), ["a", "b"], "run data", store)
    np.testing.assert_allclose(again.features, first.features, atol=1e-3)
    assert len(calls) == 1
    training_cells(network(1), cells(12), ["a", "b"], "other data", store)
    assert len(calls) == 2
    store.write_bytes(store.read_bytes()[:50])
    training_cells(network(1), cells(12), ["a", "b"], "other data", store)
    assert len(calls) == 3


def test_of_many_training_cells_some_are_drawn(tmp_path: Path) -> None:
    found = training_cells(network(), cells(40), ["a", "b"], "run", tmp_path / "features.npz", most=10)
    assert (len(found.cells), found.total) == (10, 40)
    assert np.bincount(found.cells.labels).tolist() == [5, 5]
