"""The parser's errors in words for people: key, what is wrong with it, what is allowed."""

import re
from typing import NoReturn

from lightning.pytorch.cli import LightningArgumentParser

import bcc_lightning.datamodules
import bcc_lightning.modules
from bcc_lightning.errors import UserError

UNKNOWN_OPTION = r"[Oo]ption '([\w.]+)' is not accepted|[Gg]roup '([\w.]+)' does not accept option '([\w.]+)'"
BASES = {"CellDataModule", "CellClassifier"}


class ExperimentParser(LightningArgumentParser):
    """A parser whose errors are exceptions, without the usage of 60 options before them."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise a `UserError` with the parser's own message; parsers of nested keys wrap it further."""
        raise UserError(message) from ex


def plain_words(message: str) -> str:
    """Reduce the parser's message to its key, what is wrong with it, and what is allowed.

    Args:
        message: what jsonargparse says, for nested keys over several lines.
    """
    key = ".".join(dict.fromkeys(re.findall(r'key "([\w.]+)"', message)))
    if option := re.search(UNKNOWN_OPTION, message):
        unknown = ".".join(part for part in (key, *option.groups()) if part)
        return f"key '{unknown}' is not known; `--print_config` lists the keys that are"
    if path := re.search(r"Expected a dot import path string: (\S+)", message):
        return f"{key}: class '{path.group(1)}' is not known. There are: {', '.join(classes(key))}"
    expected = re.findall(r"Expected an? (.*?)(?:\. Got value: .*)?$", message, flags=re.MULTILINE)
    value = re.search(r"Got value: (.*)", message) or re.search(r"Given value: (.*)", message)
    if not (expected and key and value):
        return message
    return f"key '{key}' takes {' or '.join(map(type_name, expected))}, not '{value.group(1)}'".replace(" or NoneType", "")


def type_name(expected: str) -> str:
    """Name a type as a person would: ``<class 'int'>`` is ``int``, a literal type is its values."""
    if literal := re.fullmatch(r"typing\.Literal\[(.*)\]", expected):
        return f"one of {literal.group(1)}"
    return re.sub(r"<class '([\w.]+)'>", r"\1", expected)


def classes(key: str) -> list[str]:
    """List the classes that ``data`` or ``model`` takes."""
    package = bcc_lightning.datamodules if key == "data" else bcc_lightning.modules
    return [name for name in package.__all__ if name not in BASES]


def innermost(error: BaseException) -> BaseException:
    """Unwrap an exception that the parser has raised from another."""
    while error.__cause__ is not None and not isinstance(error, UserError):
        error = error.__cause__
    return error
