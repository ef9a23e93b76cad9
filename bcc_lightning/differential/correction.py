"""Shares of classes corrected for the confusions of a network, with limits that carry all that is uncertain about them.

A slide with the true shares p gives predicted counts from a multinomial distribution with the shares M' p; row i of M holds the
shares in which the network predicts the classes for cells of class i. M is known from the validation set only, whose rows are
multinomial counts as well.

- The corrected share is the maximum-likelihood estimate of p among shares that are not negative and add up to 1. Where the
  inverse of M' gives such shares, the two are equal; that one is called the adjusted count.
- The limits come from draws of both sources: Jeffreys' posterior of the slide's predicted shares, modified as in Brown, Cai and
  DasGupta (Statistical Science 16 (2001) 101), and a posterior of the rows of M; each draw is solved for p. This is what Lang and
  Reiczigel (Preventive Veterinary Medicine 113 (2014) 13) do for sensitivity and specificity, for any number of classes.

``benchmarks/differential_coverage.py`` measures the coverage, and that of the methods that were not chosen.
"""

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

DRAWS = 2000
"""Draws of shares and confusions on which the limits are based."""

JEFFREYS = 0.5
"""Cells added to each predicted count before a draw."""

PRIOR_CELLS = 1.0
"""Cells added to each true class of the validation set, spread evenly over the predicted classes: a mistake that was never seen
in a few hundred cells is rare, not impossible."""

ELEMENTS_AT_ONCE = 4_000_000
"""Elements of drawn matrices in memory at once."""

STEPS = 20_000
CONVERGED = 1e-9
"""The estimate is found when no share changes by more in a step, or after `STEPS`."""

NEGLIGIBLE = 1e-6
"""A smaller share is 0."""

RIDGE = 1e-9
"""Added to the diagonal of a drawn matrix, since that of a network that predicts a single class has no inverse."""


def most_likely_shares(counts: Counts, confusion: Counts) -> Floats:
    """Estimate the true shares by maximum likelihood, with the EM algorithm.

    Args:
        counts: (S, C) predicted counts of S slides, each with at least one cell.
        confusion: (C, C) counts of the validation set, rows true, columns predicted.

    Returns:
        (S, C) shares; each row adds up to 1.
    """
    matrix = rates(confusion)
    shares = np.full(counts.shape, 1 / counts.shape[1])
    observed = counts / counts.sum(axis=1, keepdims=True)
    for _ in range(STEPS):
        updated = shares * ((observed / (shares @ matrix)) @ matrix.T)
        done = np.abs(updated - shares).max(initial=0) < CONVERGED
        shares = updated
        if done:
            break
    shares[shares < NEGLIGIBLE] = 0  # EM comes ever nearer to 0, but does not reach it
    shares /= shares.sum(axis=1, keepdims=True)
    return shares


def rates(confusion: Counts) -> Floats:
    """Return the shares in which the classes are predicted for each true class: (C, C), rows add up to 1.

    A class without validation cells has no known confusions and counts as always recognised.
    """
    unseen = confusion.sum(axis=1) == 0
    weight = confusion.astype(np.float64) + PRIOR_CELLS / len(confusion)
    weight[unseen] = np.eye(len(confusion))[unseen]
    shares: Floats = weight / weight.sum(axis=1, keepdims=True)
    return shares


def drawn_inverses(confusion: Counts, draws: int) -> Floats:
    """Draw matrices of confusions from their posterior, and invert them.

    Args:
        confusion: as in `most_likely_shares`.
        draws: number of draws.

    Returns:
        (draws, C, C) matrices W; predicted shares q give the true shares q W.
    """
    generator = np.random.default_rng(0)
    classes, unseen = len(confusion), confusion.sum(axis=1) == 0
    at_once = max(1, ELEMENTS_AT_ONCE // classes**2)
    found = []
    for start in range(0, draws, at_once):
        size = (min(at_once, draws - start), classes, classes)
        matrices = generator.standard_gamma(np.broadcast_to(confusion + PRIOR_CELLS / classes, size))
        matrices[:, unseen] = np.eye(classes)[unseen]
        matrices /= matrices.sum(axis=2, keepdims=True)
        found.append(np.linalg.inv(matrices + RIDGE * np.eye(classes)))
    return np.concatenate(found)


def corrected_limits(counts: Counts, confusion: Counts, of: npt.NDArray[np.bool_], level: float) -> tuple[Floats, Floats]:
    """Compute limits of the true shares.

    Each slide is drawn for with the same seed, so that its limits do not depend on the other slides.

    Args:
        counts: as in `most_likely_shares`.
        confusion: as there.
        of: (C,) classes that make up the whole, of which shares are wanted.
        level: probability with which the limits shall hold, e.g. 0.95.

    Returns:
        Lower and upper limits, (S, C) each, in [0, 1].
    """
    inverses = drawn_inverses(confusion, DRAWS)
    tails = ((1 - level) / 2, (1 + level) / 2)
    limits = np.empty((2, *counts.shape))
    for row, cells in enumerate(counts):
        weight = np.random.default_rng(1).standard_gamma(np.broadcast_to(cells + JEFFREYS, (DRAWS, counts.shape[1])))
        shares = np.einsum("dj,djk->dk", weight / weight.sum(axis=1, keepdims=True), inverses).clip(0, 1)
        if not of.all():
            shares /= np.maximum(shares[:, of].sum(axis=1, keepdims=True), RIDGE)
        limits[:, row] = np.quantile(shares, tails, axis=0)
    lower, upper = limits
    lower[counts == 0] = 0
    # Fewer cells than the confusions lead to expect would give an upper limit near 0, which so few cells cannot support.
    nothing_found = beta.ppf(tails[1], JEFFREYS, JEFFREYS + counts[:, of].sum(axis=1, keepdims=True))
    return lower, np.maximum(upper, nothing_found)
