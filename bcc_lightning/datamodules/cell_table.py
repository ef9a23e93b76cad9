"""CellTable: image files listed in a CSV or Parquet table."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from bcc_lightning.argument_types import check_types
from bcc_lightning.datamodules.files import ImageFiles
from bcc_lightning.datamodules.listing import NO_SPLIT, SPLITS, CellListing, refuse_outside, split_code
from bcc_lightning.datamodules.names import Names
from bcc_lightning.errors import UserError


class CellTable(ImageFiles):
    """Image files listed in a table with the columns ``path`` and ``label``, and optionally ``split``, ``group``, ``weight``.

    Paths are relative to the table's folder. Labels are names, or whole numbers where `classes` gives the names. Groups, such
    as patients or slides, never stand on two sides of a split.

    Args:
        table: the file, ``.csv`` or ``.parquet``; by default ``cells.csv`` in `root`.
        classes: class names in label order; by default those of the table in alphabetical order.
        **base: see `ImageFiles` and `CellDataModule`.
    """

    folder = "cell_table"

    def __init__(
        self,
        table: str | None = None,
        classes: list[str] | None = None,
        **base: Any,  # noqa: ANN401 - the base class's own arguments
    ) -> None:
        check_types("data", CellTable, locals())
        super().__init__(**base)
        self.table = Path(table) if table else self.root / "cells.csv"
        self.root = self.table.parent
        self.classes = tuple(classes) if classes else None

    @cached_property
    def class_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the classes."""
        return self.listing.class_names

    def list_files(self) -> CellListing:
        """List the files that the table names."""
        return list_table(self.table, self.classes)


def list_table(file: Path, classes: tuple[str, ...] | None = None) -> CellListing:
    """List the image files that a table names.

    Args:
        file: ``.csv`` or ``.parquet``.
        classes: class names in label order; by default those of the table in alphabetical order.

    Raises:
        UserError: the table cannot be read, lacks a column or a value, or names a file twice, outside its folder or that does
            not exist.
    """
    table = read_table(file)
    if missing := [name for name in ("path", "label") if name not in table.column_names]:
        raise UserError(f"{file} lacks the column {', '.join(missing)}; it has {', '.join(table.column_names)}. {COLUMNS}")
    for name in table.column_names:
        if table[name].null_count:
            raise UserError(f"{file}, column {name}: {table[name].null_count} rows are empty; fill them in or drop the column")
    refuse_twice(file, table["path"])
    names, labels = read_labels(file, table["label"], classes)
    for path in Names(table["path"].combine_chunks()):
        refuse_outside(file.parent, path)
    splits = read_splits(file, table["split"]) if "split" in table.column_names else np.full(len(table), NO_SPLIT, np.int8)
    return CellListing(
        file.parent,
        Names(table["path"].combine_chunks()),
        names,
        labels,
        splits,
        numbered(table["group"]) if "group" in table.column_names else None,
        read_weights(file, table["weight"]) if "weight" in table.column_names else None,
    )


COLUMNS = "Needed are path and label, allowed are split, group and weight; one-hot columns are not read"


def read_table(file: Path) -> pa.Table:
    """Read the columns of a table; all but weights as strings."""
    try:
        if file.suffix == ".parquet":
            table = pa.parquet.read_table(file)
        else:
            texts = {name: pa.string() for name in ("path", "label", "split", "group")}
            options = pa.csv.ConvertOptions(column_types=texts, strings_can_be_null=True, null_values=[""])
            table = pa.csv.read_csv(file, convert_options=options)
    except FileNotFoundError:
        raise UserError(f"{file} does not exist; name a .csv or .parquet file with --data.table FILE. {COLUMNS}") from None
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{file} cannot be read as a table: {error!s:.200}. {COLUMNS}") from error
    if not len(table):
        raise UserError(f"{file} has no rows; {COLUMNS}")
    wanted = [name for name in ("path", "label", "split", "group", "weight") if name in table.column_names]
    return table.select(wanted) if {"path", "label"} <= set(wanted) else table


def refuse_twice(file: Path, paths: pa.ChunkedArray) -> None:
    """Refuse a table that names a file twice."""
    counts = pc.value_counts(paths.combine_chunks())
    twice = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        raise UserError(
            f"{file} names {len(twice)} files more than once, the first is {twice.field('values')[0]}; keep one row for each file"
        )


def read_labels(
    file: Path, column: pa.ChunkedArray, classes: tuple[str, ...] | None
) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Read labels: names, or whole numbers as text or number.

    Returns:
        Class names, and (N,) int64 labels.
    """
    encoded = as_text(column).combine_chunks().dictionary_encode()
    found = [whole_number(text) for text in encoded.dictionary.to_pylist()]
    if classes and all(text.isdigit() for text in found):
        found = [classes[int(text)] if int(text) < len(classes) else text for text in found]
    names = classes or tuple(sorted(set(found)))
    if strange := sorted(set(found) - set(names)):
        raise UserError(f"{file} holds the label '{strange[0]}'; allowed are {', '.join(names)}, or 0 to {len(names) - 1}")
    places = np.array([names.index(name) for name in found])
    return names, places[encoded.indices.to_numpy(zero_copy_only=False)].astype(np.int64)


def whole_number(text: str) -> str:
    """Read ``3.0``, as which spreadsheets save labels, as ``3``; other texts stay."""
    number = text.removesuffix(".0")
    return number if number.isdigit() else text


def read_splits(file: Path, column: pa.ChunkedArray) -> npt.NDArray[np.int8]:
    """Read split names as codes."""
    encoded = as_text(column).combine_chunks().dictionary_encode()
    found = encoded.dictionary.to_pylist()
    codes = np.array([split_code(name) for name in found], np.int8)
    if (codes == NO_SPLIT).any():
        raise UserError(f"{file} holds the split '{found[int(np.argmin(codes))]}'; allowed are {', '.join(SPLITS)}")
    return np.asarray(codes[encoded.indices.to_numpy(zero_copy_only=False)])


def read_weights(file: Path, column: pa.ChunkedArray) -> npt.NDArray[np.float32]:
    """Read weights: numbers above 0."""
    try:
        weights = column.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid as error:
        raise UserError(f"{file}, column weight: {error}; weights are numbers above 0") from error
    if not (np.isfinite(weights) & (weights > 0)).all():
        raise UserError(f"{file}, column weight holds {weights[~(weights > 0)][:1]}; weights are numbers above 0")
    return np.asarray(weights, np.float32)


def numbered(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Number the groups: (N,) int64."""
    indices = as_text(column).combine_chunks().dictionary_encode().indices
    return np.asarray(indices.to_numpy(zero_copy_only=False), np.int64)


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Read a column as text, whatever it holds."""
    return column.cast(pa.string())
