"""A split as a file: which cell is in which set; ``--data.split_file`` reads it again."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from bcc_lightning.datasets.cells import CellImages
from bcc_lightning.datasets.listing import NO_SPLIT, SPLITS, split_codes
from bcc_lightning.datasets.places import refuse_missing_split
from bcc_lightning.datasets.spelling import SetName, file_key, number_key, quoted, spelling_key
from bcc_lightning.errors import UserError
from bcc_lightning.files import whole_file

COLUMNS = ("id", "split")


def write_split(splits: Mapping[SetName, CellImages], file: Path) -> None:
    """Write which cell is in which set: CSV with the columns ``id`` and ``split``, set by set.

    Args:
        splits: set name to cells.
        file: the file to write.
    """
    with whole_file(file) as draft, draft.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for name, cells in splits.items():
            writer.writerows((cell, name) for cell in cells.ids)


class ReadSplit(NamedTuple):
    """A split that was read.

    Attributes:
        codes: (N,) int8, set of each cell.
        notices: sentences about cells that the file spells differently.
    """

    codes: npt.NDArray[np.int8]
    notices: list[str]


def read_split(file: Path, cells: CellImages, dropped: Sequence[str] = ()) -> ReadSplit:
    """Read a split of a data set.

    Args:
        file: CSV with the columns ``id`` and ``split``; ids may differ from those of the cells in case, blanks, Unicode form and
            kinds of slashes, and pure numbers also in leading zeros.
        cells: the data set.
        dropped: ids of copies that were left out; the file may contain them.

    Returns:
        The split codes of the cells, in their order.

    Raises:
        UserError: the file is missing, lacks a column, names an unknown set, a cell twice or a cell that the data set lacks, or
            does not name all of the data set's cells.
    """
    table = read_columns(file)
    names = table["split"].unique().tolist()
    codes = dict(zip(names, split_codes(names, f"split file {file} holds the split"), strict=True))
    place, notices = find_cells(file, table["id"], cells.ids, dropped)
    table, place = table[place < len(cells)], place[place < len(cells)]
    refuse_rows(file, table["id"][pd.Series(place, table.index).duplicated()], "cells twice", "keep one row for each cell")
    found = np.full(len(cells), NO_SPLIT, np.int8)
    found[place] = table["split"].map(codes)
    missing = pd.Series([cells.ids[i] for i in np.flatnonzero(found == NO_SPLIT)[:1]])
    if len(missing):
        refuse_rows(
            file, missing, "too few cells: some are missing", "a cell without a set would not be used; add it or delete its image"
        )
    for code, name in enumerate(SPLITS):
        if not (found == code).any():
            raise UserError(f"{file} puts no cell into {name}; a run needs training, validation and test cells")
    return ReadSplit(found, notices)


def find_cells(
    file: Path, ids: "pd.Series[str]", own: Sequence[str], dropped: Sequence[str]
) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Find the cells that a split file means: by their exact ids, else by `id_key`.

    Args:
        file: for messages.
        ids: (M,) ids in the file.
        own: ids of the N cells of the data set.
        dropped: ids of the D cells that were left out.

    Returns:
        (M,) int64, the cell of each id, N to N+D-1 for one that was left out; and a sentence about ids that are spelled
        differently.

    Raises:
        UserError: the data set lacks a cell, or an id could mean several of its cells.
    """
    known = pd.Index([*own, *dropped])
    place = np.asarray(known.get_indexer(pd.Index(ids)))
    rows = np.flatnonzero(place < 0)
    if not len(rows):
        return place, []
    keys = pd.Index(list(map(id_key, known)))
    wanted = pd.Index([id_key(ids.iloc[row]) for row in rows])
    several = wanted.isin(keys[keys.duplicated()])
    refuse_rows(file, ids.iloc[rows[several]], "ids that mean several cells", "write each id as the data set spells it")
    place[rows] = keys.drop_duplicates(keep=False).get_indexer(wanted)
    unique = np.flatnonzero(~keys.duplicated(keep=False))
    place[rows] = np.where(place[rows] < 0, -1, unique[place[rows]])
    refuse_rows(file, ids[place < 0], "cells that the data set lacks", "is it the split of another data set?")
    first, meant = ids.iloc[rows[0]], known[place[rows[0]]]
    return place, [
        f"Spelled differently in the data set: {len(rows):,} ids of {file.name}, e.g. {quoted(first)} is read as {quoted(meant)}."
    ]


def id_key(name: str) -> str:
    """Return the key by which ids of cells are compared: parts of the path as file names, whole numbers as numbers."""
    parts = [file_key(part) for part in name.replace("\\", "/").split("/")]
    return "/".join(number_key(part) or part for part in parts if part not in {"", "."})


def read_columns(file: Path) -> pd.DataFrame:
    """Read the two columns as text; their names may be spelled in any way."""
    refuse_missing_split(file)
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, pd.errors.ParserError) as error:
        raise UserError(f"split file {file} is not a CSV file: {error!s:.200}") from error
    heads = {str(head): spelling_key(str(head)) for head in table.columns}
    if missing := [column for column in COLUMNS if column not in heads.values()]:
        raise UserError(f"split file {file} lacks {', '.join(missing)}; it must have the columns id and split")
    if twice := [column for column in COLUMNS if list(heads.values()).count(column) > 1]:
        raise UserError(f"split file {file} has several columns {', '.join(twice)}; keep one of them")
    return table.rename(columns=heads)[list(COLUMNS)]


def refuse_rows(file: Path, rows: "pd.Series[str]", what: str, why: str) -> None:
    """Refuse a split file because of some of its rows; the message names the first."""
    if len(rows):
        raise UserError(f"split file {file} holds {what} ({len(rows)} or more, the first is '{rows.iloc[0]}'); {why}")
