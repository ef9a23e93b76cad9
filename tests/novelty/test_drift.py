"""The drift alarm: rarely false, soon right, and the same for the same cells."""

import numpy as np
import pytest

from bcc_lightning.novelty.drift import ALARM, watch

OWN = np.random.default_rng(0).normal(size=1000)


def test_at_most_one_in_a_hundred_own_batches_raises_it() -> None:
    """300 batches of 100 cells: three or fewer are expected, and more than eight have a probability below 0.4 %."""
    draw = np.random.default_rng(1)
    raised = sum(watch(draw.normal(size=1000), draw.normal(size=100)).at is not None for _ in range(300))
    assert raised <= 8


def test_strange_cells_raise_it_soon() -> None:
    found = watch(OWN, np.random.default_rng(2).normal(3, 1, 100))
    assert found.at is not None
    assert found.at <= 40
    assert found.largest >= ALARM
    assert str(found).startswith(f"Alarm after {found.at} of 100 cells")
    assert watch(OWN, np.random.default_rng(2).normal(3, 1, 100)) == found


def test_few_cells_raise_nothing() -> None:
    assert watch(OWN, np.array([5.0])).at is None
    assert watch(OWN, np.empty(0)).largest == pytest.approx(0)
    assert str(watch(OWN, OWN[:50])).startswith("No alarm: the 50 cells")


def test_without_enough_cells_silence_promises_nothing() -> None:
    """Six validation cells and twelve others give no p-value below 1 / 18, whatever they are."""
    found = watch(OWN[:6], np.full(12, 99.0))
    assert (found.at, found.is_possible) == (None, False)
    assert str(found) == (
        "No alarm can be given: 12 cells beside 6 validation cells are too few for one, however strange they are to the network."
    )
    assert not watch(OWN, np.full(5, 99.0)).is_possible
    assert watch(OWN, OWN[:50]).is_possible
