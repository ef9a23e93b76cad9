"""The paths of a table as files on disk: one spelling for each file, and regular files only."""

import os
import posixpath
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow.compute as pc

from bcc_lightning.datasets.cells import Names
from bcc_lightning.datasets.folder_files import is_image_name, join, refuse_outside
from bcc_lightning.datasets.left_out import SYSTEM_FOLDERS, LeftOut, is_thumbnail_folder
from bcc_lightning.datasets.spelling import file_key, quoted, shown
from bcc_lightning.errors import UserError


class TablePaths:
    """Finds the files that a table names.

    Args:
        table: the file; paths are relative to its folder.
        paths: N paths, as the table names them.

    Attributes:
        real: N paths as spelled on disk, with forward slashes.

    Raises:
        UserError: a file does not exist, is outside the table's folder or among thumbnails, is not a regular file, or is named
            twice.
    """

    def __init__(self, table: Path, paths: Names) -> None:
        self.table = table
        self.root = table.parent
        self.rows: Counter[str] = Counter()
        self.respelled: list[tuple[str, str]] = []
        self.real = Names.of(self.find_all(paths))
        refuse_same_files(table, paths, self.real)

    def notices(self) -> Iterator[str]:
        """Describe which paths are spelled differently on disk, and which images in the same folders the table does not name."""
        if self.respelled:
            path, found = self.respelled[0]
            number = f"{len(self.respelled):,} of the table's paths"
            yield f"Spelled differently on disk: {number}, e.g. {quoted(path)} is read as {quoted(found)}."
        left_out, named = LeftOut(), set[str]()
        for folder, rows in self.rows.items():
            images = [name for name in os.listdir(self.root / folder) if is_image_name(name)]
            if len(images) > rows:
                named = named or set(self.real)
                others = sorted(path for name in images if (path := join(folder, name)) not in named)
                left_out.add("unnamed", next(iter(others), ""), len(others))
        yield from left_out.notices()

    def find_all(self, paths: Names) -> Iterator[str]:
        """Iterate over the paths as spelled on disk."""
        missing: list[str] = []
        for path in paths:
            found = self.find(path)
            if found is None:
                missing.append(path)
                continue
            if found != path:
                self.respelled.append((path, found))
            yield found
        if missing:
            raise UserError(
                f"{shown(str(self.root / missing[0]))} cannot be read (No such file or directory); {self.table} names "
                f"{len(missing):,} such files. Next step: correct the paths, which are relative to the table's folder, or "
                "restore the files"
            )

    def find(self, path: str) -> str | None:
        """Find a file: its path as spelled on disk, None if there is none."""
        is_plain = posixpath.normpath(path) == path and not path.startswith(("/", ".."))
        found = path if is_plain and os.path.lexists(self.root / path) else self.search(path)
        if found is None:
            return None
        folder = posixpath.dirname(found)
        if folder not in self.rows:
            self.enter(folder)
        self.rows[folder] += 1
        mode = os.lstat(self.root / found).st_mode
        if stat.S_ISLNK(mode):
            refuse_outside(self.root, found)
            if not (self.root / found).exists():
                return None
            mode = os.stat(self.root / found).st_mode
        if not stat.S_ISREG(mode):
            raise UserError(f"{self.table} names {shown(found)}, which is not a regular file; name image files")
        return found

    def enter(self, folder: str) -> None:
        """Refuse a folder that is outside the table's folder, or holds thumbnails."""
        refuse_outside(self.root, folder)
        if any(is_thumbnail_folder(part) or file_key(part) in SYSTEM_FOLDERS for part in folder.split("/")):
            raise UserError(
                f"{self.table} names files in {shown(folder)}, a folder in which a system or program keeps thumbnails or removed "
                "files; next step: remove these rows, otherwise copies of a cell can be in several sets"
            )

    def search(self, path: str) -> str | None:
        """Find a file by the parts of its path, each compared by `file_key`."""
        text = path.strip().replace("\\", "/")
        if text.startswith("/") or ".." in text.split("/"):
            place, root = (self.root / text).resolve(), self.root.resolve()
            if not place.is_relative_to(root):
                raise UserError(f"{self.root / path} is a path that leads out of {self.root}; move the table or the file")
            text = place.relative_to(root).as_posix()
        found = ""
        for part in PurePosixPath(text).parts:
            names = os.listdir(self.root / found) if (self.root / found).is_dir() else []
            same = [part] if part in names else [name for name in names if file_key(name) == file_key(part)]
            if len(same) != 1:
                return None
            found = join(found, same[0])
        return found or None


def refuse_same_files(table: Path, paths: Names, real: Names) -> None:
    """Refuse a table that names a file twice.

    Args:
        table: the file.
        paths: N paths, as the table names them.
        real: N paths on the disk.

    Raises:
        UserError: there is one; the message names it in both spellings.
    """
    keys = Names.of(map(file_key, real)).array
    counts = pc.value_counts(keys)
    twice = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        rows = np.flatnonzero(pc.equal(keys, twice.field("values")[0]).to_numpy(zero_copy_only=False))
        first, second = (shown(paths[row]) for row in rows[:2])
        spelled = "" if first == second else f", also spelled {second}"
        raise UserError(
            f"{table} names {len(twice):,} files more than once, the first is {first}{spelled}; keep one row for each file"
        )
