"""The cells that a table names, one by one."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet

from bcc_lightning.argument_types import check_pixel_size
from bcc_lightning.datasets.external import TABLES
from bcc_lightning.datasets.table import column_key
from bcc_lightning.errors import UserError

PIXEL_SIZE = "pixel_size"


class Cell(NamedTuple):
    """A cell to classify.

    Attributes:
        path: the file, as the input names it; relative to the working directory, or absolute.
        group: the slide, patient or other unit that it belongs to; empty if cells are not counted by one.
        pixel_size: micrometres that a pixel covers, where a table tells it.
    """

    path: str
    group: str = ""
    pixel_size: float | None = None


class Columns(NamedTuple):
    """Places of the columns of a table that are read; None for one that it lacks, or that was not asked for."""

    path: int
    group: int | None
    pixel_size: int | None


def is_table(given: str) -> bool:
    """Check whether an input is a table."""
    return Path(given).suffix.lower() in TABLES and not os.path.isdir(given)


def has_pixel_sizes(file: str) -> bool:
    """Check whether a table tells the size of the pixels."""
    return PIXEL_SIZE in map(column_key, heads_of(file))


def heads_of(file: str) -> list[str]:
    """Read the names of the columns of a table.

    Raises:
        UserError: it cannot be read.
    """
    try:
        if file.lower().endswith(".parquet"):
            return list(pyarrow.parquet.read_schema(file).names)
        with open(file, encoding="utf-8-sig", newline="") as stream:
            return next(csv.reader(stream), [])
    except (pa.ArrowException, OSError, UnicodeDecodeError, csv.Error) as error:
        raise unreadable(file, error) from error


def unreadable(file: str, error: Exception) -> UserError:
    """Describe a table that cannot be read."""
    return UserError(f"{file} cannot be read as a table: {error!s:.200}; it needs a column path")


def table_rows(file: str, by: str | None, with_sizes: bool = False) -> Iterator[Cell]:
    """Iterate over the rows of a table; paths are relative to its folder.

    Args:
        file: ``.csv`` or ``.parquet``, with a column ``path``.
        by: column of the slide, patient or other unit; None for none.
        with_sizes: whether a column ``pixel_size`` is read.

    Raises:
        UserError: the table cannot be read, or lacks a column, or a size is none.
    """
    folder = os.path.dirname(file)
    try:
        places = columns(file, heads_of(file), by)
        places = places if with_sizes else places._replace(pixel_size=None)
        rows = parquet_rows(file, places) if file.lower().endswith(".parquet") else csv_rows(file, places)
        for path, group, size in rows:
            yield Cell(os.path.join(folder, path), group, size)
    except (pa.ArrowException, OSError, UnicodeDecodeError, csv.Error) as error:
        raise unreadable(file, error) from error


def csv_rows(file: str, places: Columns) -> Iterator[tuple[str, str, float | None]]:
    """Iterate over path, group and size of the pixels of the rows of a CSV file."""
    with open(file, encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream)
        path, group, size = places
        next(reader, None)
        for number, row in enumerate(reader, start=2):
            if not row:
                continue
            if len(row) <= max(path, group or 0, size or 0):
                raise UserError(f"{file}, line {number}, has fewer columns than the first line; complete it or remove it")
            if not row[path].strip():
                raise UserError(f"{file}, line {number}, has no path; fill it in or remove the line")
            known = None if size is None else pixel_size_of(row[size], f"{file}, line {number}, column pixel_size")
            yield row[path], "" if group is None else row[group].strip(), known


def parquet_rows(file: str, places: Columns) -> Iterator[tuple[str, str, float | None]]:
    """Iterate over path, group and size of the pixels of the rows of a Parquet file."""
    with pyarrow.parquet.ParquetFile(file) as table:
        heads, number = table.schema_arrow.names, 0
        for batch in table.iter_batches(columns=[heads[place] for place in places if place is not None]):
            paths, groups, sizes = (
                [None] * len(batch) if place is None else batch.column(batch.schema.get_field_index(heads[place])).to_pylist()
                for place in places
            )
            for path, group, size in zip(paths, groups, sizes, strict=True):
                number += 1
                where = f"{file}, row {number}, column pixel_size"
                known = None if places.pixel_size is None else pixel_size_of(size, where)
                yield str(path), "" if places.group is None else str(group), known


def pixel_size_of(value: object, where: str) -> float:
    """Read the size of a pixel in micrometres.

    Raises:
        UserError: it is none.
    """
    try:
        size = float(str(value))
    except ValueError:
        comma = ", with a decimal point" if "," in str(value) else ""
        raise UserError(f"{where} is {value!r}; it must be the micrometres that a pixel covers{comma}") from None
    return check_pixel_size(size, where)


def columns(file: str, heads: list[str], by: str | None) -> Columns:
    """Find the columns; case, blanks and ``_`` in their names do not matter.

    Raises:
        UserError: the table lacks one.
    """
    keys = list(map(column_key, heads))
    for name in ("path", *([by] if by else [])):
        if column_key(name) not in keys:
            raise UserError(f"{file} has no column {name}; its columns are {', '.join(heads) or 'none'}")
    size = keys.index(PIXEL_SIZE) if PIXEL_SIZE in keys else None
    return Columns(keys.index("path"), keys.index(column_key(by)) if by else None, size)
