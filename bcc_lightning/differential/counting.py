"""Counts of a smear: share of each class, its exact binomial limits, and the share corrected for the network's confusions.

The exact limits (Clopper and Pearson 1934; tabulated for smears by Rümke, Blood Cells 11, 1985) say how much another sample of
the same size would differ. They know nothing of misclassification: a network that calls 2 % of all neutrophils immature finds
immature granulocytes in every healthy smear. The corrected share takes the confusion matrix of the validation set into account.
Its limits are those of a posterior distribution that holds both uncertainties: few cells in the smear, and few validation cells
from which the confusions are known. The model is that of Bayesian quantification (Ziegler and Czyż, arXiv 2302.09159):

    true shares           p   ~ Dirichlet(1/2)
    confusions of class i m_i ~ Dirichlet(validation cells of class i by predicted class + 1/C)
    counts                    ~ Multinomial(n, p M)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import beta

from bcc_lightning.errors import UserError
from bcc_lightning.safe_names import column_name

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

LEVEL = 0.95
CHAINS, STEPS, DROPPED = 500, 60, 30
"""Independent chains of the sampler, steps of each, and steps at the beginning that are not used."""

SEED = 0


@dataclass(frozen=True)
class Confusion:
    """How often a network takes cells of one class for another.

    Attributes:
        class_names: names of the C classes.
        counts: (C, C) int64, cells by true class (rows) and predicted class (columns), none of them trained on.
    """

    class_names: tuple[str, ...]
    counts: Counts

    @classmethod
    def of_predictions(cls, table: pd.DataFrame, class_names: Sequence[str]) -> "Confusion":
        """Count the confusions in a table of predictions.

        Args:
            table: ``label``, and a column of probabilities per class, as each run files it for its validation set.
            class_names: names of the C classes, in label order.
        """
        number = {name: label for label, name in enumerate(class_names)}
        predicted = table[list(map(column_name, class_names))].to_numpy().argmax(axis=1)
        counts = np.zeros((len(number), len(number)), np.int64)
        np.add.at(counts, (table["label"].map(number).to_numpy(np.int64), predicted), 1)
        return cls(tuple(class_names), counts)


def count_cells(group: Sequence[str], predicted: Sequence[str], class_names: Sequence[str]) -> pd.DataFrame:
    """Count classified cells.

    Args:
        group: slide, patient or other unit of each cell.
        predicted: class of each cell.
        class_names: names of the C classes, in the order of the columns.

    Returns:
        Number of cells of each class (columns) in each group (rows), in the order in which the groups come.

    Raises:
        UserError: a cell has a class that is none of these.
    """
    if unknown := sorted(set(predicted) - set(class_names)):
        raise UserError(f"cells are counted as {', '.join(unknown)}; the classes are {', '.join(class_names)}")
    groups = list(dict.fromkeys(group))
    counts = np.zeros((len(groups), len(class_names)), np.int64)
    rows, columns = {name: row for row, name in enumerate(groups)}, {name: column for column, name in enumerate(class_names)}
    np.add.at(counts, ([rows[name] for name in group], [columns[name] for name in predicted]), 1)
    return pd.DataFrame(counts, index=groups, columns=list(class_names))


def exact_limits(count: npt.ArrayLike, cells: npt.ArrayLike, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Compute the exact binomial limits of a share (Clopper-Pearson).

    Args:
        count: cells of the class, any shape.
        cells: all cells, of the same shape; 0 gives the limits 0 and 1.
        level: of confidence.

    Returns:
        Lower and upper limit, in [0, 1].
    """
    k, n = np.asarray(count, np.float64), np.asarray(cells, np.float64)
    tail = (1 - level) / 2
    with np.errstate(invalid="ignore"):
        low = np.where(k > 0, beta.ppf(tail, k, n - k + 1), 0.0)
        high = np.where(k < n, beta.ppf(1 - tail, k + 1, n - k), 1.0)
    return low, high


