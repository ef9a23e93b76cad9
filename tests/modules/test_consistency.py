"""The difference between the answers for two views of a cell, by arithmetic."""

import math

import pytest
import torch
from scipy.spatial.distance import jensenshannon

from bcc_lightning.errors import UserError
from bcc_lightning.modules.losses import consistency_loss

POSITION = torch.tensor([4, 7, 4, 7])


def test_equal_views_cost_nothing_and_opposite_ones_the_logarithm_of_two() -> None:
    logits = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    assert consistency_loss(torch.cat([logits, logits]), POSITION) == pytest.approx(0, abs=1e-6)
    sure = torch.tensor([[100.0, -100.0], [-100.0, 100.0]])
    assert consistency_loss(torch.cat([sure, -sure]), POSITION) == pytest.approx(math.log(2), abs=1e-6)


def test_it_is_the_jensen_shannon_divergence() -> None:
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    first, second = logits.softmax(1).chunk(2)
    expected = [jensenshannon(one, two) ** 2 for one, two in zip(first, second, strict=True)]
    assert consistency_loss(logits, POSITION) == pytest.approx(sum(expected) / 2, abs=1e-6)


@pytest.mark.parametrize("position", [[4, 7, 7, 4], [4, 7, 5]])
def test_batches_without_two_views(position: list[int]) -> None:
    with pytest.raises(UserError, match=r"add --data.laboratory all --data.views 2"):
        consistency_loss(torch.zeros(len(position), 2), torch.tensor(position))
