"""Counts of cells by slide and class, and the differential that they give: shares with their limits, plain and corrected."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from bcc_lightning.differential.correction import corrected_limits, most_likely_shares
from bcc_lightning.errors import UserError
from bcc_lightning.safe_names import column_name

COLUMNS = ("slide", "class", "count", "share", "low", "high", "corrected", "corrected_low", "corrected_high")
"""Columns of a differential."""


@dataclass(frozen=True)
class Confusion:
    """The known confusions of a network.

    Attributes:
        class_names: names of the C classes.
        counts: (C, C) cells of the validation set; rows are true classes, columns predicted ones.
    """

    class_names: tuple[str, ...]
    counts: npt.NDArray[np.int64]

    @classmethod
    def of_predictions(cls, table: pd.DataFrame, class_names: Sequence[str]) -> "Confusion":
        """Count the confusions in filed predictions.

        Args:
            table: ``label`` and a column of probabilities per class, as a run files them for its validation set.
            class_names: names of the C classes.

        Raises:
            UserError: a class has no column, or a label is not among the classes.
        """
        columns = [column_name(name) for name in class_names]
        if missing := [column for column in ("label", *columns) if column not in table]:
            raise UserError(
                f"the predictions have no column '{missing[0]}', only {', '.join(map(str, table))}; use predictions of a network "
                f"that was trained on {', '.join(class_names)}"
            )
        numbers = {name: number for number, name in enumerate(class_names)}
        if unknown := sorted(set(table["label"].astype(str)) - set(numbers)):
            raise UserError(f"the predictions have cells of '{unknown[0]}', which is not one of {', '.join(class_names)}")
        counts = np.zeros((len(columns), len(columns)), np.int64)
        labels = table["label"].astype(str).map(numbers).to_numpy(np.int64)
        np.add.at(counts, (labels, table[columns].to_numpy().argmax(axis=1)), 1)
        return cls(tuple(class_names), counts)


def count_cells(slide: Sequence[str], predicted: Sequence[str], class_names: Sequence[str]) -> pd.DataFrame:
    """Count the cells of each slide and class.

    Args:
        slide: (N,) slide of each cell.
        predicted: (N,) class that was predicted for it.
        class_names: names of the C classes.

    Returns:
        (S, C) counts; slides are the index, in the order of their first cells, and classes the columns.

    Raises:
        UserError: a predicted class is not one of the classes.
    """
    if unknown := sorted(set(predicted) - set(class_names)):
        raise UserError(f"a cell is predicted as '{unknown[0]}', which is not one of {', '.join(class_names)}")
    slides = list(dict.fromkeys(slide))
    counts = np.zeros((len(slides), len(class_names)), np.int64)
    rows = pd.Index(slides).get_indexer(pd.Index(slide))
    np.add.at(counts, (rows, pd.Index(class_names).get_indexer(pd.Index(predicted))), 1)
    return pd.DataFrame(counts, index=pd.Index(slides, name="slide"), columns=list(class_names))


def differential(
    counts: pd.DataFrame, confusion: Confusion | None, level: float = 0.95, of: Sequence[str] | None = None
) -> pd.DataFrame:
    """Compute the differential of each slide.

    The plain limits are the exact binomial ones (Clopper and Pearson), which Rümke (Blood Cells 11 (1985) 33) tabulated for
    differential counts. They carry only that a limited number of cells was counted, as if every cell were classified
    correctly. The corrected share also allows for the network's known confusions, and its limits carry both; see `correction`.

    Args:
        counts: index slides, a column of counts per class, as from `count_cells`.
        confusion: confusions of the network on its validation set; None leaves the corrected columns empty.
        level: probability with which the limits shall hold.
        of: classes that make up the 100 %, e.g. the leukocytes, where a network knows other cells too; all by default. Others
            are left out of the result, but cells that are confused with them are still corrected for.

    Returns:
        A row per slide and class with the columns `COLUMNS`; shares and limits in [0, 1]. Shares of a slide without cells are
        NaN, and their limits 0 and 1. The corrected columns are NaN without ``confusion``, and for a class without validation
        cells, about whose confusions nothing is known.

    Raises:
        UserError: counts that are not whole numbers from 0, a slide twice, or classes other than those of the confusions.
    """
    classes, cells = list(counts.columns), whole_numbers(counts)
    chosen = np.isin(classes, classes if of is None else list(of))
    if of is not None and (unknown := sorted(set(of) - set(classes))):
        raise UserError(f"the differential cannot contain the class '{unknown[0]}'; the counts have {', '.join(classes)}")
    total = cells[:, chosen].sum(axis=1, keepdims=True)
    empty = np.broadcast_to(total == 0, cells.shape)
    some = np.maximum(total, 1)
    low, high = proportion_confint(np.minimum(cells, some), np.broadcast_to(some, cells.shape), 1 - level, method="beta")
    plain = [np.where(empty, np.nan, cells / some), np.where(empty, 0, low), np.where(empty, 1, high)]
    values = np.stack([*plain, *corrected(cells, classes, confusion, chosen, level)], axis=-1)[:, chosen]
    table = pd.DataFrame(values.reshape(-1, values.shape[-1]), columns=list(COLUMNS[3:]))
    table.insert(0, "count", cells[:, chosen].ravel())
    table.insert(0, "class", np.tile(np.array(classes, dtype=object)[chosen], len(cells)))
    table.insert(0, "slide", np.repeat(counts.index.to_numpy(dtype=object), chosen.sum()))
    return table


def corrected(
    cells: npt.NDArray[np.int64], classes: list[str], confusion: Confusion | None, chosen: npt.NDArray[np.bool_], level: float
) -> list[npt.NDArray[np.float64]]:
    """Return the corrected shares, their lower and their upper limits, (S, C) each; arguments as in `differential`."""
    share, low, high = (np.full(cells.shape, np.nan) for _ in range(3))
    if confusion is None:
        return [share, low, high]
    if sorted(confusion.class_names) != sorted(classes):
        raise UserError(
            f"the counts have the classes {', '.join(classes)}, the confusions {', '.join(confusion.class_names)}; "
            "count all classes of the network, and use its own validation set"
        )
    order = [confusion.class_names.index(name) for name in classes]
    matrix = confusion.counts[np.ix_(order, order)]
    filled = cells[:, chosen].sum(axis=1) > 0
    if filled.any():
        whole = most_likely_shares(cells[filled], matrix)
        share[filled] = whole / np.maximum(whole[:, chosen].sum(axis=1, keepdims=True), np.finfo(float).tiny)
        low[filled], high[filled] = corrected_limits(cells[filled], matrix, chosen, level)
    low[filled], high[filled] = np.fmin(low[filled], share[filled]), np.fmax(high[filled], share[filled])
    low[~filled], high[~filled] = 0, 1
    for values in (share, low, high):
        values[:, matrix.sum(axis=1) == 0] = np.nan
    return [share, low, high]


def whole_numbers(counts: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return counts as (S, C) integers.

    Raises:
        UserError: a count is not a whole number from 0, or a slide or class occurs twice.
    """
    for kind, names in (("slide", counts.index), ("class", counts.columns)):
        if names.has_duplicates:
            raise UserError(f"the {kind} '{names[names.duplicated()][0]}' has counts twice; add them up or rename one")
    values = counts.to_numpy(dtype=np.float64)
    wrong = ~np.isfinite(values) | (values < 0) | (values != np.floor(values))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise UserError(
            f"slide '{counts.index[row]}' has {values[row, column]:g} cells of '{counts.columns[column]}'; "
            "counts are whole numbers from 0, not shares"
        )
    return values.astype(np.int64)
