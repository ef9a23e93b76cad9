"""Comparison of two methods that measured the same things: limits of agreement, regressions with errors in both, correlations.

No maintained Python package has these with their limits. Each function is tested against published results of another program.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]

FEWEST = 3
"""Pairs from which a line and its limits can be estimated."""


class Estimate(NamedTuple):
    """An estimate with its limits; NaN where the data do not suffice."""

    value: float
    low: float
    high: float


UNKNOWN = Estimate(np.nan, np.nan, np.nan)


class LimitsOfAgreement(NamedTuple):
    """Bias and limits of agreement, each with its own limits, in the units of the data."""

    bias: Estimate
    lower: Estimate
    upper: Estimate


class Line(NamedTuple):
    """A regression line of the new method on the reference."""

    slope: Estimate
    intercept: Estimate


def bland_altman(reference: Floats, method: Floats, level: float = 0.95) -> LimitsOfAgreement:
    """Compute the limits of agreement, between which 95 % of the differences are expected.

    Args:
        reference: (N,) values of the reference.
        method: (N,) values of the other method for the same things.
        level: of the limits of the three estimates.

    Returns:
        Mean difference ``method - reference`` and that mean -+ 1.96 standard deviations. Their limits are those of Bland and
        Altman (Lancet 1986; i: 307), who rounded 1.96 to 2. One pair has a bias only.
    """
    difference = np.asarray(method, np.float64) - reference
    cells = len(difference)
    bias = float(difference.mean())
    if cells == 1:
        return LimitsOfAgreement(Estimate(bias, np.nan, np.nan), UNKNOWN, UNKNOWN)
    deviation = float(difference.std(ddof=1))
    quantile = float(stats.t.ppf((1 + level) / 2, cells - 1))

    def around(value: float, error: float) -> Estimate:
        """Return an estimate with a standard error and its limits."""
        return Estimate(value, value - quantile * error, value + quantile * error)

    reach, error = float(stats.norm.ppf(0.975)) * deviation, deviation / cells**0.5
    return LimitsOfAgreement(around(bias, error), *(around(bias + side * reach, 3**0.5 * error) for side in (-1, 1)))


def passing_bablok(reference: Floats, method: Floats, level: float = 0.95) -> Line:
    """Fit Passing and Bablok's line (J Clin Chem Clin Biochem 21 (1983) 709): the shifted median of the slopes of all pairs.

    It assumes a straight line, a positive correlation and no distribution of the errors. Pairs of equal points and slopes of -1
    are left out, and pairs with equal references are infinitely steep. A median between two slopes is that of their angles.
    The ranks of the limits are those of R's package mcr; R's deming takes up to one more pair at either side.

    Args:
        reference: (N,) values of the reference.
        method: (N,) values of the other method.
        level: of the limits.

    Returns:
        The line. Limits that would need more pairs are NaN; so is all for fewer than three pairs and without a positive
        correlation (Kendall's), as with a constant.
    """
    cells = len(reference)
    first, second = np.triu_indices(cells, 1)
    run, rise = reference[second] - reference[first], method[second] - method[first]
    if cells < FEWEST or (np.sign(run) * np.sign(rise)).sum() <= 0:
        return Line(UNKNOWN, UNKNOWN)
    angles = np.where(run == 0, np.pi / 2, np.arctan(rise / np.where(run == 0, 1, run)))
    angles = np.sort(angles[((run != 0) | (rise != 0)) & (angles != -np.pi / 4)])
    shift = 2 * int((angles < -np.pi / 4).sum())
    reach = round(stats.norm.ppf((1 + level) / 2) * (cells * (cells - 1) * (2 * cells + 5) / 18) ** 0.5)

    def slope_at(twice: int) -> float:
        """Return the slope at a rank from 1, given as the sum of the ranks of the two in the middle, less 1."""
        below, above = (twice + 1) // 2 - 1, twice // 2
        if below < 0 or above >= len(angles):
            return np.nan
        angle = float(angles[below] + angles[above]) / 2
        return float(np.tan(angle)) if angle < np.pi / 2 else np.nan

    slope = Estimate(*(slope_at(len(angles) + shift + side * reach) for side in (0, -1, 1)))
    value, high, low = (float(np.median(method - each * reference)) for each in slope)
    return Line(slope, Estimate(value, low, high))


def deming(reference: Floats, method: Floats, error_ratio: float = 1.0, level: float = 0.95) -> Line:
    """Fit Deming's line, with limits from the jackknife (Linnet, Clin Chem 39 (1993) 424).

    Args:
        reference: (N,) values of the reference.
        method: (N,) values of the other method.
        error_ratio: variance of the reference's errors divided by that of the method's; for shares of counted cells about the
            method's cells divided by the reference's.
        level: of the limits.

    Returns:
        The line; NaN for fewer than three pairs, or where reference or method is constant.
    """
    cells = len(reference)
    if cells < FEWEST:
        return Line(UNKNOWN, UNKNOWN)
    whole = deming_line(reference, method, error_ratio)
    rows = np.arange(cells)
    left_out = [deming_line(reference[rows != row], method[rows != row], error_ratio) for row in rows]
    pseudo = cells * np.array(whole) - (cells - 1) * np.array(left_out)
    error = pseudo.std(axis=0, ddof=1) / cells**0.5
    reach = stats.t.ppf((1 + level) / 2, cells - 2) * error
    return Line(*(Estimate(value, float(value - r), float(value + r)) for value, r in zip(whole, reach, strict=True)))


def deming_line(reference: Floats, method: Floats, error_ratio: float) -> tuple[float, float]:
    """Return slope and intercept of Deming's line; NaN where there is none."""
    (xx, xy), (_, yy) = np.cov(reference, method)
    if np.isclose(xy, 0, atol=1e-15):
        return np.nan, np.nan
    steep = yy - xx / error_ratio
    slope = (steep + np.sqrt(steep**2 + 4 * xy**2 / error_ratio)) / (2 * xy)
    return float(slope), float(np.mean(method) - slope * np.mean(reference))


def correlation(kind: Callable[..., tuple[float, float]], reference: Floats, method: Floats) -> float:
    """Return a correlation of scipy, or NaN for fewer than three pairs or a constant."""
    if len(reference) < FEWEST or np.ptp(reference) == 0 or np.ptp(method) == 0:
        return np.nan
    return float(kind(reference, method)[0])


def concordance(reference: Floats, method: Floats) -> float:
    """Return Lin's concordance correlation coefficient (Biometrics 45 (1989) 255): 1 only if all pairs are equal."""
    (xx, xy), (_, yy) = np.cov(reference, method, ddof=0) if len(reference) >= FEWEST else np.full((2, 2), np.nan)
    spread = xx + yy + (np.mean(reference) - np.mean(method)) ** 2
    return float(2 * xy / spread) if spread > 0 else np.nan
