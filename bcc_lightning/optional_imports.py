"""Packages that only some commands need, installed as extras of this one."""

from collections.abc import Iterator
from contextlib import contextmanager

from bcc_lightning.errors import UserError


@contextmanager
def optional_import(extra: str, wanted_by: str) -> Iterator[None]:
    """Say how a missing package is installed, where the code within imports it.

    Args:
        extra: extra of ``bcc-lightning`` that installs the package.
        wanted_by: option or file that needs the package.

    Raises:
        UserError: the package is missing.
    """
    try:
        yield
    except ImportError as error:
        raise UserError(f"{wanted_by} needs a package: uv pip install 'bcc-lightning[{extra}]'") from error
