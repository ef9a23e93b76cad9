"""The cells to classify: files, folders, tables and lists, read one by one, so that a million of them need no memory."""

import csv
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TextIO

import pyarrow as pa
import pyarrow.parquet

from bcc_lightning.datasets.folder_files import is_image_name, join, keep_own, keep_own_images
from bcc_lightning.datasets.left_out import LeftOut, is_system_file
from bcc_lightning.datasets.spelling import spelling_key
from bcc_lightning.errors import UserError
from bcc_lightning.prediction.choices import STDIN, refuse_missing_input

TABLES = {".csv", ".parquet"}
FOLDERS_ARE = ("slide", "patient")
"""What the folders directly below an input stand for, if cells are counted by one of these."""


class Cell(NamedTuple):
    """A cell to classify.

    Attributes:
        path: the file, as the input names it; relative to the working directory, or absolute.
        group: the slide, patient or other unit that it belongs to; empty if cells are not counted by one.
    """

    path: str
    group: str = ""


@dataclass(frozen=True)
class CellInputs:
    """The cells that a call names.

    Iterating reads them anew, always in the same order: inputs as given, tables and lists row by row, folders sorted.

    Attributes:
        inputs: image files, folders (searched through), tables with a column ``path``, or ``-`` for a list on standard input.
        by: what cells are counted by: ``slide`` or ``patient`` (a column of a table, or the folders below an input), or any
            other column of a table; None if they are not counted.
        left_out: what folders hold beside images; filled while reading.

    Raises:
        UserError: an input does not exist or is not one of these, or has no such column.
    """

    inputs: tuple[str, ...]
    by: str | None
    left_out: LeftOut

    @classmethod
    def of(cls, inputs: Iterable[str | Path], by: str | None = None) -> "CellInputs":
        """Check what can be checked before anything is read; raises as iterating does."""
        found = cls(tuple(map(str, inputs)), by, LeftOut())
        if not found.inputs:
            raise UserError("name what to classify: image files, folders, a table with a column path, or - for standard input")
        for given in found.inputs:
            found.refuse(given)
        return found

    def refuse(self, given: str) -> None:
        """Refuse an input that is none."""
        if given == STDIN:
            if self.inputs.count(STDIN) > 1:
                raise UserError("- is named twice; standard input can be read once")
            if self.by:
                raise UserError(f"a list on standard input has no column {self.by}; name a table instead of -")
            return
        refuse_missing_input(given)
        if is_table(given):
            next(table_rows(given, self.by), None)
        elif not os.path.isdir(given) and self.by and self.by not in FOLDERS_ARE:
            raise UserError(f"--by {self.by}: {given} has no columns; name a table with the columns path and {self.by}")
        elif os.path.isdir(given) and self.by and self.by not in FOLDERS_ARE:
            raise UserError(
                f"--by {self.by}: {given} is a folder, whose folders can be slides or patients; write --by slide, or name a "
                f"table with the columns path and {self.by}"
            )

    def __iter__(self) -> Iterator[Cell]:
        """Iterate over the cells."""
        for given in self.inputs:
            if given == STDIN:
                yield from (Cell(line) for line in lines(sys.stdin))
            elif is_table(given):
                yield from table_rows(given, self.by)
            elif os.path.isdir(given):
                yield from self.folder_cells(given)
            else:
                yield Cell(given, Path(given).absolute().parent.name if self.by else "")

    def folder_cells(self, folder: str) -> Iterator[Cell]:
        """Iterate over the images of a folder; those directly in it belong to a slide of its own name."""
        own = Path(folder).absolute().name
        for path in images_below(folder, "", self.left_out):
            first, _, rest = path.partition("/")
            yield Cell(os.path.join(folder, path), (first if rest else own) if self.by else "")


def is_table(given: str) -> bool:
    """Check whether an input is a table."""
    return Path(given).suffix.lower() in TABLES and not os.path.isdir(given)


def lines(stream: TextIO) -> Iterator[str]:
    """Iterate over the lines of a list that are not empty."""
    yield from (line.rstrip("\r\n") for line in stream if line.strip())


def images_below(root: str, folder: str, left_out: LeftOut) -> Iterator[str]:
    """Iterate over the images below a folder, sorted; links to folders are not followed, and nothing is checked by name.

    Args:
        root: where paths begin.
        folder: relative to it.
        left_out: counts what is not an image.

    Raises:
        UserError: the folder cannot be read.
    """
    images: list[str] = []
    folders: list[str] = []
    try:
        with os.scandir(os.path.join(root, folder)) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif is_image_name(entry.name):
                    images.append(entry.name)
                elif is_system_file(entry.name):
                    left_out.add("hidden", join(folder, entry.name))
                else:
                    left_out.add_file(join(folder, entry.name))
    except OSError as error:
        raise UserError(f"{os.path.join(root, folder)} cannot be read ({error.strerror}); name a folder that can") from error
    folders = keep_own(Path(root), folder, folders, left_out)
    inside = set(folders)
    for name in sorted([*keep_own_images(Path(root), folder, images, left_out), *folders]):
        if name in inside:
            yield from images_below(root, join(folder, name), left_out)
        else:
            yield join(folder, name)


def table_rows(file: str, by: str | None) -> Iterator[Cell]:
    """Iterate over the rows of a table; paths are relative to its folder.

    Args:
        file: ``.csv`` or ``.parquet``, with a column ``path``.
        by: column of the slide, patient or other unit; None for none.

    Raises:
        UserError: the table cannot be read, or lacks a column.
    """
    folder = os.path.dirname(file)
    try:
        rows = parquet_rows(file, by) if file.lower().endswith(".parquet") else csv_rows(file, by)
        for path, group in rows:
            yield Cell(os.path.join(folder, path), group)
    except (pa.ArrowException, OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file} cannot be read as a table: {error!s:.200}; it needs a column path") from error


def csv_rows(file: str, by: str | None) -> Iterator[tuple[str, str]]:
    """Iterate over path and group of the rows of a CSV file."""
    with open(file, encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream)
        path, group = columns(file, next(reader, []), by)
        for number, row in enumerate(reader, start=2):
            if not row:
                continue
            if len(row) <= max(path, group or 0) or not row[path].strip():
                raise UserError(
                    f"{file}, line {number}, has no path{f' or no {by}' if by else ''}; fill it in or remove the line"
                )
            yield row[path], "" if group is None else row[group].strip()


def parquet_rows(file: str, by: str | None) -> Iterator[tuple[str, str]]:
    """Iterate over path and group of the rows of a Parquet file."""
    with pyarrow.parquet.ParquetFile(file) as table:
        heads = table.schema_arrow.names
        path, group = columns(file, heads, by)
        wanted = [heads[path]] + ([] if group is None else [heads[group]])
        for batch in table.iter_batches(columns=wanted):
            paths = batch.column(batch.schema.get_field_index(heads[path])).to_pylist()
            groups = (
                batch.column(batch.schema.get_field_index(heads[group])).to_pylist() if group is not None else [""] * len(paths)
            )
            yield from zip(map(str, paths), map(str, groups), strict=True)


def columns(file: str, heads: list[str], by: str | None) -> tuple[int, int | None]:
    """Find the columns of path and group; case, blanks and ``_`` in their names do not matter.

    Raises:
        UserError: the table lacks one.
    """
    keys = list(map(spelling_key, heads))
    for name in ("path", *([by] if by else [])):
        if spelling_key(name) not in keys:
            raise UserError(f"{file} has no column {name}; its columns are {', '.join(heads) or 'none'}")
    return keys.index("path"), keys.index(spelling_key(by)) if by else None
