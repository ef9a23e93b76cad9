"""Text from outside, such as class names and paths, as it may be shown: on a terminal, in a table, in a figure."""

import re
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text
from jinja2 import Environment, PackageLoader, Template
from markupsafe import Markup

CONTROL = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories: control characters, halves of pairs (as which Python reads bytes that are not UTF-8), line ends."""

TURNING = set("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the order in which text is shown."""


def is_control(char: str) -> bool:
    """Whether a character steers the terminal, or cannot be written as UTF-8."""
    return unicodedata.category(char) in CONTROL


def printable(text: str) -> str:
    r"""Show characters that would steer a terminal as escapes, e.g. ``\x1b``; line breaks and tabs of a message stay."""
    return "".join(escaped(char) if is_control(char) or char in TURNING else char for char in text)


def escaped(char: str) -> str:
    """Write a character as in a Python string, but for line breaks and tabs."""
    return char if char in "\n\t" else char.encode("unicode_escape").decode("ascii")


def plain(text: str) -> "Text":
    """Make text for a table of rich that shows it as it is: ``[red]`` and ``:smile:`` are markup there."""
    from rich.text import Text

    return Text(printable(text))


def markdown(text: str) -> str:
    """Write text so that Markdown shows it as it is: a message may hold the names of classes and files."""
    return re.sub(r"([\\`*_\[\]<>#!|~&])", r"\\\1", printable(text))


def shortened(names: Iterable[str], longest: int) -> list[str]:
    """Shorten names for a figure in the middle, where they differ least; names stay different from each other.

    Args:
        names: any text.
        longest: characters at most, at least 8; a number that tells equal ones apart may follow.
    """
    shown: list[str] = []
    for name in map(printable, names):
        text = " ".join(name.split())
        if len(text) > longest:
            head = (2 * longest) // 3
            text = f"{text[:head]}…{text[head + 1 - longest :]}"
        shown.append(text if text not in shown else f"{text} ({shown.count(text) + 1})")
    return shown


def page_template(package: str, name: str) -> Template:
    """Load a template of a package, which escapes markup and control characters in all that it is given.

    Args:
        package: dotted name of the package.
        name: file name of the template. Jinja's own choice by suffix would not escape in ``*.html.jinja``.
    """
    environment = Environment(loader=PackageLoader(package, "."), autoescape=True, finalize=shown)
    return environment.get_template(name)


def shown(value: object) -> object:
    """Make control characters of a text visible; markup that a template made itself stays."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
