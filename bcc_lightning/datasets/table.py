"""Image files listed in a CSV or Parquet table."""

import csv
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from bcc_lightning.argument_types import check_pixel_size
from bcc_lightning.datasets.cells import Names
from bcc_lightning.datasets.classes import find_classes
from bcc_lightning.datasets.listing import NO_SPLIT, SPLITS, CellListing, split_codes
from bcc_lightning.datasets.places import NEEDED, refuse_missing_table
from bcc_lightning.datasets.spelling import merge_spellings, merged_notices, shown, spelling_key
from bcc_lightning.datasets.table_paths import TablePaths
from bcc_lightning.errors import UserError


def list_table(file: Path, classes: tuple[str, ...] | None = None) -> CellListing:
    """List the image files that a table names.

    Args:
        file: ``.csv`` or ``.parquet``.
        classes: class names in label order; by default those of the table in alphabetical order.

    Raises:
        UserError: the table cannot be read, lacks a column or a value, or names a file twice, one outside its folder or one that
            does not exist.
    """
    table, notices = read_table(file)
    files = TablePaths(file, Names(as_text(table["path"]).combine_chunks()))
    names, labels, merged_labels = read_labels(file, table["label"], classes)
    has = set(table.column_names)
    splits, merged_splits = read_splits(file, table["split"]) if "split" in has else (np.full(len(table), NO_SPLIT, np.int8), ())
    groups, group_names, merged_groups = read_groups(file, table["group"]) if "group" in has else (None, (), ())
    laboratories, laboratory_names, merged_laboratories = (
        read_groups(file, table["laboratory"], "laboratories") if "laboratory" in has else (None, (), ())
    )
    return CellListing(
        file.parent,
        files.real,
        names,
        labels,
        splits,
        groups,
        read_weights(file, table["weight"]) if "weight" in has else None,
        group_names,
        (*merged_labels, *merged_groups, *merged_splits, *merged_laboratories, *files.notices(), *notices),
        laboratories,
        laboratory_names,
        read_pixel_sizes(file, table["pixel_size"]) if "pixel_size" in has else None,
    )


TEXTS = ("path", "label", "split", "group", "laboratory")
COLUMNS = (*TEXTS, "weight", "pixel_size")
NEAR = 0.75
"""Similarity from which on a column that is not read is taken for a misspelt one, see `difflib`."""

EMPTY = {"", "nan"}
"""Values that count as empty."""


def read_table(file: Path) -> tuple[pa.Table, list[str]]:
    """Read the columns of a table, all but numbers as text; their names may be spelled in any way.

    Returns:
        The columns, named as in `COLUMNS`, and a sentence that names those that are not read.
    """
    refuse_missing_table(file)
    try:
        if file.suffix.lower() == ".parquet":
            table = pa.parquet.read_table(file)
        else:
            with file.open(encoding="utf-8-sig", newline="") as stream:
                heads = next(csv.reader(stream), [])
            texts = {head: pa.string() for head in heads if column_key(head) in TEXTS}
            options = pa.csv.ConvertOptions(column_types=texts, strings_can_be_null=True, null_values=[""])
            table = pa.csv.read_csv(file, convert_options=options)
    except (pa.ArrowException, OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file} cannot be read as a table: {error!s:.200}. {NEEDED}") from error
    if not len(table):
        raise UserError(f"{file} has no rows; {NEEDED}")
    return named_columns(file, table)


def named_columns(file: Path, table: pa.Table) -> tuple[pa.Table, list[str]]:
    """Select and name the columns that are read; arguments and result as in `read_table`."""
    places: dict[str, list[str]] = {}
    for head in table.column_names:
        places.setdefault(column_key(head), []).append(head)
    heads = {name: places[name] for name in COLUMNS if name in places}
    for same in heads.values():
        if len(same) > 1:
            raise UserError(f"{file} has the columns {' and '.join(map(repr, same))}, which mean the same; keep one")
    if missing := [name for name in ("path", "label") if name not in heads]:
        raise UserError(f"{file} lacks the column {', '.join(missing)}; it has {', '.join(table.column_names)}. {NEEDED}")
    read = [same for (same,) in heads.values()]
    others = [shown(head) for head in table.column_names if head not in read]
    absent = [name for name in COLUMNS if name not in heads]
    near = [(head, found[0]) for head in others if (found := get_close_matches(column_key(head), absent, 1, NEAR))]
    hint = "".join(f"; call {head} {name} if it is meant" for head, name in near)
    hint += "" if "group" in heads else "; to keep each patient or slide in one set, call its column group"
    notices = [f"Columns of {file.name} that are not read: {', '.join(others)}{hint}."] if others else []
    chosen = table.select(read).rename_columns(list(heads))
    for name in heads:
        if empty := empty_rows(chosen[name]):
            raise UserError(f"{file}, column {name}: {empty} rows are empty; fill them in or drop the column")
    return chosen, notices


