"""Limits of shares against published tables, and shares that are corrected for confusions against what was drawn."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from bcc_lightning.differential.counting import Confusion, correct, count_cells, differential, exact_limits
from bcc_lightning.errors import UserError


@pytest.mark.parametrize(
    ("count", "cells", "low", "high"),
    [
        *((0, 100, 0, 3.6), (1, 100, 0.03, 5.5), (5, 100, 1.6, 11.3), (10, 100, 4.9, 17.6), (50, 100, 39.8, 60.2)),
        *((20, 200, 6.2, 15.0), (50, 500, 7.5, 13.0), (100, 100, 96.4, 100)),
    ],
)
def test_limits_are_those_that_ruemke_published(count: int, cells: int, low: float, high: float) -> None:
    """In percent, from Rümke's table of the differential count (1985)."""
    found = exact_limits(count, cells)
    assert [100 * float(value) for value in found] == pytest.approx([low, high], abs=0.1)


def test_limits_are_those_of_scipy_also_of_many_at_once() -> None:
    counts = np.array([[0, 3, 7], [200, 1, 50]])
    low, high = exact_limits(counts, np.full_like(counts, 200), 0.9)
    for place, count in np.ndenumerate(counts):
        expected = binomtest(int(count), 200).proportion_ci(0.9, "exact")
        assert (low[place], high[place]) == pytest.approx((expected.low, expected.high))


def test_confusions_are_counted_from_filed_predictions() -> None:
    table = pd.DataFrame({"id": list("wxyz"), "label": ["a", "a", "label", "a"], "a": [0.9, 0.2, 0.4, 0.6]})
    table["class:label"] = 1 - table["a"]
    assert Confusion.of_predictions(table, ["a", "label"]).counts.tolist() == [[2, 1], [0, 1]]


def test_cells_are_counted_by_slide_in_the_order_in_which_they_come() -> None:
    counts = count_cells(["s2", "s1", "s2"], ["b", "a", "b"], ["a", "b", "c"])
    pd.testing.assert_frame_equal(counts, pd.DataFrame({"a": [0, 1], "b": [2, 0], "c": [0, 0]}, index=["s2", "s1"]))
    with pytest.raises(UserError, match="cells are counted as d; the classes are a, b"):
        count_cells(["s"], ["d"], ["a", "b"])


def test_a_row_per_slide_and_class() -> None:
    counts = pd.DataFrame({"a": [3, 0], "b": [1, 0]}, index=["s1", "empty"])
    found = differential(counts)
    assert list(found.columns[:6]) == ["slide", "class", "count", "share", "low", "high"]
    assert list(found.columns[6:]) == ["corrected", "corrected_low", "corrected_high"]
    assert found["slide"].tolist() == ["s1", "s1", "empty", "empty"]
    assert found["share"].tolist()[:2] == [0.75, 0.25]
    assert found["share"].isna().tolist() == [False, False, True, True]
    assert (found["low"].tolist()[2:], found["high"].tolist()[2:]) == ([0, 0], [1, 1])
    assert found["corrected"].isna().all()
    with pytest.raises(UserError, match="the confusions are of a, c, the counts of a, b"):
        differential(counts, Confusion(("a", "c"), np.eye(2, dtype=np.int64)))


def test_a_network_without_confusions_is_hardly_corrected() -> None:
    share, low, high = correct(np.array([60, 30, 10]), np.diag([10_000] * 3))
    assert share == pytest.approx([61 / 102, 30.5 / 101.5, 10.5 / 101.5], abs=0.005)  # posterior mean of Dirichlet(1/2)
    exact = exact_limits(np.array([60, 30, 10]), np.full(3, 100))
    assert low == pytest.approx(exact[0], abs=0.02)
    assert high == pytest.approx(exact[1], abs=0.02)


def test_immature_granulocytes_that_a_network_invents_are_taken_back() -> None:
    """It calls 5 % of the neutrophils immature: of 1,000 neutrophils 50 are, and none of them is."""
    confusion = np.array([[9500, 500], [0, 10_000]])
    share, low, _ = correct(np.array([950, 50]), confusion)
    assert share[1] < 0.01
    assert low[1] < 1e-3
    assert exact_limits(50, 1000)[0] > 0.03  # which plain counting rules out


def test_few_validation_cells_widen_the_limits() -> None:
    counts, confusion = np.array([700, 300]), np.array([[18, 2], [1, 19]])
    widths = [np.subtract(*correct(counts, scale * confusion)[:0:-1])[0] for scale in (1, 100)]
    assert widths[0] > 2 * widths[1]


@pytest.mark.slow
def test_corrected_limits_hold_the_true_shares_of_drawn_slides() -> None:
    """Drawn slides, since no real ones are at hand: 200 cells each, and a validation set that is drawn anew for each."""
    random = np.random.default_rng(1)
    matrix = np.array([[0.9, 0.1, 0], [0.05, 0.9, 0.05], [0, 0.1, 0.9]])
    truth = np.array([0.6, 0.25, 0.15])
    held, plain = np.zeros(3), np.zeros(3)
    for _ in range(150):
        confusion = np.array([random.multinomial(150, row) for row in matrix])
        counts = random.multinomial(200, truth @ matrix)
        _, low, high = correct(counts, confusion)
        held += (low <= truth) & (truth <= high)
        low, high = exact_limits(counts, np.full(3, 200))
        plain += (low <= truth) & (truth <= high)
    assert (held / 150 > 0.9).all()  # 95 % less 3 standard deviations of a share of 150
    assert plain[1] / 150 < 0.9
