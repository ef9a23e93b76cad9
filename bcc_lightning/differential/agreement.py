"""Agreement of counted slides with the counts of an examiner, by class, and of two labels of the same cells."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from statsmodels.stats.inter_rater import cohens_kappa

from bcc_lightning.differential.method_comparison import (
    bland_altman,
    concordance,
    correlation,
    deming,
    passing_bablok,
)
from bcc_lightning.differential.reference import OBSERVER, OBSERVERS, read_reference
from bcc_lightning.errors import UserError

__all__ = ["agree", "by_slide", "cell_kappa", "paired_shares", "read_reference", "unmatched"]


NAMED = 5
"""Slides that a sentence names."""


def by_slide(differential: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return a column of a differential, e.g. ``corrected``, as a table with slides as index and classes as columns."""
    slides, classes = differential["slide"].unique(), differential["class"].unique()
    return differential.pivot_table(index="slide", columns="class", values=column, sort=False, dropna=False).loc[slides, classes]


def agree(counted: pd.DataFrame, reference: pd.DataFrame, error_ratio: float = 1.0) -> pd.DataFrame:
    """Compare counted slides with an examiner's counts.

    The classes of the reference make up the 100 % on both sides. Counts of two examiners are added up; the limits of agreement
    between them show what can be expected of any method. Slides that only one side has do not enter, nor do classes without
    corrected shares; `unmatched` names them.

    Args:
        counted: index slides, a column per class: counts, or shares such as ``by_slide(table, "corrected")``.
        reference: counts as from `read_reference`.
        error_ratio: variance of the reference's errors divided by that of the counted shares, for Deming's regression.

    Returns:
        A row per class, shares in [0, 1]: ``class``, ``slides``, the mean shares ``counted`` and ``reference``; ``bias`` (counted
        less reference) and the limits of agreement ``lower`` and ``upper``; ``passing_bablok_slope``,
        ``passing_bablok_intercept``, ``deming_slope``, ``deming_intercept``; each of these also with ``_low`` and ``_high``, its
        95 % limits; ``pearson``, ``spearman``, ``lin``; ``observers_slides``, ``observers_bias``, ``observers_lower``,
        ``observers_upper`` (first less second observer). What few or constant shares do not give is NaN.

    Raises:
        UserError: no slide is in both, or the reference has a class that was not counted.
    """
    pairs = paired_shares(counted, reference)
    rows = []
    for name, (own, examiner, first, second) in pairs.items():
        row: dict[str, object] = {"class": name, "slides": len(own), "counted": own.mean(), "reference": examiner.mean()}
        agreement = bland_altman(examiner, own)
        lines = {"passing_bablok": passing_bablok(examiner, own), "deming": deming(examiner, own, error_ratio)}
        estimates = agreement._asdict() | {
            f"{kind}_{part}": value for kind, line in lines.items() for part, value in line._asdict().items()
        }
        for key, estimate in estimates.items():
            row |= {key: estimate.value, f"{key}_low": estimate.low, f"{key}_high": estimate.high}
        row["pearson"] = correlation(stats.pearsonr, examiner, own)
        row["spearman"] = correlation(stats.spearmanr, examiner, own)
        row["lin"] = concordance(examiner, own)
        between = bland_altman(second, first) if len(first) else None
        row["observers_slides"] = len(first)
        row["observers_bias"] = between.bias.value if between else np.nan
        row["observers_lower"] = between.lower.value if between else np.nan
        row["observers_upper"] = between.upper.value if between else np.nan
        rows.append(row)
    return pd.DataFrame(rows)


def paired_shares(counted: pd.DataFrame, reference: pd.DataFrame) -> dict[str, tuple[npt.NDArray[np.float64], ...]]:
    """Pair the shares of the slides that both sides have.

    Args:
        counted: as in `agree`.
        reference: as there.

    Returns:
        Class to four arrays: counted and reference shares of N slides, and those of the first and the second observer of M
        slides; M is 0 with a single observer.

    Raises:
        UserError: as `agree`.
    """
    if missing := [str(name) for name in reference if name not in counted]:
        raise UserError(
            f"the reference has the class '{missing[0]}', which was not counted; counted: {', '.join(map(str, counted))}"
        )
    reference = reference[compared(counted, reference)]
    own = shares(counted[list(reference.columns)])
    pooled = shares(reference.groupby(level="slide", sort=False).sum())
    common = [slide for slide in own.index if slide in pooled.index]
    if not common:
        raise UserError(
            f"no slide is in both tables: the counted ones begin with '{first_of(own)}', those of the reference with "
            f"'{first_of(pooled)}'; give the slides the same names in both"
        )
    observers = single_observers(reference)
    pairs = {}
    for name in reference:
        both = [table.loc[common][name].to_numpy(np.float64) for table in (own, pooled)]
        pairs[str(name)] = (*both, *([each[name].to_numpy(np.float64) for each in observers] or [np.empty(0)] * OBSERVERS))
    return pairs


