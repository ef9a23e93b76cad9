"""A parser for experiment files and for the data sets that commands name: what a file may import is restricted."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import yaml
from jsonargparse import Namespace, get_loader, set_loader
from lightning.pytorch.cli import LightningArgumentParser

from bcc_lightning.errors import UserError
from bcc_lightning.files import refuse_oversized
from bcc_lightning.trust import keep_default, refuse_functions, restrict_imports, without_functions

MODE = "experiment"
"""How the parser reads YAML: as jsonargparse does, after `refuse_oversized`."""


class ExperimentParser(LightningArgumentParser):
    """A parser for files of others: it imports what may be trusted only, and its errors are exceptions without a usage text."""

    def __init__(self, *args: Any, parser_mode: str = MODE, **kwargs: Any) -> None:  # noqa: ANN401 - jsonargparse's arguments
        restrict_imports()
        super().__init__(*args, parser_mode=parser_mode, allow_abbrev=False, **kwargs)

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
