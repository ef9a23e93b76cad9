"""Numbers for readers: each has as many digits as its interval supports."""

from collections.abc import Sequence
from math import floor, log10

LEAST, MOST = 2, 4
"""Fewest and most decimals of a figure. With fewer, the ends of a wide interval could not be read; a percent is the second."""

USUAL = 3
"""Decimals of a share that has no interval."""

Bounds = Sequence[float] | None
"""Lower and upper end of an interval; None where there is none."""


def decimals(interval: Bounds) -> int:
    """Return how many decimals an interval supports: up to the first digit of its half width, 3 for 0.004.

    Args:
        interval: lower and upper end. One without width, as a bootstrap of figures that are all the same gives, counts as none.

    Returns:
        `LEAST` to `MOST`; `USUAL` without an interval.
    """
    if not interval or interval[1] <= interval[0]:
        return USUAL
    return min(MOST, max(LEAST, -floor(log10((interval[1] - interval[0]) / 2))))


def number(value: float | None, interval: Bounds = None) -> str:
    """Format a figure, such as ``0.987``; a dash where it is undefined."""
    return "–" if value is None else f"{value:.{decimals(interval)}f}"


def interval_of(interval: Sequence[float]) -> str:
    """Format an interval with the digits that it supports, such as ``0.981 to 0.991``."""
    return " to ".join(number(end, interval) for end in interval)


def percent(value: float | None, interval: Bounds = None) -> str:
    """Format a share in percent with the digits that its interval supports, such as ``98.7 %``; a dash where it is undefined."""
    return "–" if value is None else f"{in_percent(value, interval)} %"


def percent_interval(interval: Sequence[float]) -> str:
    """Format an interval of a share in percent, such as ``98.1 to 99.1 %``."""
    return f"{' to '.join(in_percent(end, interval) for end in interval)} %"


def in_percent(value: float, interval: Bounds) -> str:
    """Format a share in percent without the sign."""
    return f"{100 * value:.{decimals(interval) - 2}f}"
