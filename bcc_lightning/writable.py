"""Finding out before a long piece of work whether its result can be written."""

from pathlib import Path
from tempfile import TemporaryFile

from bcc_lightning.errors import UserError


def refuse_unwritable(option: str, target: Path) -> None:
    """Find out whether a file can be written; nothing is made yet.

    Args:
        option: flag that names the file, for the message.
        target: the file.

    Raises:
        UserError: it cannot, or it is a folder.
    """
    if target.is_dir():
        raise UserError(f"{option} {target} is a folder; name a file")
    if fault := fault_in(target.parent):
        raise UserError(f"{option} {target} cannot be written ({fault}); name another file")


def refuse_unwritable_folder(option: str, folder: Path) -> None:
    """Find out whether files can be written into a folder, or the folder can be made; it is not made yet.

    Args:
        option: flag that names the folder, for the message.
        folder: the folder.

    Raises:
        UserError: they cannot.
    """
    if fault := fault_in(folder):
        raise UserError(f"{option} {folder} cannot be written to ({fault}); name another folder")


def fault_in(folder: Path) -> str | None:
    """Find out why no file can be written into a folder, or the folder cannot be made; None where it can."""
    try:
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        if not there.is_dir():
            return f"{there} is a file, not a folder"
        with TemporaryFile(dir=there):
            return None
    except OSError as error:
        return error.strerror or str(error)
