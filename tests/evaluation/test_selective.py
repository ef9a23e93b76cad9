"""The risk-coverage curve of a few cells by hand."""

import pytest
import torch

from bcc_lightning.evaluation.metrics import Predictions
from bcc_lightning.evaluation.selective import DRAWN, risk_coverage


def predictions(confidence: list[float], right: list[bool]) -> Predictions:
    top = torch.tensor(confidence)
    return Predictions(torch.arange(len(top)), (~torch.tensor(right)).long(), torch.stack([top, 1 - top], dim=1))


def test_four_cells_by_hand() -> None:
    # From the surest: right, wrong, right, wrong. Errors among the first k: 0, 1/2, 1/3, 1/2.
    found = risk_coverage(predictions([0.7, 0.9, 0.6, 0.8], [True, True, False, False]))
    assert found.coverage == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert found.risk == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
    # The mean over the coverages from 1/4 to 1 by the trapezoid rule: three pieces of equal width.
    assert found.aurc == pytest.approx(((0 + 1 / 2) / 2 + (1 / 2 + 1 / 3) / 2 + (1 / 3 + 1 / 2) / 2) / 3)
    # Wrongly answered cells as a share of all four: 0, 1/4, 1/4, 1/2.
    assert found.augrc == pytest.approx(((0 + 1 / 4) / 2 + (1 / 4 + 1 / 4) / 2 + (1 / 4 + 1 / 2) / 2) / 3)
    # All mistakes last: errors 0, 0, 1/3, 1/2.
    assert found.best_aurc == pytest.approx((0 + (0 + 1 / 3) / 2 + (1 / 3 + 1 / 2) / 2) / 3)


def test_the_best_order_reaches_the_best_area() -> None:
    found = risk_coverage(predictions([0.9, 0.8, 0.7, 0.6], [True, True, False, False]))
    assert found.aurc == pytest.approx(found.best_aurc)


def test_no_mistakes_and_a_single_cell() -> None:
    assert risk_coverage(predictions([0.9, 0.6], [True, True])).aurc == 0
    alone = risk_coverage(predictions([0.9], [False]))
    assert (alone.aurc, alone.augrc, alone.best_aurc) == (None, None, None)
    assert (alone.coverage, alone.risk) == ([1.0], [1.0])


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    cells = 3 * DRAWN
    found = risk_coverage(predictions(torch.linspace(0.99, 0.51, cells).tolist(), [row % 3 > 0 for row in range(cells)]))
    assert len(found.coverage) <= DRAWN
    assert (found.coverage[0], found.coverage[-1]) == (1 / cells, 1.0)
    assert found.risk[-1] == pytest.approx(1 / 3, abs=1e-6)
