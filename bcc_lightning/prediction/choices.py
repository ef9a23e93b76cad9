"""What can be classified, and what a network can be adapted by; no library is loaded for it."""

from difflib import get_close_matches
from pathlib import Path
from typing import Literal, get_args

from bcc_lightning.errors import UserError
from bcc_lightning.files import refuse_missing

INPUTS = "image files, folders (searched through), tables with a column path, or - for a list on standard input"
"""What a command classifies or explains."""

STDIN = "-"

Method = Literal["scale", "bn", "tent", "prior", "blood", "equal"]
METHODS: tuple[Method, ...] = get_args(Method)

SHARES: tuple[Method, ...] = ("prior", "blood", "equal")
"""Those that say how frequent the classes are, of which one at most can be chosen."""


def refuse_missing_input(given: str) -> None:
    """Refuse a file or folder that does not exist.

    Raises:
        UserError: with what can be named instead.
    """
    if given != STDIN:
        refuse_missing(Path(given), "name an image file, a folder, a table (.csv, .parquet) or -")


def read_methods(given: str | None) -> tuple[Method, ...]:
    """Read ``bn,tent,prior``; the order is always this one.

    Raises:
        UserError: a name is unknown, there is none, or two methods exclude each other.
    """
    named = [name.strip() for name in (given or "").split(",") if name.strip()]
    takes = f"It takes {', '.join(METHODS)}, or several joined by commas"
    if given is not None and not named:
        raise UserError(f"--adapt names no method. {takes}")
    if unknown := [name for name in named if name not in METHODS]:
        near = get_close_matches(unknown[0].lower(), METHODS, n=1, cutoff=0.5)  # as one wrong letter of two
        raise UserError(f"--adapt {unknown[0]} does not exist{f'; did you mean {near[0]}?' if near else '.'} {takes}")
    if len(both := [method for method in SHARES if method in named]) > 1:
        raise UserError(f"--adapt {' and '.join(both)} each say how frequent the classes are; name one of them")
    return tuple(method for method in METHODS if method in named)