def column_key(head: str) -> str:
    """Return the key by which names of columns are compared: as `spelling_key`, with ``_`` for a blank or a dash."""
    return spelling_key(head).replace(" ", "_").replace("-", "_")


def empty_rows(column: pa.ChunkedArray) -> int:
    """Count the rows without a value."""
    if pa.types.is_floating(column.type):
        return int(column.null_count + pc.sum(pc.is_nan(column)).as_py())
    bare = pc.utf8_lower(pc.utf8_trim_whitespace(as_text(column)))  # Parquet has several types of text
    return int(column.null_count + pc.sum(pc.is_in(bare, value_set=pa.array(sorted(EMPTY)))).as_py())


class Values(NamedTuple):
    """A column of text.

    Attributes:
        counts: each value and its number of rows, in the order of first appearance.
        rows: (N,) int64, index into the values.
    """

    counts: dict[str, int]
    rows: npt.NDArray[np.int64]


def values_of(column: pa.ChunkedArray) -> Values:
    """Number the values of a column of any type, read as text."""
    encoded = as_text(column).combine_chunks().dictionary_encode()
    rows = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return Values(dict(zip(encoded.dictionary.to_pylist(), np.bincount(rows).tolist(), strict=True)), rows)


def read_labels(
    file: Path, column: pa.ChunkedArray, classes: tuple[str, ...] | None
) -> tuple[tuple[str, ...], npt.NDArray[np.int64], tuple[str, ...]]:
    """Read labels: names in any spelling or, if classes are given, whole numbers as text or number.

    Returns:
        Class names, (N,) int64 labels, and notices.
    """
    counts, rows = values_of(column)
    found = find_classes(counts, classes, str(file))
    labels = found.labels
    if classes and None in labels.values() and all((spelling_key(text)).isdigit() for text in counts):
        labels = {text: label if (label := int(spelling_key(text))) < len(classes) else None for text in counts}
    if strange := sorted(text for text, label in labels.items() if label is None):
        raise UserError(
            f"{file} holds the label '{shown(strange[0])}'; allowed are {', '.join(found.names)}, or 0 to {len(found.names) - 1}"
        )
    return found.names, np.array(list(labels.values()), np.int64)[rows], found.notices


def read_groups(
    file: Path, column: pa.ChunkedArray, what: str = "groups"
) -> tuple[npt.NDArray[np.int64], tuple[str, ...], tuple[str, ...]]:
    """Read groups or laboratories, in any spelling.

    Returns:
        (N,) int64 numbers of groups, names of the groups, and notices.
    """
    counts, rows = values_of(column)
    names = merge_spellings(counts)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names.values()))}
    groups = np.array([numbers[name] for name in names.values()], np.int64)
    return groups[rows], tuple(numbers), tuple(merged_notices(counts, names, what))


def read_splits(file: Path, column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int8], tuple[str, ...]]:
    """Read names of sets, in any spelling: (N,) int8 codes, and notices."""
    counts, rows = values_of(column)
    codes = split_codes(list(counts), f"{file} holds the split")
    names = {spelling: SPLITS[code] for spelling, code in zip(counts, codes, strict=True)}
    return np.array(codes, np.int8)[rows], tuple(merged_notices(counts, names, "sets"))


def read_weights(file: Path, column: pa.ChunkedArray) -> npt.NDArray[np.float32]:
    """Read weights, numbers above 0: (N,) float32."""
    try:
        weights = column.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid as error:
        raise UserError(f"{file}, column weight: {error}; weights are numbers above 0") from error
    if not (np.isfinite(weights) & (weights > 0)).all():
        raise UserError(f"{file}, column weight holds {weights[~(weights > 0)][:1]}; weights are numbers above 0")
    return np.asarray(weights, np.float32)


def read_pixel_sizes(file: Path, column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Read sizes of pixels in micrometres: (N,) float64."""
    try:
        sizes = column.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid as error:
        raise UserError(f"{file}, column pixel_size: {error}; sizes are numbers, in micrometres") from error
    for row, size in enumerate(sizes.tolist(), start=1):
        check_pixel_size(size, f"{file}, column pixel_size, row {row}")
    return np.asarray(sizes, np.float64)


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Read a column of any type as text."""
    return column.cast(pa.string())
