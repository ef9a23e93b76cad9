"""What a network can be adapted by, see `bcc_lightning.prediction.adaptation`; no library is loaded for it."""

from typing import Literal, get_args

from bcc_lightning.errors import UserError, nearest

Method = Literal["scale", "bn", "tent", "prior"]
METHODS: tuple[Method, ...] = get_args(Method)


def read_methods(given: str | None) -> tuple[Method, ...]:
    """Read ``bn,tent,prior``; the order is always this one.

    Raises:
        UserError: a name is unknown.
    """
    named = [name.strip() for name in (given or "").split(",") if name.strip()]
    if unknown := [name for name in named if name not in METHODS]:
        near = nearest(unknown[0], METHODS) or "."
        raise UserError(f"--adapt {unknown[0]} does not exist{near} It takes {', '.join(METHODS)}, or several joined by commas")
    return tuple(method for method in METHODS if method in named)
