"""Safe display of external text, such as class names and paths, on a terminal, in a table or in a figure."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

CONTROL = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories: control characters, lone surrogates (Python's form of bytes that are not UTF-8), line ends."""

TURNING = set("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that change the direction in which text is displayed."""


def is_control(char: str) -> bool:
    """Check whether a character controls the terminal, or cannot be encoded as UTF-8."""
    return unicodedata.category(char) in CONTROL


def printable(text: str) -> str:
    r"""Escape characters that would control a terminal, e.g. ``\x1b``; line breaks and tabs are kept."""
    return "".join(escaped(char) if is_control(char) or char in TURNING else char for char in text)


def escaped(char: str) -> str:
    """Escape a character as in a Python string, except line breaks and tabs."""
    return char if char in "\n\t" else char.encode("unicode_escape").decode("ascii")


def plain(text: str) -> "Text":
    """Return text for a table of rich without markup: ``[red]`` and ``:smile:`` are displayed literally."""
    from rich.text import Text

    return Text(printable(text))


def print_table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table in the terminal, names on the left and numbers on the right; texts may hold anything."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=plain(title))
    for place, heading in enumerate(headings):
        table.add_column(plain(heading), justify="right" if place else "left")
    for row in rows:
        table.add_row(*map(plain, row))
    Console().print(table)


def markdown(text: str) -> str:
    """Escape text for Markdown: a message may contain the names of classes and files."""
    return re.sub(r"([\\`*_\[\]<>#!|~&])", r"\\\1", printable(text))


def shortened(names: Iterable[str], longest: int) -> list[str]:
    """Shorten names for a figure by leaving out the middle, where they differ least; different names stay different.

    Args:
        names: any text.
        longest: most characters, at least 8; a number that distinguishes equal names may follow.
    """
    shown: list[str] = []
    for name in map(printable, names):
        text = " ".join(name.split())
        if len(text) > longest:
            head = (2 * longest) // 3
            text = f"{text[:head]}…{text[head + 1 - longest :]}"
        shown.append(text if text not in shown else f"{text} ({shown.count(text) + 1})")
    return shown
