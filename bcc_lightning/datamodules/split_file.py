"""A split as a file: which cell stands where, to be given back with ``--data.split_file``."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from bcc_lightning.datamodules.cell_images import CellImages
from bcc_lightning.datamodules.listing import NO_SPLIT, SPLITS, SplitName, split_code
from bcc_lightning.errors import UserError
from bcc_lightning.whole_file import whole_file

COLUMNS = ("id", "split")


def write_split(splits: Mapping[SplitName, CellImages], file: Path) -> None:
    """Write which cell stands in which split: CSV with the columns ``id`` and ``split``, part by part.

    Args:
        splits: split name to cells.
        file: the file.
    """
    with whole_file(file) as draft, draft.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for name, cells in splits.items():
            writer.writerows((cell, name) for cell in cells.ids)


def read_split(file: Path, cells: CellImages, dropped: Sequence[str] = ()) -> npt.NDArray[np.int8]:
    """Read a split of a data set.

    Args:
        file: CSV with the columns ``id`` and ``split``.
        cells: the data set.
        dropped: ids of copies that were left out; the file may hold them.

    Returns:
        (N,) split codes of the cells, in their order.

    Raises:
        UserError: the file is missing, lacks a column, holds an unknown split, a cell twice, a cell that the data set lacks,
            or not all of the data set's cells.
    """
    table = read_columns(file)
    table = table[~table["id"].isin(set(dropped))]
    codes = table["split"].map(split_code)
    refuse_rows(file, table["split"][codes == NO_SPLIT], "splits that are none", f"allowed are {', '.join(SPLITS)}")
    refuse_rows(file, table["id"][table["id"].duplicated()], "cells twice", "each cell stands in one split")
    place = pd.Index(cells.ids).get_indexer(pd.Index(table["id"]))
    refuse_rows(file, table["id"][place < 0], "cells that the data set lacks", "is it the split of another data set?")
    found = np.full(len(cells), NO_SPLIT, np.int8)
    found[place] = codes
    missing = pd.Series([cells.ids[i] for i in np.flatnonzero(found == NO_SPLIT)[:1]])
    if len(missing):
        refuse_rows(
            file, missing, "not all cells: missing are some", "a cell without a split would be lost; add it or delete its image"
        )
    for code, name in enumerate(SPLITS):
        if not (found == code).any():
            raise UserError(f"{file} puts no cell into {name}; a run needs training, validation and test cells")
    return found


def read_columns(file: Path) -> pd.DataFrame:
    """Read the two columns as strings."""
    if not file.is_file():
        raise UserError(f"split file {file} does not exist; each run files one as split.csv")
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8")
    except (ValueError, pd.errors.ParserError) as error:
        raise UserError(f"split file {file} is no CSV: {error!s:.200}") from error
    if missing := [column for column in COLUMNS if column not in table]:
        raise UserError(f"split file {file} lacks {', '.join(missing)}; it must have the columns id and split")
    return table


def refuse_rows(file: Path, rows: "pd.Series[str]", what: str, why: str) -> None:
    """Refuse a split file for some of its rows, naming the first."""
    if len(rows):
        raise UserError(f"split file {file} holds {what} ({len(rows)} or more, the first is '{rows.iloc[0]}'); {why}")
