"""What a file may name: classes of a few packages, and of packages that the user trusts on the command line.

Experiment files, configurations of runs and checkpoints are passed from laboratory to laboratory. Reading one must not run its
author's code, so nothing is imported merely because a file names it.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from inspect import isclass
from pkgutil import resolve_name
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from jsonargparse import Namespace, set_parsing_settings
from jsonargparse.typing import register_type

from bcc_lightning.errors import UserError

OPTION = "--trust"

PACKAGES = ("bcc_lightning", "lightning", "timm", "torch", "torchmetrics")
"""Packages whose classes every file may name."""

_trusted: list[str] = []

_defaults: dict[str, object] = {}
"""Functions and classes that are defaults of arguments, by dotted name; they are not the file's choice."""


class Function:
    """Replaces function types in an experiment's parser; a file can name only functions of trusted packages."""


@contextmanager
def trusting(packages: Sequence[str]) -> Iterator[None]:
    """Allow files to name classes and functions of further packages while the context is open.

    Args:
        packages: names of packages or modules, such as ``mypkg`` or ``mypkg.networks``. They are imported.

    Raises:
        UserError: one cannot be imported.
    """
    for package in packages:
        if not is_dotted(package) or is_standard(package):
            raise UserError(
                f"{OPTION} is '{package}', it must be the name of a package outside Python's standard library, e.g. mypkg"
            )
        try:
            import_module(package)
        except ImportError as error:
            raise UserError(f"{OPTION} {package}: {error}; install the package, or start in the folder that holds it") from error
    _trusted.extend(packages)
    try:
        yield
    finally:
        del _trusted[len(_trusted) - len(packages) :]
        set_parsing_settings(import_path_denylist=[package for package in packages if package not in PACKAGES])


def trust_flags() -> list[str]:
    """Return the flags that make a command started from this one trust the same packages."""
    return [part for package in _trusted for part in (OPTION, package)]


def is_trusted(path: str) -> bool:
    """Return whether a dotted name belongs to a package that the user trusts."""
    return belongs(path, _trusted)


def is_dotted(text: str) -> bool:
    """Return whether a text can be the name of a module or of something in it."""
    return all(part.isidentifier() for part in text.split("."))


def is_standard(path: str) -> bool:
    """Return whether a dotted name belongs to Python's standard library."""
    return path.partition(".")[0] in sys.stdlib_module_names


def belongs(path: str, packages: Sequence[str]) -> bool:
    """Return whether a dotted name is one of several packages, or inside one."""
    return any(path == package or path.startswith(f"{package}.") for package in packages)


def restrict_imports() -> None:
    """Restrict the parser's imports to `PACKAGES` and trusted packages.

    The rules hold for the whole process. Without them the parser imports every module that a class path names, and builds
    classes even for arguments that take any value.
    """
    allowed = [*PACKAGES, *_trusted]
    set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=allowed, instantiate_subclass_spec_in_any=False)


def refuse_functions(config: object) -> None:
    """Refuse a configuration that names a function instead of a class: the parser would call it.

    Args:
        config: a parsed configuration, whose classes have been imported.

    Raises:
        UserError: it names a function; the message names it.
    """
    content = vars(config) if isinstance(config, Namespace) else config
    for part in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        refuse_functions(part)
    path = content.get("class_path") if isinstance(content, dict) else None
    if isinstance(path, str) and belongs(path, PACKAGES) and not is_trusted(path) and not isclass(resolve_name(path)):
        raise UserError(function_refused("", path))


def without_functions(hint: Any) -> Any:  # noqa: ANN401 - any annotation
    """Replace function types in an annotation by `Function`."""
    origin = get_origin(hint)
    if hint is Callable or origin is Callable or (getattr(hint, "_is_protocol", False) and "__call__" in vars(hint)):
        return Function
    before = get_args(hint)
    after = tuple(without_functions(part) if not isinstance(part, list) else part for part in before)
    if after == before or origin is None:
        return hint
    if origin in (Union, UnionType):
        return Union[after]  # noqa: UP007 - of a tuple
    return Annotated[after] if origin is Annotated else origin[after]


def function_named(path: object) -> object:
    """Return the function that a file names.

    Args:
        path: its dotted name, or the parser's form of a class that is a default.

    Raises:
        ValueError: it does not belong to a trusted package and is not a default.
    """
    named = path.get("class_path") if isinstance(path, dict | Namespace) and len(path) == 1 else path
    if isinstance(named, str) and named in _defaults:
        return _defaults[named]
    if not isinstance(path, str) or not is_trusted(path):
        raise ValueError(f"Calling '{path}' is not allowed")
    try:
        return resolve_name(path)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"'{path}' does not exist: {error}") from error


def keep_default(default: object) -> None:
    """Record the default of an argument that takes a function, in the parser's form."""
    named = default.get("class_path") if isinstance(default, dict) else default
    if isinstance(named, str) and is_dotted(named):  # else the parser's own mark for no default
        _defaults[named] = resolve_name(named)


def name_of(function: Any) -> str:  # noqa: ANN401 - any callable
    """Return the dotted name of a function."""
    for name, default in _defaults.items():
        if default is function:
            return name
    return f"{function.__module__}.{function.__qualname__}"


def place(key: str) -> str:
    """Format the place of a name; the parser does not always know it."""
    return f"key '{key}'" if key else "the configuration"


def class_refused(key: str, path: str) -> str:
    """Format the error for a class of a package that is not trusted."""
    allowed = f"{place(key)} names {path}; only classes of {', '.join([*PACKAGES, *_trusted])} can be named"
    if is_standard(path):
        return f"{allowed}. Next step: remove the entry, and ask its author what it is for"
    return f"{allowed}. Next step: if you trust its package, add {OPTION} {path.partition('.')[0]} on the command line"


def function_refused(key: str, path: str) -> str:
    """Format the error for a function of a package that is not trusted."""
    return (
        f"{place(key)} names {path}, which would call a function; functions can only be named, not called, and only from "
        f"packages that you trust with {OPTION} PACKAGE on the command line"
    )


register_type(Function, name_of, function_named, type_check=lambda value, _: callable(value))
