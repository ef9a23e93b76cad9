"""Checks of arguments against their annotations, for callers from Python, whose arguments no parser has checked."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from math import inf
from numbers import Integral, Real
from os import PathLike
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from bcc_lightning.errors import UserError

Built = TypeVar("Built")

SINGLE: dict[Any, tuple[str, tuple[type, ...]]] = {
    bool: ("true or false", (bool,)),
    int: ("a whole number", (Integral,)),
    float: ("a number", (Real,)),
    str: ("a text", (str, PathLike)),
    NoneType: ("null", (NoneType,)),
}
"""Name of each type in messages, and the types that count as it, see `fits`; neither a bool nor NaN is a number."""


FINEST, COARSEST = 0.005, 5.0
"""Micrometres that a pixel can cover: the finest is far below what light resolves, at the coarsest a white cell has 3 pixels."""

Range = tuple[str, Callable[[Any], bool]]
"""What a value must be, in words, and whether it is."""

NOT_NEGATIVE: Range = ("0 or more", lambda x: 0 <= x < inf)
BELOW_ONE: Range = ("from 0 to below 1", lambda x: 0 <= x < 1)


def check_ranges(option: str, arguments: Mapping[str, Any], ranges: Mapping[str, Range]) -> None:
    """Refuse values that are out of range.

    Args:
        option: how the command line calls what takes them, e.g. ``model``.
        arguments: values by name, at least those that have a range.
        ranges: what each must be.

    Raises:
        UserError: with the first wrong value and what is allowed.
    """
    for name, (allowed, holds) in ranges.items():
        if not holds(arguments[name]):
            raise UserError(f"--{option}.{name} is {arguments[name]}, it must be {allowed}")


def chosen(kind: type[Built], values: Mapping[str, Any]) -> Built:
    """Build a dataclass from those of many values that it has fields for."""
    return kind(**{name: values[name] for name in annotations(kind)})


def check_choice(option: str, value: object, choices: Any) -> None:  # noqa: ANN401 - a Literal type
    """Refuse a value that is not among the choices.

    Args:
        option: its name on the command line, e.g. ``model.loss``.
        value: the value.
        choices: a ``Literal`` type.

    Raises:
        UserError: the message names the value, the choices, and a similar one.
    """
    if not fits(value, choices):
        raise UserError(refusal(option, value, choices))


def check_types(option: str, constructor: type, arguments: Mapping[str, Any]) -> None:
    """Refuse arguments of a class that do not match its annotations.

    Args:
        option: name of the class on the command line, e.g. ``model``.
        constructor: the class; arguments of its bases are checked as well.
        arguments: values by name, such as ``locals()`` at the beginning of a constructor; other names are ignored.

    Raises:
        UserError: a value is wrong; the message names the first one and what is allowed.
    """
    hints: dict[str, Any] = annotations(constructor)
    for name, value in arguments.items():
        if name in hints and not fits(value, hints[name]):
            raise UserError(refusal(f"{option}.{name}", value, hints[name]))


def built_from(kind: type[Built], entries: Mapping[str, Any], option: str) -> Built:
    """Build a dataclass from the entries of a checkpoint or a configuration.

    Raises:
        UserError: an entry is unknown, or the class refuses its value.
    """
    known = annotations(kind)
    if unknown := [str(name) for name in entries if name not in known]:
        raise UserError(f"{option} has no {', '.join(unknown)}; it takes {', '.join(known)}")
    return kind(**entries)


def annotations(constructor: type) -> dict[str, Any]:
    """Return the annotations of the constructor arguments of a class and its bases, by name."""
    found: dict[str, Any] = {}
    for kind in reversed(constructor.__mro__):
        own: Callable[..., None] | None = vars(kind).get("__init__")
        if kind.__module__.partition(".")[0] not in {"builtins", "lightning", "torch"} and own:
            with suppress(NameError, TypeError):  # a third-party class whose annotations cannot be read
                found |= get_type_hints(own)
    return {name: hint for name, hint in found.items() if name != "return"}


def fits(value: Any, hint: Any) -> bool:  # noqa: ANN401
    """Return whether a value matches an annotation; annotations that are not plain, such as a class, are not checked."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return any(fits(value, type(part)) and bool(value == part) for part in parts)
    if origin in (Union, UnionType):
        return any(fits(value, part) for part in parts)
    if origin in (list, tuple):
        every = [parts[0]] * len(value) if origin is list and isinstance(value, list | tuple) else parts
        return isinstance(value, list | tuple) and len(value) == len(every) and all(map(fits, value, every))
    if origin is dict:
        return isinstance(value, Mapping) and all(fits(one, parts[1]) for one in value.values())
    if hint is bool:
        return isinstance(value, bool) or is_numpy_bool(value)
    return hint not in SINGLE or (isinstance(value, SINGLE[hint][1]) and not isinstance(value, bool) and not is_nan(value))


def is_numpy_bool(value: object) -> bool:
    """Return whether a value is NumPy's bool, which is no Python bool; NumPy is not imported for that."""
    return (type(value).__module__, type(value).__name__) == ("numpy", "bool")


def is_nan(value: object) -> bool:
    """Return whether a value is NaN, which would pass every check for values that are too large."""
    return isinstance(value, Real) and value != value  # noqa: PLR0124 - true only for NaN


def refusal(option: str, value: object, hint: Any) -> str:  # noqa: ANN401 - an annotation
    """Format the error for a value that does not match an annotation."""
    choices = [str(choice) for choice in literals(hint)]
    near = get_close_matches(str(value).lower(), choices, n=1)
    return f"--{option} is {value!r}, it must be {named(hint)}" + (f"; did you mean {near[0]}?" if near else "")


def literals(hint: Any) -> Iterator[object]:  # noqa: ANN401 - an annotation
    """List the values of the literal types in an annotation."""
    for part in get_args(hint):
        if get_origin(hint) is Literal:
            yield part
        else:
            yield from literals(part)


def named(hint: Any) -> str:  # noqa: ANN401 - an annotation
    """Return the name of a type for messages."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(map(str, parts))}"
    if origin in (Union, UnionType):
        return " or ".join(map(named, parts))
    if origin is list:
        return f"a list, each entry {named(parts[0])}"
    if origin is tuple:
        return f"{len(parts)} entries, each {named(parts[0])}"
    if origin is dict:
        return "a mapping"
    return SINGLE[hint][0] if hint in SINGLE else str(getattr(hint, "__name__", hint))


def check_pixel_size(size: float, where: str) -> float:
    """Return a size of pixels in micrometres.

    Args:
        size: micrometres that a pixel covers.
        where: what gave it, for the message.

    Raises:
        UserError: it is not a number above 0, or one in another unit.
    """
    if FINEST <= size <= COARSEST:
        return size
    needed = f"{where} is {size:g}; it must be the micrometres that a pixel covers, {FINEST:g} to {COARSEST:g}"
    raise UserError(f"{needed}. If these are nanometres, write {size / 1000:g}" if size > COARSEST else needed)