def differential(counts: pd.DataFrame, confusion: Confusion | None = None, level: float = LEVEL) -> pd.DataFrame:
    """Compute the differential count of smears.

    Args:
        counts: number of cells by slide (rows) and class (columns), as `count_cells` returns it.
        confusion: the network's confusions on cells that it was not trained on; None leaves the shares uncorrected.
        level: of confidence.

    Returns:
        A row per slide and class: ``slide``, ``class``, ``count``, ``share``, its exact limits ``low`` and ``high``, and
        ``corrected`` with ``corrected_low`` and ``corrected_high``. Shares are in [0, 1]; NaN for a slide without cells, and
        where nothing is known of the confusions.

    Raises:
        UserError: the confusions are those of other classes.
    """
    names = list(map(str, counts.columns))
    if confusion is not None and list(confusion.class_names) != names:
        raise UserError(f"the confusions are of {', '.join(confusion.class_names)}, the counts of {', '.join(names)}")
    numbers = counts.to_numpy(np.int64)
    cells = numbers.sum(axis=1, keepdims=True)
    low, high = exact_limits(numbers, np.broadcast_to(cells, numbers.shape), level)
    corrected = [correct(row, confusion.counts, level) if confusion and row.sum() else unknown(len(names)) for row in numbers]
    with np.errstate(invalid="ignore"):
        share = numbers / cells
    return pd.DataFrame(
        {
            "slide": np.repeat(counts.index.astype(str), len(names)),
            "class": names * len(counts),
            "count": numbers.ravel(),
            "share": share.ravel(),
            "low": low.ravel(),
            "high": high.ravel(),
            **{
                column: np.concatenate([found[place] for found in corrected]) if corrected else np.empty(0)
                for place, column in enumerate(("corrected", "corrected_low", "corrected_high"))
            },
        }
    )


def unknown(classes: int) -> tuple[Floats, Floats, Floats]:
    """Return shares of which nothing is known."""
    nothing = np.full(classes, np.nan)
    return nothing, nothing, nothing


def correct(counts: Counts, confusion: Counts, level: float = LEVEL) -> tuple[Floats, Floats, Floats]:
    """Correct the counts of one smear for the confusions.

    Args:
        counts: (C,) cells by predicted class, at least one.
        confusion: (C, C) validation cells, rows true, columns predicted.
        level: of credibility.

    Returns:
        (C,) posterior mean of each share, and its lower and upper limit.
    """
    shares = sample_shares(counts, confusion, np.random.default_rng(SEED))
    tail = (1 - level) / 2
    low, high = np.quantile(shares, [tail, 1 - tail], axis=0)
    return shares.mean(axis=0), low, high


def sample_shares(counts: Counts, confusion: Counts, random: np.random.Generator) -> Floats:
    """Draw from the posterior of the true shares, by Gibbs sampling; the true classes of the counted cells are latent.

    Args:
        counts: (C,) cells by predicted class.
        confusion: (C, C) validation cells, rows true, columns predicted.
        random: source of random numbers.

    Returns:
        (CHAINS * (STEPS - DROPPED), C) shares, rows sum to 1.
    """
    classes = len(counts)
    known = confusion + 1 / classes
    matrix = dirichlet(np.broadcast_to(known, (CHAINS, classes, classes)), random)
    share = dirichlet(np.broadcast_to(counts + 0.5, (CHAINS, classes)), random)
    kept = np.empty((STEPS - DROPPED, CHAINS, classes))
    for step in range(STEPS):
        joint = share[:, :, None] * matrix  # (chain, true, predicted)
        weights = (joint / joint.sum(axis=1, keepdims=True)).transpose(0, 2, 1)
        true = random.multinomial(np.broadcast_to(counts, (CHAINS, classes)), weights).transpose(0, 2, 1)
        share = dirichlet(true.sum(axis=2) + 0.5, random)
        matrix = dirichlet(known + true, random)
        if step >= DROPPED:
            kept[step - DROPPED] = share
    return kept.reshape(-1, classes)


def dirichlet(parameters: npt.NDArray[np.floating], random: np.random.Generator) -> Floats:
    """Draw from Dirichlet distributions with parameters (..., C): (..., C), last axis sums to 1."""
    drawn = np.maximum(random.standard_gamma(parameters), np.finfo(np.float64).tiny)
    return np.asarray(drawn / drawn.sum(axis=-1, keepdims=True), np.float64)
