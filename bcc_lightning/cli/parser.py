"""The parser's errors in words for people: key, what is wrong with it, what is allowed."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import yaml
from jsonargparse import Namespace, get_loader, set_loader
from lightning.pytorch.cli import LightningArgumentParser

import bcc_lightning.datamodules
import bcc_lightning.modules
from bcc_lightning.errors import UserError
from bcc_lightning.files import refuse_oversized
from bcc_lightning.trust import (
    OPTION,
    class_refused,
    function_refused,
    keep_default,
    refuse_functions,
    restrict_imports,
    without_functions,
)

UNKNOWN_OPTION = (
    r"[Oo]ption '([\w.]+)' is not accepted|[Gg]roup '([\w.]+)' does not accept option '([\w.]+)'"
    r"|unrecognized arguments: --([\w.-]+)"
)
BASES = {"CellDataModule", "CellClassifier"}


MODE = "experiment"
"""How the parser reads YAML: as jsonargparse does, after `refuse_oversized`."""


class ExperimentParser(LightningArgumentParser):
    """A parser for files of others: it imports what may be trusted only, and its errors are exceptions without a usage text."""

    def __init__(self, *args: Any, parser_mode: str = MODE, **kwargs: Any) -> None:  # noqa: ANN401 - jsonargparse's arguments
        restrict_imports()
        super().__init__(*args, parser_mode=parser_mode, **kwargs)

    def add_argument(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - jsonargparse's signature
        """Add an argument; one that takes a function takes functions of trusted packages only."""
        action = super().add_argument(*args, **kwargs)
        hint = getattr(action, "_typehint", None)
        if (restricted := without_functions(hint)) != hint:
            action._typehint = restricted
            keep_default(action.default)
        return action

    def parse_args(self, *args: Any, **kwargs: Any) -> Namespace:  # type: ignore[override]  # noqa: ANN401
        """Parse arguments and the files that they name.

        Raises:
            UserError: a key or a value is not allowed.
        """
        with denied_imports_explained():
            config: Namespace = super().parse_args(*args, **kwargs)
        refuse_functions(config)
        return config

    def parse_object(self, *args: Any, **kwargs: Any) -> Namespace:  # noqa: ANN401 - jsonargparse's signature
        """Parse a configuration that has been read; raises as `parse_args`."""
        with denied_imports_explained():
            config: Namespace = super().parse_object(*args, **kwargs)
        refuse_functions(config)
        return config

    def build(self, options: Namespace) -> Namespace:
        """Build what a configuration describes.

        Raises:
            UserError: as raised by a constructor, without the parser's wrapping.
        """
        try:
            built: Namespace = self.instantiate(options)
        except ValueError as error:
            raise innermost(error) from None
        return built

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise a `UserError` with the parser's own message; parsers of nested keys wrap it further."""
        raise UserError(message) from ex


@contextmanager
def denied_imports_explained() -> Iterator[None]:
    """Turn the parser's refusal to import something into a `UserError`; for arguments of any type it leaves out the key."""
    try:
        yield
    except ImportError as error:
        raise UserError(str(error)) from error


def plain_words(message: str) -> str:
    """Reduce the parser's message to its key, what is wrong with it, and what is allowed.

    Args:
        message: what jsonargparse says, for nested keys over several lines.
    """
    key = ".".join(dict.fromkeys(re.findall(r'key "([\w.]+)"', message)))
    return refused_name(key, message) or unknown_key(key, message) or wrong_value(key, message) or message


def refused_name(key: str, message: str) -> str | None:
    """Format the error for a class or a function that cannot be named here; None where it is another error."""
    if found := re.search(r"Importing '([\w.]+)' is not allowed", message):
        return class_refused(key, found.group(1))
    if found := re.search(r"Calling '(.+?)' is not allowed", message):
        return function_refused(key, found.group(1))
    if found := re.search(r"Import path (?:(\S+) )?does not correspond to a subclass of (\w+)", message):
        named = found.group(1) or getattr(re.search(r"Given value: (\S+)", message), "group", lambda _: "this")(1)
        known = f". There are: {', '.join(classes(key))}" if key in {"data", "model"} else ""
        return f"key '{key}' takes a {found.group(2)}, which {named} is not{known}"
    if found := re.search(r"given class_path '(\S+)':\s+(module '.*' has no attribute '.*'|No module named .*)", message):
        return f"key '{key}': class '{found.group(1)}' does not exist ({found.group(2)})"
    if found := re.search(r"Expected a dot import path string: (\S+)", message):
        return f"{key}: class '{found.group(1)}' is not known. There are: {', '.join(classes(key))}"
    return None


def unknown_key(key: str, message: str) -> str | None:
    """Format the error for a key that does not exist; None where it is another error."""
    option = re.search(UNKNOWN_OPTION, message)
    if option is None:
        return None
    unknown = ".".join(part for part in (key, *option.groups()) if part)
    if unknown == OPTION.removeprefix("--"):
        return f"key '{unknown}' cannot be set in a file: whom to trust is said on the command line, with {OPTION} PACKAGE"
    return f"key '{unknown}' is not known; `--print_config` lists the keys that are"


def wrong_value(key: str, message: str) -> str | None:
    """Format the error for a value of another type; None where it is another error."""
    if found := re.search(r"Unable to load config '(.*?)'", message):
        return f"key '{key}' takes a mapping, not '{found.group(1)}'"
    expected = re.findall(r"Expected an? (.*?)(?:\. Got value: .*)?$", message, flags=re.MULTILINE)
    value = re.search(r"Got value: (.*)", message) or re.search(r"Given value: (.*)", message)
    if not (expected and key and value):
        return None
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


def load_yaml(text: str) -> Any:  # noqa: ANN401 - whatever YAML holds
    """Read YAML as jsonargparse does, after `refuse_oversized`."""
    refuse_oversized(text)
    return get_loader("yaml")(text)


set_loader(MODE, load_yaml, (yaml.YAMLError,))
