"""Agreement of a network's differential counts with an examiner's, as laboratories compare two methods (CLSI EP09, H20).

Shares of each class are compared over slides: the examiner's is x, the network's is y, both in percent of the cells. Sources:
Bland and Altman, Lancet 1986; Passing and Bablok, J Clin Chem Clin Biochem 21 (1983) 709; Cornbleet and Gochman, Clin Chem 25
(1979) 432.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

Floats = npt.NDArray[np.float64]

LEVEL = 0.95
FEWEST = 3
"""Slides from which on a line through them and its limits are computed."""


class Line(NamedTuple):
    """A line y = intercept + slope x, each with its limits; NaN where nothing can be said."""

    slope: float
    slope_low: float
    slope_high: float
    intercept: float
    intercept_low: float
    intercept_high: float


NO_LINE = Line(*[float("nan")] * 6)


class Difference(NamedTuple):
    """Differences y - x: mean with its limits, and the limits of agreement that hold 95 % of them."""

    bias: float
    bias_low: float
    bias_high: float
    agreement_low: float
    agreement_high: float


def bland_altman(x: Floats, y: Floats, level: float = LEVEL) -> Difference:
    """Compute bias and limits of agreement of paired measurements (N,).

    The limits of agreement are 1.96 standard deviations from the mean, those of the mean come from Student's t.
    """
    difference = y - x
    bias, number = float(difference.mean()), len(difference)
    if number < 2:  # noqa: PLR2004 - no deviation of one
        return Difference(bias, *[float("nan")] * 4)
    deviation = float(difference.std(ddof=1))
    wide = float(stats.norm.ppf((1 + level) / 2)) * deviation
    error = float(stats.t.ppf((1 + level) / 2, number - 1)) * deviation / number**0.5
    return Difference(bias, bias - error, bias + error, bias - wide, bias + wide)


def passing_bablok(x: Floats, y: Floats, level: float = LEVEL) -> Line:
    """Fit a line by the shifted median of all pairwise slopes, which outliers hardly move.

    Args:
        x: (N,) measurements of the reference.
        y: (N,) measurements of the other method.
        level: of confidence.

    Returns:
        The line; `NO_LINE` if there are too few points that differ.
    """
    first, second = np.triu_indices(len(x), 1)
    dx, dy = x[first] - x[second], y[first] - y[second]
    differ = (dx != 0) | (dy != 0)
    with np.errstate(divide="ignore"):
        slopes = np.sort(dy[differ] / dx[differ])
    slopes = slopes[slopes != -1]
    number, shift = len(slopes), int((slopes < -1).sum())
    if len(x) < FEWEST or number == 0 or not np.ptp(x):
        return NO_LINE
    middle = [(number - 1) // 2 + shift, number // 2 + shift]
    if middle[1] >= number:
        return NO_LINE
    slope = float(slopes[middle].mean())
    half = float(stats.norm.ppf((1 + level) / 2)) * (len(x) * (len(x) - 1) * (2 * len(x) + 5) / 18) ** 0.5
    lowest = round((number - half) / 2)
    low, high = (slopes[place] if 0 <= place < number else np.nan for place in (lowest + shift - 1, number - lowest + shift))
    intercepts = [float(np.median(y - one * x)) for one in (slope, high, low)]
    return Line(slope, float(low), float(high), *intercepts)


def deming(x: Floats, y: Floats, level: float = LEVEL) -> Line:
    """Fit a line by orthogonal regression: both methods err, equally much; limits by the jackknife.

    Args:
        x: (N,) measurements of the reference.
        y: (N,) measurements of the other method.
        level: of confidence.

    Returns:
        The line; `NO_LINE` if there are too few points that differ.
    """
    if len(x) < FEWEST or not np.ptp(x) or not np.ptp(y):
        return NO_LINE
    whole = np.array(orthogonal(x, y))
    number = len(x)
    kept = [orthogonal(np.delete(x, row), np.delete(y, row)) for row in range(number)]
    pseudo = number * whole - (number - 1) * np.array(kept)
    error = stats.t.ppf((1 + level) / 2, number - 2) * pseudo.std(axis=0, ddof=1) / number**0.5
    (slope, intercept), (slope_error, intercept_error) = whole, error
    return Line(
        *(slope, slope - slope_error, slope + slope_error),
        *(intercept, intercept - intercept_error, intercept + intercept_error),
    )


def orthogonal(x: Floats, y: Floats) -> tuple[float, float]:
    """Return slope and intercept of the line with the smallest squared orthogonal distances; NaN if there is none."""
    (xx, xy), (_, yy) = np.cov(x, y)
    if xy == 0:
        return float("nan"), float("nan")
    slope = (yy - xx + ((yy - xx) ** 2 + 4 * xy**2) ** 0.5) / (2 * xy)
    return float(slope), float(y.mean() - slope * x.mean())


def agree(counted: pd.DataFrame, reference: pd.DataFrame, kappa: pd.Series | None = None) -> pd.DataFrame:
    """Compare the network's counts with an examiner's, class by class.

    Args:
        counted: cells by slide (rows) and class (columns), as the network counts them.
        reference: likewise, as an examiner counts them; the slides that both have are compared.
        kappa: Cohen's kappa by class, where single cells have labels.

    Returns:
        A row per class: ``class``, ``slides``, the fields of `Difference` in percentage points, those of both lines with the
        prefixes ``passing_bablok_`` and ``deming_``, ``pearson``, ``lin`` (concordance) and ``kappa``.
    """
    slides = [slide for slide in counted.index if slide in reference.index]
    ours, theirs = shares(counted.loc[slides]), shares(reference.loc[slides, list(counted.columns)])
    rows = []
    for name in counted.columns:
        x, y = theirs[name].to_numpy(np.float64), ours[name].to_numpy(np.float64)
        rows.append(
            {
                "class": name,
                "slides": len(slides),
                **bland_altman(x, y)._asdict(),
                **{f"passing_bablok_{field}": value for field, value in passing_bablok(x, y)._asdict().items()},
                **{f"deming_{field}": value for field, value in deming(x, y)._asdict().items()},
                "pearson": defined(pearson, x, y),
                "lin": defined(concordance, x, y),
                "kappa": np.nan if kappa is None else kappa.get(name, np.nan),
            }
        )
    return pd.DataFrame(rows)


def shares(counts: pd.DataFrame) -> pd.DataFrame:
    """Turn counts by slide and class into percent of the cells of each slide."""
    return 100 * counts.div(counts.sum(axis=1), axis=0)


def defined(compute: Callable[[Floats, Floats], float], x: Floats, y: Floats) -> float:
    """Compute a correlation, which is not defined for fewer than three slides, nor where one method always counts the same."""
    return compute(x, y) if len(x) >= FEWEST and np.ptp(x) and np.ptp(y) else float("nan")


def pearson(x: Floats, y: Floats) -> float:
    """Compute Pearson's correlation."""
    return float(stats.pearsonr(x, y).statistic)


def concordance(x: Floats, y: Floats) -> float:
    """Compute Lin's concordance correlation, which is 1 only where both methods count the same."""
    covariance = np.cov(x, y, ddof=0)
    return float(2 * covariance[0, 1] / (covariance[0, 0] + covariance[1, 1] + (x.mean() - y.mean()) ** 2))


def kappa_by_class(reference: pd.Series, predicted: pd.Series, class_names: list[str]) -> pd.Series:
    """Compute Cohen's kappa of each class against the rest, from cells that both have classified; NaN for a class neither has."""
    found = {}
    for name in class_names:
        one, other = (reference == name).to_numpy(), (predicted == name).to_numpy()
        chance = one.mean() * other.mean() + (1 - one.mean()) * (1 - other.mean())
        found[name] = float(((one == other).mean() - chance) / (1 - chance)) if chance < 1 else float("nan")
    return pd.Series(found)
