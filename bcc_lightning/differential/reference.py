"""An examiner's counts, read from a table."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from bcc_lightning.errors import UserError

LAYOUTS = (
    "Three layouts are read: slide and one column of counts per class; slide, class and count; or path and label of single "
    "cells. A column observer tells two examiners apart"
)
TWO = 2


class Reference(NamedTuple):
    """What examiners found.

    Attributes:
        counts: cells by slide (rows) and class (columns); of two examiners, both together.
        observers: the same of each examiner, by name; empty if there is only one.
        labels: class of single cells by path; None where only counts are known.
    """

    counts: pd.DataFrame
    observers: dict[str, pd.DataFrame]
    labels: pd.Series | None


def read_reference(file: Path, class_names: list[str], slides: pd.Series | None = None) -> Reference:
    """Read an examiner's counts.

    Args:
        file: CSV, see `LAYOUTS`.
        class_names: classes of the network; each column or class of the table is one of them.
        slides: slide of each classified cell by path, for a table of single cells.

    Raises:
        UserError: the table cannot be read, has another layout, other classes, or numbers that are no counts.
    """
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(f"--reference {file} cannot be read ({error!s:.200}). {LAYOUTS}") from error
    table.columns = [str(column).strip() for column in table.columns]
    has = set(table.columns)
    if {"path", "label"} <= has and slides is not None:
        return of_cells(file, table, class_names, slides)
    if "slide" not in has:
        raise UserError(f"--reference {file} has no column slide; its columns are {', '.join(table.columns)}. {LAYOUTS}")
    if {"class", "count"} <= has:
        refuse_classes(file, sorted(set(table["class"])), class_names)
        table["count"] = numbers(file, table["count"])
        keys = [key for key in ("observer", "slide") if key in has]
        wide = table.pivot_table(index=keys, columns="class", values="count", aggfunc="sum", fill_value=0, sort=False)
        table = wide.reset_index()
    else:
        classes = [column for column in table.columns if column not in {"slide", "observer"}]
        refuse_classes(file, classes, class_names)
        for name in classes:
            table[name] = numbers(file, table[name])
    table = table.reindex(columns=[*[key for key in ("observer", "slide") if key in table], *class_names], fill_value=0)
    return by_observer(file, table, class_names)


def by_observer(file: Path, table: pd.DataFrame, class_names: list[str]) -> Reference:
    """Separate the counts of two examiners, and add them up."""
    columns = ["slide", *class_names]
    if "observer" not in table:
        if table["slide"].duplicated().any():
            twice = table["slide"][table["slide"].duplicated()].iloc[0]
            raise UserError(f"--reference {file} has the slide {twice} twice; keep one row a slide, or add a column observer")
        return Reference(table[columns].set_index("slide").astype(np.int64), {}, None)
    observers = {
        str(name): rows[columns].groupby("slide", sort=False).sum().astype(np.int64) for name, rows in table.groupby("observer")
    }
    if len(observers) > TWO:
        raise UserError(f"--reference {file} has {len(observers)} observers, {', '.join(observers)}; the limits are between two")
    together = table[columns].groupby("slide", sort=False).sum().astype(np.int64)
    return Reference(together, observers if len(observers) == TWO else {}, None)


def of_cells(file: Path, table: pd.DataFrame, class_names: list[str], slides: pd.Series) -> Reference:
    """Count the labels of single cells by the slides of the classified ones."""
    refuse_classes(file, sorted(set(table["label"])), class_names)
    labels = table.set_index("path")["label"]
    known = labels[labels.index.isin(slides.index)]
    if not len(known):
        raise UserError(
            f"--reference {file} names none of the classified cells, e.g. {labels.index[0] if len(labels) else 'no row'}; its "
            f"paths must be those of the predictions, e.g. {slides.index[0]}"
        )
    counts = pd.crosstab(slides.loc[known.index], known).reindex(columns=class_names, fill_value=0)
    return Reference(counts.astype(np.int64), {}, known)


def refuse_classes(file: Path, found: list[str], class_names: list[str]) -> None:
    """Refuse classes that the network does not know."""
    if unknown := [name for name in found if name not in class_names]:
        raise UserError(
            f"--reference {file} has the classes {', '.join(unknown)}, which the network does not know; it knows "
            f"{', '.join(class_names)}. Rename them, or leave them out"
        )


def numbers(file: Path, column: pd.Series) -> pd.Series:
    """Read counts; an empty field is 0."""
    values = pd.to_numeric(column.str.strip().replace("", "0"), errors="coerce")
    bad = values.isna() | (values < 0) | (values % 1 != 0)
    if bad.any():
        raise UserError(
            f"--reference {file}: {column[bad].iloc[0]!r} is no count; write whole numbers of cells from 0, not percent"
        )
    return values.astype(np.int64)
