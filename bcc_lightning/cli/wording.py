"""The parser's errors in words for people: key, what is wrong with it, what is allowed."""

import re
from collections.abc import Iterable

from bcc_lightning.cli.accepted import accepted
from bcc_lightning.errors import nearest
from bcc_lightning.trust import OPTION, class_refused, function_refused

UNKNOWN_OPTION = (
    r"[Oo]ption '([\w.]+)' is not accepted|[Gg]roup '([\w.]+)' does not accept option '([\w.]+)'"
    r"|unrecognized arguments: --([\w.-]+)"
)

PRINTED = "`--print_config` lists the keys that are"
"""Where the keys of `fit` are found."""


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
        return f"key '{key}' takes a {found.group(2)}, which {named} is not{there_are(key, '')}"
    if found := re.search(r"given class_path '(\S+)':\s+(module '.*' has no attribute '.*'|No module named .*)", message):
        return f"key '{key}': class '{found.group(1)}' does not exist ({found.group(2)})"
    if found := re.search(r"Expected a dot import path string: (\S+)", message):
        return unknown_class(key, found.group(1))
    return None


def unknown_class(key: str, name: str) -> str:
    """Format the error for a class that does not exist."""
    return f"{key}: class '{name}' is not known{there_are(key, name)}"


def there_are(key: str, name: str) -> str:
    """List the classes that ``data`` or ``model`` takes, the one nearest to a name first; empty for other keys."""
    known = accepted()[key].classes if key in {"data", "model"} else {}
    return f"{nearest(name, known) or '.'} There are: {', '.join(known)}" if known else ""


def unknown_key(key: str, message: str) -> str | None:
    """Format the error for a key that does not exist; None where it is another error."""
    option = re.search(UNKNOWN_OPTION, message)
    if option is None:
        return None
    unknown = ".".join(part for part in (key, *option.groups()) if part)
    if unknown == OPTION.removeprefix("--"):
        return f"key '{unknown}' cannot be set in a file: whom to trust is said on the command line, with {OPTION} PACKAGE"
    return f"key '{unknown}' is not known; {PRINTED}"


def wrong_value(key: str, message: str) -> str | None:
    """Format the error for a value of another type; None where it is another error."""
    if found := re.search(r"Unable to load config '(.*?)'", message):
        return f"key '{key}' takes a mapping, not '{found.group(1)}'"
    expected = re.findall(r"Expected an? (.*?)(?:\. Got value: .*)?$", message, flags=re.MULTILINE)
    value = re.search(r"Got value: (.*)", message) or re.search(r"Given value: (.*)", message)
    if not (expected and key and value):
        return None
    return refused_value(f"key '{key}'", [name for name in map(type_name, expected) if name != "NoneType"], value.group(1))


def refused_value(subject: str, types: Iterable[str], value: str) -> str:
    """Format the error for a value of another type.

    Args:
        subject: the key or the option.
        types: names of the types that it takes, see `type_name`.
        value: the value.
    """
    allowed = " or ".join(types)
    near = nearest(value, re.findall(r"'([^']+)'", allowed)) or (f"; write '[{value}]'" if allowed == "list" else "")
    return f"{subject} takes {allowed}, not '{value}'{near}"


def type_name(expected: str) -> str:
    """Name a type as a person would: ``<class 'int'>`` is ``int``, a literal type is its values."""
    if literal := re.fullmatch(r"typing\.Literal\[(.*)\]", expected):
        return f"one of {literal.group(1)}"
    return re.sub(r"<class '([\w.]+)'>", r"\1", expected)