def compared(counted: pd.DataFrame, reference: pd.DataFrame) -> list[str]:
    """Return the classes of the reference that have counted shares; one without validation cells has no corrected ones."""
    return [str(name) for name in reference if name in counted and counted[name].notna().any()]


def single_observers(reference: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the shares of each of two observers for the slides that both counted; nothing for a single observer."""
    names = list(reference.index.unique(OBSERVER)) if OBSERVER in reference.index.names else []
    if len(names) < OBSERVERS:
        return []
    tables = [shares(reference[reference.index.get_level_values(OBSERVER) == name].droplevel(OBSERVER)) for name in names]
    both = tables[0].index.intersection(tables[1].index)
    return [table.loc[both] for table in tables]


def shares(table: pd.DataFrame) -> pd.DataFrame:
    """Return counts or shares as shares of the columns' sum; slides without cells are left out, and slide 7 is slide "7"."""
    table = table.rename(index=str)
    total = table.sum(axis=1)
    return table[total > 0].div(total[total > 0], axis=0)


def first_of(table: pd.DataFrame) -> str:
    """Return the name of the first slide."""
    return str(table.index[0]) if len(table) else "(none with cells)"


def unmatched(counted: pd.DataFrame, reference: pd.DataFrame) -> list[str]:
    """Describe the slides and classes that `agree` leaves out, in a sentence for each reason; arguments as there."""
    common = compared(counted, reference)
    own, theirs = (
        table[common].rename(index=str).sum(axis=1) for table in (counted, reference.groupby(level="slide", sort=False).sum())
    )
    both = own.index.intersection(theirs.index, sort=False)
    reasons = {
        ("was counted, but is not in the reference,", "were counted, but are not in the reference,"): own.index.difference(
            both, sort=False
        ),
        ("is in the reference, but was not counted,", "are in the reference, but were not counted,"): theirs.index.difference(
            both, sort=False
        ),
        ("has no cells of the compared classes", "have no cells of the compared classes"): both[
            ((own[both] == 0) | (theirs[both] == 0)).to_numpy()
        ],
    }
    found = [
        f"{name} has no shares to compare: its confusions are unknown."
        for name in reference
        if name in counted and name not in common
    ]
    for (one, several), slides in reasons.items():
        if len(slides):
            named = ", ".join(map(str, slides[:NAMED])) + ", ..." * (len(slides) > NAMED)
            what = f"1 slide {one} and is" if len(slides) == 1 else f"{len(slides)} slides {several} and are"
            found.append(f"{what} not compared: {named}.")
    return found


def cell_kappa(examiner: Sequence[str], predicted: Sequence[str], class_names: Sequence[str]) -> pd.DataFrame:
    """Compute Cohen's kappa of two labels of the same cells, for all classes together and for each against the others.

    Args:
        examiner: (N,) labels of an examiner.
        predicted: (N,) labels of the network, or of a second examiner.
        class_names: names of the C classes.

    Returns:
        Rows ``all`` and one per class: ``class``, ``cells`` (those with the class as either label), ``agreement`` (share of equal
        labels), ``kappa``, ``kappa_low``, ``kappa_high`` (95 % limits, Fleiss, Cohen and Everitt 1969). Kappa is NaN where
        all cells have the same label twice.
    """
    first, second = (pd.Index(class_names).get_indexer(pd.Index(labels)) for labels in (examiner, predicted))
    if (first < 0).any() or (second < 0).any():
        unknown = sorted({*examiner, *predicted} - set(class_names))[0]
        raise UserError(f"a cell has the label '{unknown}', which is not one of {', '.join(class_names)}")
    table = np.zeros((len(class_names), len(class_names)))
    np.add.at(table, (first, second), 1)
    rows = [kappa_row("all", table, int(table.sum()))]
    for number, name in enumerate(class_names):
        both, row, column = table[number, number], table[number].sum(), table[:, number].sum()
        against = np.array([[both, row - both], [column - both, table.sum() - row - column + both]])
        rows.append(kappa_row(name, against, int(row + column - both)))
    return pd.DataFrame(rows)


def kappa_row(name: str, table: npt.NDArray[np.float64], cells: int) -> dict[str, object]:
    """Return a row of `cell_kappa` for a square table of labels."""
    total = table.sum()
    known = total > 0 and (np.diag(table) < total).all()
    with np.errstate(invalid="ignore"):  # limits of a class that one of the two never gives are not known
        found = cohens_kappa(table) if known else None
    return {
        "class": name,
        "cells": cells,
        "agreement": float(np.trace(table) / total) if total else np.nan,
        "kappa": float(found.kappa) if found else np.nan,
        "kappa_low": float(found.kappa_low) if found else np.nan,
        "kappa_high": float(found.kappa_upp) if found else np.nan,
    }
