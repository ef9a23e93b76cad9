"""Votes of members that list the cells in other orders are brought together by the names of the cells."""

import numpy as np
import pytest
import torch

from bcc_lightning.architectures.soft_voting import SoftVoting, pool
from bcc_lightning.datasets.cells import CellImages
from bcc_lightning.engine.votes import NamedPredictions, align
from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.metrics import Predictions

NAMES = ["a", "b", "c", "d"]
LABELS = [0, 1, 1, 0]
CELLS = CellImages(np.zeros((4, 2, 2, 3), np.uint8), np.array(LABELS, np.int64), NAMES)
PROBABILITY = {"a": 0.9, "b": 0.2, "c": 0.4, "d": 0.7}
"""Of the first class."""


def said(names: str, labels: dict[str, int] | None = None) -> NamedPredictions:
    """Predictions that list cells in this order."""
    labels = labels or dict(zip(NAMES, LABELS, strict=True))
    first = torch.tensor([PROBABILITY[name] for name in names])
    label = torch.tensor([labels[name] for name in names])
    return NamedPredictions(list(names), Predictions(torch.arange(len(names)), label, torch.stack([first, 1 - first], dim=1)))


def test_orders_that_differ() -> None:
    votes, cells = align([said("abcd"), said("dbac")], CELLS)
    assert votes[:, :, 0].tolist() == [pytest.approx([0.9, 0.2, 0.4, 0.7])] * 2
    assert cells.position.tolist() == [0, 1, 2, 3]
    assert cells.label.tolist() == LABELS


def test_only_some_of_the_cells() -> None:
    votes, cells = align([said("bd"), said("db")], CELLS)
    assert votes[:, :, 0].tolist() == [pytest.approx([0.2, 0.7])] * 2
    assert cells.position.tolist() == [1, 3]
    assert cells.label.tolist() == [1, 0]


def test_cells_or_labels_that_differ() -> None:
    with pytest.raises(UserError, match="member 2 classified other cells than the first"):
        align([said("abcd"), said("abc")], CELLS)
    with pytest.raises(UserError, match="member 2 classified other cells than the first"):
        align([said("abc"), said("abd")], CELLS)
    with pytest.raises(UserError, match="member 2 has another label for cell c"):
        align([said("abcd"), said("abcd", {"a": 0, "b": 1, "c": 0, "d": 0})], CELLS)
    with pytest.raises(UserError, match="1 cells that the ensemble's data lack, the first is d"):
        align([said("abcd")], CELLS.part(np.arange(3)))


def test_weighted_mean_by_hand() -> None:
    votes = torch.tensor([[[0.9, 0.1]], [[0.5, 0.5]], [[0.1, 0.9]]])
    torch.testing.assert_close(pool(votes, torch.tensor([1 / 3, 1 / 3, 1 / 3])), torch.tensor([[0.5, 0.5]]))
    # 0.5 * 0.9 + 0.3 * 0.5 + 0.2 * 0.1 = 0.62
    torch.testing.assert_close(pool(votes, torch.tensor([0.5, 0.3, 0.2])), torch.tensor([[0.62, 0.38]]))


class Brightness(torch.nn.Module):
    """Logits from the mean of the image; notes what it was given."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen = tuple(images.shape)
        mean = images.mean(dim=(1, 2, 3))
        return torch.stack([mean, 1 - mean], dim=1)


def test_each_network_sees_its_own_size() -> None:
    networks = [Brightness(), Brightness()]
    voting = SoftVoting(networks, [8, 16])
    logits = voting(torch.full((3, 3, 8, 8), 0.25))
    assert [network.seen for network in networks] == [(3, 3, 8, 8), (3, 3, 16, 16)]
    # softmax of (0.25, 0.75) is 1 / (1 + e^0.5) = 0.37754 in the first place, for both
    torch.testing.assert_close(logits.softmax(dim=1)[:, 0], torch.full((3,), 0.37754), atol=1e-5, rtol=0)


def test_logits_stay_finite_where_all_are_certain() -> None:
    class Certain(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[500.0, 0.0]]).expand(len(images), 2)

    assert torch.isfinite(SoftVoting([Certain(), Certain()], [4, 4])(torch.zeros(1, 3, 4, 4))).all()
