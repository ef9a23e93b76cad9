"""Reading YAML files that people write, and send to others."""

from pathlib import Path
from typing import Any

import yaml

from bcc_lightning.errors import UserError

LARGEST = 100_000
"""Values that a file may hold with every alias written out; a configuration has some hundred."""

DEEPEST = 100
"""Levels of lists and mappings inside one another."""

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class OversizedError(yaml.YAMLError):
    """YAML that is refused for its size."""


def read_mapping(file: Path, keys: str) -> dict[str, Any]:
    """Read a YAML file that holds keys with values.

    Args:
        file: the file; it exists.
        keys: words for the message: which keys it must hold.

    Raises:
        UserError: it is no YAML, with the line that is at fault, or holds something else.
    """
    try:
        text = file.read_text(encoding="utf-8")
        refuse_oversized(text)
        content = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is no valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{file} must hold {keys}; it holds {content!r:.100}")
    return content


def refuse_oversized(text: str) -> None:
    """Refuse YAML that a few lines of aliases of aliases blow up beyond the memory of the machine.

    Strings inside of it are looked at as well, since the parser reads some of them as YAML once more.

    Args:
        text: the YAML.

    Raises:
        OversizedError: it is too large, or too deep.
        yaml.YAMLError: it is no YAML.
    """
    sizes: dict[str | None, int] = {}
    open_nodes: list[list[Any]] = [[None, 0]]  # anchor, and number of values within
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.AliasEvent):
            open_nodes[-1][1] += sizes.get(event.anchor, LARGEST + 1)  # unknown: an alias within its own anchor
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append([event.anchor, 1])
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_nodes.pop()
            open_nodes[-1][1] += size
            sizes[anchor] = size
        elif isinstance(event, yaml.ScalarEvent):
            open_nodes[-1][1] += 1
            sizes[event.anchor] = 1
            if "&" in event.value and "*" in event.value and event.value != text:
                refuse_oversized_within(event.value)
        if open_nodes[-1][1] > LARGEST or len(open_nodes) > DEEPEST:
            raise OversizedError(f"it holds more than {LARGEST:,} values with its aliases written out, or {DEEPEST} levels")


def refuse_oversized_within(text: str) -> None:
    """Refuse a string of a YAML file that is oversized YAML itself; most are none, and words may hold any signs.

    Raises:
        OversizedError: likewise.
    """
    try:
        refuse_oversized(text)
    except OversizedError:
        raise
    except yaml.YAMLError:
        return
