"""The cells to classify: files, folders, tables and lists, read one by one, so that a million of them need no memory."""

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from bcc_lightning.datasets.folder_files import is_image_name, join, keep_own, keep_own_images
from bcc_lightning.datasets.left_out import LeftOut, is_system_file
from bcc_lightning.errors import UserError
from bcc_lightning.prediction.choices import STDIN, refuse_missing_input
from bcc_lightning.prediction.tables import Cell, has_pixel_sizes, is_table, table_rows

FOLDERS_ARE = ("slide", "patient")
"""What the folders directly below an input stand for, if cells are counted by one of these."""


@dataclass(frozen=True)
class CellInputs:
    """The cells that a call names.

    Iterating reads them anew, always in the same order: inputs as given, tables and lists row by row, folders sorted.

    Attributes:
        inputs: image files, folders (searched through), tables with a column ``path``, or ``-`` for a list on standard input.
        by: what cells are counted by: ``slide`` or ``patient`` (a column of a table, or the folders below an input), or any
            other column of a table; None if they are not counted.
        left_out: what folders hold beside images; filled while reading.
        with_sizes: whether the sizes of the pixels are read where a table tells them.

    Raises:
        UserError: an input does not exist or is not one of these, or has no such column.
    """

    inputs: tuple[str, ...]
    by: str | None
    left_out: LeftOut
    with_sizes: bool = False

    @classmethod
    def of(cls, inputs: Iterable[str | Path], by: str | None = None) -> "CellInputs":
        """Check what can be checked before anything is read; raises as iterating does."""
        found = cls(tuple(map(str, inputs)), by, LeftOut())
        if not found.inputs:
            raise UserError("name what to classify: image files, folders, a table with a column path, or - for standard input")
        for given in found.inputs:
            found.refuse(given)
        return found

    @property
    def tells_pixel_sizes(self) -> bool:
        """Whether a table tells the size of the pixels."""
        return any(has_pixel_sizes(given) for given in self.inputs if given != STDIN and is_table(given))

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
                yield from table_rows(given, self.by, self.with_sizes)
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
