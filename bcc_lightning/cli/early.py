"""Checks that need none of the libraries: names of experiments, classes and keys, before anything heavy is imported."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from bcc_lightning.cli.accepted import Accepted, accepted
from bcc_lightning.cli.experiment_files import find_experiment
from bcc_lightning.errors import UserError
from bcc_lightning.files import read_mapping

WHOLE = {
    *("exp", "resume", "folds", "repeats", "summary", "seed_everything", "config", "print_config", "help", "trust", "traceback"),
    *("stages", "optimizer", "lr_scheduler", "ckpt_path", "verbose", "weights_only"),
}
"""Keys that have no group."""

NESTED = {"init_args", "class_path", "dict_kwargs", "help"}
"""What may stand between a group and its arguments."""


def refuse_misspelt(argv: Sequence[str]) -> None:
    """Refuse names that do not exist, with the nearest one that does.

    Args:
        argv: arguments of `fit`.

    Raises:
        UserError: an experiment, a class or a key does not exist.
    """
    chosen, values = chosen_classes(argv), dict(pairs(argv))
    if "config" in values:
        return  # whatever it holds is checked when it is read
    for group in chosen:
        if named := values.get(group) or values.get(f"{group}.class_path"):  # a file's are checked where the file can be named
            refuse_class(group, named)
    for key in dict.fromkeys(key for key, _ in pairs(argv)):
        refuse_key(key, chosen)


def chosen_classes(argv: Sequence[str]) -> dict[str, str | None]:
    """Return which data set and which network a call chooses, by its experiments and flags; None where they do not say.

    Raises:
        UserError: an experiment does not exist.
    """
    values = dict(pairs(argv))
    chosen: dict[str, str | None] = {"data": None, "model": None}
    for key, value in pairs(argv):
        if key == "exp":
            for name in value.strip("[]").split(","):
                if name.strip(" '\""):
                    note_classes(find_experiment(name.strip(" '\"")), chosen)
    return {group: values.get(group) or values.get(f"{group}.class_path") or name for group, name in chosen.items()}


def pairs(argv: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Yield the options of a command line with their values; a later one of the same name wins."""
    for place, argument in enumerate(argv):
        if argument.startswith("--") and len(argument) > 2:  # noqa: PLR2004 - the two dashes alone
            key, equals, value = argument[2:].partition("=")
            following = argv[place + 1] if place + 1 < len(argv) else ""
            yield key.rstrip("+"), value if equals else following


def note_classes(file: Path, chosen: dict[str, str | None]) -> None:
    """Note which data set and which network an experiment file chooses."""
    content: dict[str, Any] = read_mapping(file, "keys such as model, data and trainer")
    for group in chosen:
        section = content.get(group)
        if isinstance(section, dict) and isinstance(section.get("class_path"), str):
            chosen[group] = section["class_path"]


def refuse_class(group: str, name: str) -> None:
    """Refuse a class of this package that does not exist; one of another package has a dot in its name."""
    known = accepted()[group].classes
    if "." in name or name in known or not name.isidentifier():
        return
    near = nearest(name, known)
    raise UserError(f"command line: {group}: class '{name}' is not known{near or '.'} There are: {', '.join(known)}")


def refuse_key(key: str, chosen: dict[str, str | None]) -> None:
    """Refuse a key that nothing takes."""
    groups = accepted()
    group, *parts = key.split(".")
    if group not in groups:
        if group not in WHOLE and not group.startswith("no_"):
            raise unknown_key(key, nearest(group, [*WHOLE, *groups], "".join(f".{part}" for part in parts)))
        return
    while parts and parts[0] in NESTED:
        if parts.pop(0) in {"class_path", "dict_kwargs", "help"}:
            return
    if not parts or not parts[0] or not is_known(chosen.get(group), groups[group]):
        return
    arguments = groups[group].arguments(chosen.get(group))
    if parts[0] not in arguments:
        found = get_close_matches(parts[0], arguments, n=1)
        raise unknown_key(key, f"; did you mean {group}.{found[0]}?" if found else "")


def is_known(chosen: str | None, group: Accepted) -> bool:
    """Check whether the arguments of the chosen class can be known: not those of another package's."""
    return chosen is None or chosen in group.classes or "" in group.classes


def unknown_key(key: str, near: str) -> UserError:
    """Make the error for a key that nothing takes; `near` is the question for the nearest one."""
    return UserError(f"command line: key '{key}' is not known{near or ';'} `--print_config` lists the keys that are")


def nearest(name: str, known: Iterable[str], rest: str = "") -> str:
    """Ask for the nearest known name, with the rest of a key behind it; empty if none is near."""
    found = get_close_matches(name, known, n=1)
    return f"; did you mean {found[0]}{rest}?" if found else ""
