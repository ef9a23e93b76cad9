"""Writing files whole or not at all."""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DRAFT = ".draft-"
"""Beginning of the name of a file that is not finished. A process that is killed leaves it behind; see `clear_drafts`."""


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Write a file whole or not at all: yields a path beside it and moves that into place at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # Random, since processes in two containers may have the same number; with the suffix, by which libraries choose a format.
    draft = target.with_name(f"{DRAFT}{secrets.token_hex(8)}{target.suffix}")
    try:
        yield draft
        os.replace(draft, target)
    except OSError as error:
        if error.errno is None or error.filename not in {None, str(draft)}:
            raise
        # A full disk names no file, and the name of the draft helps nobody.
        raise OSError(error.errno, error.strerror, str(target)) from error
    finally:
        draft.unlink(missing_ok=True)


def write_json(target: Path, content: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all; bytes of names that are not UTF-8 become JSON's own escapes."""
    with whole_file(target) as draft:
        draft.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", errors="backslashreplace")


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file whole or not at all."""
    with whole_file(target) as draft:
        shutil.copyfile(source, draft)


def clear_drafts(folder: Path) -> None:
    """Delete the drafts that killed processes left in a folder and below it; nobody may be writing there."""
    for draft in folder.rglob(f"{DRAFT}*"):
        draft.unlink(missing_ok=True)


def read_json(file: Path) -> dict[str, Any] | None:
    """Read a JSON file that another process may remove meanwhile; None where there is none."""
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return content
