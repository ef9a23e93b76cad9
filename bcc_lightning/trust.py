"""What a file may name: classes of a few packages, and whatever a person trusts on the command line.

Experiment files, the configurations of runs and checkpoints travel from laboratory to laboratory. Whoever reads one must not
thereby run its author's code, so nothing is imported because a file names it.
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
"""Functions and classes that an argument of a class has by default, by dotted name; they are not the file's choice."""


class Function:
    """Stands in an experiment's parser where a class takes a function; a file can name functions of trusted packages only."""


@contextmanager
def trusting(packages: Sequence[str]) -> Iterator[None]:
    """Let files name what belongs to further packages.

    Args:
        packages: names of packages or modules, such as ``mypkg`` or ``mypkg.networks``. They are imported.

    Raises:
        UserError: one cannot be imported.
    """
    for package in packages:
        if not is_dotted(package) or is_standard(package):
            raise UserError(
                f"{OPTION} is '{package}', it must be the name of a package outside of Python's standard library, e.g. mypkg"
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
    """List the flags with which a command that is started from this one trusts the same packages."""
    return [part for package in _trusted for part in (OPTION, package)]


def is_trusted(path: str) -> bool:
    """Return whether a dotted name belongs to a package that a person trusts."""
    return belongs(path, _trusted)


def is_dotted(text: str) -> bool:
    """Return whether a text can be the name of a module or of something in it."""
    return all(part.isidentifier() for part in text.split("."))


def is_standard(path: str) -> bool:
    """Return whether a dotted name belongs to Python's standard library."""
    return path.partition(".")[0] in sys.stdlib_module_names


def belongs(path: str, packages: Sequence[str]) -> bool:
    """Return whether a dotted name is one of several packages, or stands below one."""
    return any(path == package or path.startswith(f"{package}.") for package in packages)


def restrict_imports() -> None:
    """Let the parser import nothing but what belongs to `PACKAGES` and to trusted packages.

    The parser keeps its rules for the whole process. Without them it imports every module that a class path names, and builds
    classes even where an argument takes any value.
    """
    allowed = [*PACKAGES, *_trusted]
    set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=allowed, instantiate_subclass_spec_in_any=False)


def refuse_functions(config: object) -> None:
    """Refuse a configuration that names a function where a class belongs: the parser would call it.

    Args:
        config: a configuration as it was parsed, which has imported what it names.

    Raises:
        UserError: with the name.
    """
    content = vars(config) if isinstance(config, Namespace) else config
    for part in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        refuse_functions(part)
    path = content.get("class_path") if isinstance(content, dict) else None
    if isinstance(path, str) and belongs(path, PACKAGES) and not is_trusted(path) and not isclass(resolve_name(path)):
        raise UserError(function_refused("", path))


def without_functions(hint: Any) -> Any:  # noqa: ANN401 - any annotation
    """Replace the types of functions in an annotation by `Function`."""
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
    """Look a function up that a file names.

    Args:
        path: its dotted name, or what the parser makes of a class that is a default.

    Raises:
        ValueError: it belongs to no trusted package, and is no default.
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
    """Note what an argument that takes a function has by default, as the parser words it."""
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
    """Format where a name stands; the parser does not always say it."""
    return f"key '{key}'" if key else "the configuration"


def class_refused(key: str, path: str) -> str:
    """Format the error for a class of a package that is not trusted."""
    allowed = f"{place(key)} names {path}; only classes of {', '.join([*PACKAGES, *_trusted])} can be named"
    if is_standard(path):
        return f"{allowed}. Next step: take the entry out, and ask whoever wrote it what it was meant to do"
    return f"{allowed}. Next step: if you trust its package, add {OPTION} {path.partition('.')[0]} on the command line"


def function_refused(key: str, path: str) -> str:
    """Format the error for a function of a package that is not trusted."""
    return (
        f"{place(key)} names {path}, where a function would be called; functions are taken only by name, and from packages that "
        f"you trust with {OPTION} PACKAGE on the command line"
    )


register_type(Function, name_of, function_named, type_check=lambda value, _: callable(value))
