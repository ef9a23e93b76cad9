"""Numbers have the digits that the half width of their interval reaches, computed by hand."""

import pytest

from bcc_lightning.pages.numbers import interval_of, number, percent, percent_interval


@pytest.mark.parametrize(
    ("value", "interval", "as_number", "as_percent"),
    [
        (0.98754, (0.98304, 0.99104), "0.988", "98.8 %"),  # half width 0.004
        (0.80094, (0.78723, 0.81399), "0.80", "80 %"),  # 0.013
        (0.99988, (0.99980, 0.99996), "0.9999", "99.99 %"),  # 0.00008, but at most four
        (0.15, (0.05, 0.36), "0.15", "15 %"),  # 0.155, but at least two
        (1.0, (1.0, 1.0), "1.000", "100.0 %"),  # no width, which is no certainty
        (0.19468, None, "0.195", "19.5 %"),
        (None, (0.1, 0.2), "–", "–"),
    ],
)
def test_digits_of_a_figure(value: float | None, interval: tuple[float, float] | None, as_number: str, as_percent: str) -> None:
    assert number(value, interval) == as_number
    assert percent(value, interval) == as_percent


def test_ends_of_an_interval_have_its_own_digits() -> None:
    assert interval_of((0.98304, 0.99104)) == "0.983 to 0.991"
    assert percent_interval((0.98304, 0.99104)) == "98.3 to 99.1 %"
