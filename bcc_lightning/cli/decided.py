"""Which keys of a configuration its experiment files and the person decided; all others have defaults."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from bcc_lightning.cli.early import NESTED, pairs
from bcc_lightning.files import read_json, read_mapping
from bcc_lightning.tracking.recipe import flatten
from bcc_lightning.tracking.run_files import RunFolder

ALWAYS = ("exp", "seed_everything", "data.class_path", "model.class_path", "trainer.max_epochs")
"""Keys that distinguish runs also where nobody has decided them."""


def decided(argv: Sequence[str], names: Sequence[str]) -> list[str]:
    """Select the keys that were decided.

    Args:
        argv: arguments of a configuration: files and flags.
        names: all keys of the configuration, with dotted names.
    """
    given = {*ALWAYS, *given_keys(argv)}
    above = tuple(f"{key}." for key in given)
    return [name for name in names if (name in given or name.startswith(above)) and not name.startswith("tracking.")]


def given_keys(argv: Sequence[str]) -> Iterator[str]:
    """Yield the keys that files and flags set; the configuration of a run stands for what was decided when it began."""
    for key, value in pairs(argv):
        if key == "config":
            begun = read_json(RunFolder(Path(value).absolute().parent.parent).decided)
            yield from begun["decided"] if begun else flatten(read_mapping(Path(value), "keys such as model, data and trainer"))
        elif key in {"data", "model"}:
            yield f"{key}.class_path"
        else:
            yield ".".join(part for part in key.split(".") if part not in NESTED - {"class_path"})
