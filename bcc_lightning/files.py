"""Files that are written whole or not at all, checks before long work, and YAML from untrusted sources."""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import yaml

from bcc_lightning.errors import UserError, nearest

if TYPE_CHECKING:
    from pandas import DataFrame

DRAFT = ".draft-"
"""Prefix of the name of an unfinished file. A killed process leaves such files behind; see `clear_drafts`."""


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Write a file whole or not at all: yield a path beside it, which is moved into place at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # Random, because processes in two containers may have the same number; with the suffix, which tells libraries the format.
    draft = target.with_name(f"{DRAFT}{secrets.token_hex(8)}{target.suffix}")
    try:
        yield draft
        os.replace(draft, target)
    except OSError as error:
        if error.errno is None or error.filename not in {None, str(draft)}:
            raise
        # The error of a full disk names no file, and the name of the draft would not help.
        raise OSError(error.errno, error.strerror, str(target)) from error
    finally:
        draft.unlink(missing_ok=True)


def write_json(target: Path, content: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all; bytes of names that are not UTF-8 become JSON's own escapes."""
    with whole_file(target) as draft:
        draft.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", errors="backslashreplace")


def file_hash(file: Path) -> str:
    """Hash the content of a file, SHA-256 in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_csv(table: "DataFrame", target: Path) -> None:
    """Write a table as CSV, whole or not at all."""
    with whole_file(target) as draft:
        table.to_csv(draft, index=False)


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file whole or not at all."""
    with whole_file(target) as draft:
        shutil.copyfile(source, draft)


def link_whole(source: Path, target: Path) -> None:
    """Link a file to a second name, or copy it if the file system has no links; whole or not at all."""
    with whole_file(target) as draft:
        try:
            os.link(source, draft)
        except OSError:
            shutil.copyfile(source, draft)


def clear_drafts(folder: Path) -> None:
    """Delete the drafts that killed processes left in a folder and below it; no other process may be writing there."""
    for draft in folder.rglob(f"{DRAFT}*"):
        draft.unlink(missing_ok=True)


def read_json(file: Path) -> dict[str, Any] | None:
    """Read a JSON file that another process may remove at any time; None if there is none."""
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return content


MOST_NAMES = 1000
"""Files of a folder among which a misspelt one is looked for, so that the answer does not take long."""


def refuse_missing(file: Path, hint: str, called: str = "") -> None:
    """Refuse a file or folder that does not exist, with the nearest name that does.

    Args:
        file: the file or folder.
        hint: what can be done, as the end of a sentence.
        called: what it is, or the option that names it, for the message.

    Raises:
        UserError: it does not exist.
    """
    if file.exists():
        return
    beside = [other.name for other in islice(file.parent.iterdir(), MOST_NAMES)] if file.parent.is_dir() else []
    near = nearest(file.name, beside)
    told = f"{near} {hint[0].upper()}{hint[1:]}" if near else f"; {hint}"
    raise UserError(f"{called} {file} does not exist{told}".strip())


def refuse_unwritable(option: str, target: Path) -> None:
    """Check that a file can be written, without creating anything.

    Args:
        option: flag that names the file, for the message.
        target: the file.

    Raises:
        UserError: it cannot be written, or is a folder.
    """
    if target.is_dir():
        raise UserError(f"{option} {target} is a folder; name a file")
    if fault := fault_in(target.parent):
        raise UserError(f"{option} {target} cannot be written ({fault}); name another file")


def refuse_unwritable_folder(option: str, folder: Path) -> None:
    """Check that files can be written into a folder, or that it can be created, without creating it.

    Args:
        option: flag that names the folder, for the message.
        folder: the folder.

    Raises:
        UserError: they cannot be written.
    """
    if fault := fault_in(folder):
        raise UserError(f"{option} {folder} cannot be written to ({fault}); name another folder")


def fault_in(folder: Path) -> str | None:
    """Return why no file can be written into a folder, or why it cannot be created; None if it can."""
    try:
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        if not there.is_dir():
            return f"{there} is a file, not a folder"
        with TemporaryFile(dir=there):
            return None
    except OSError as error:
        return error.strerror or str(error)


LARGEST = 100_000
"""Most values that a file may hold with all aliases expanded; a configuration has a few hundred."""

DEEPEST = 100
"""Most levels of nested lists and mappings."""

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class OversizedError(yaml.YAMLError):
    """YAML that is refused because of its size."""


def read_mapping(file: Path, keys: str) -> dict[str, Any]:
    """Read a YAML file with keys and values.

    Args:
        file: an existing file.
        keys: description of the required keys, for the message.

    Raises:
        UserError: it is not valid YAML (the message names the line), or holds something else.
    """
    try:
        text = file.read_text(encoding="utf-8")
        refuse_oversized(text)
        content = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{file} must hold {keys}; it holds {content!r:.100}")
    return content


def refuse_oversized(text: str) -> None:
    """Refuse YAML in which a few lines of nested aliases expand beyond the memory of the machine.

    Strings inside it are checked as well because the parser reads some of them as YAML again.

    Args:
        text: the YAML.

    Raises:
        OversizedError: it is too large, or too deep.
        yaml.YAMLError: it is not valid YAML.
    """
    sizes: dict[str | None, int] = {}
    open_nodes: list[list[Any]] = [[None, 0]]  # anchor, and number of values within
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.AliasEvent):
            open_nodes[-1][1] += sizes.get(event.anchor, LARGEST + 1)  # unknown: an alias inside its own anchor
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append([event.anchor, 1])
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_nodes.pop()
            open_nodes[-1][1] += size
            sizes[anchor] = size
        elif isinstance(event, yaml.ScalarEvent):
            open_nodes[-1][1] += 1
            sizes[event.anchor] = 1
            if "&" in event.value and "*" in event.value and event.value != text:
                refuse_oversized_within(event.value)
        if open_nodes[-1][1] > LARGEST or len(open_nodes) > DEEPEST:
            raise OversizedError(f"it holds more than {LARGEST:,} values with its aliases expanded, or {DEEPEST} levels")


def refuse_oversized_within(text: str) -> None:
    """Refuse a string of a YAML file that is itself oversized YAML; most strings are not YAML, which is not an error.

    Raises:
        OversizedError: it is too large, or too deep.
    """
    try:
        refuse_oversized(text)
    except OversizedError:
        raise
    except yaml.YAMLError:
        return
