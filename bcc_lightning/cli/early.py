"""Checks that need none of the libraries: experiments, classes, keys, values and data, before anything heavy is imported."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from bcc_lightning.argument_types import Range, check_choice
from bcc_lightning.cli.accepted import Accepted, Argument, accepted
from bcc_lightning.cli.experiment_files import find_experiment
from bcc_lightning.cli.values import NOTHING, refusing_types
from bcc_lightning.cli.wording import PRINTED, refused_value, unknown_class
from bcc_lightning.datasets import places
from bcc_lightning.errors import UserError, nearest
from bcc_lightning.files import read_mapping
from bcc_lightning.tracking.recipe import flatten
from bcc_lightning.transforms.recipes import refuse_unknown_pipeline

WHOLE = {
    *("exp", "resume", "folds", "repeats", "summary", "seed_everything", "config", "print_config", "help", "trust", "traceback"),
    *("stages", "optimizer", "lr_scheduler", "ckpt_path", "verbose", "weights_only"),
}
"""Keys that have no group."""

OTHERWISE = {
    "epochs": "trainer.max_epochs",
    "max_epochs": "trainer.max_epochs",
    "lr": "model.lr",
    "learning_rate": "model.lr",
    "batch_size": "data.batch_size",
    "image_size": "data.image_size",
    "root": "data.root",
    "seed": "seed_everything",
    "model.learning_rate": "model.lr",
    "trainer.epochs": "trainer.max_epochs",
}
"""What other programs call a key, and its name here."""

NESTED = {"init_args", "class_path", "dict_kwargs", "help"}
"""What may stand between a group and its arguments."""


def numbers(allowed: str, least: float, besides: float | None = None) -> Range:
    """Return the range of a number; a text that is none is left to the parser.

    Args:
        allowed: the range in words.
        least: the smallest number that is allowed.
        besides: a number below it that is allowed too.
    """

    def holds(value: str) -> bool:
        """Check a value as it is written."""
        try:
            return float(value) >= least or float(value) == besides
        except ValueError:
            return True

    return allowed, holds


MOST_SEED = 2**32 - 1
"""NumPy's generators take no larger one."""

RANGES: dict[str, Range] = {
    "seed_everything": (f"0 to {MOST_SEED}", lambda value: not re.fullmatch(r"[+-]?\d+", value) or 0 <= int(value) <= MOST_SEED),
    "trainer.devices": numbers("-1, which takes all GPUs, or 1 or more", 1, besides=-1),
    "trainer.num_nodes": numbers("1 or more", 1),
    "trainer.max_epochs": numbers("-1, which sets no limit, or 0 or more", 0, besides=-1),
    "trainer.max_steps": numbers("-1, which sets no limit, or 0 or more", 0, besides=-1),
    "trainer.max_time": (
        "DD:HH:MM:SS, such as 00:01:30:00 for an hour and a half",
        lambda value: value.lower() in {*NOTHING, "none"} or bool(re.fullmatch(r"\d+(:\d\d){3}|\{.*\}", value.strip())),
    ),
    "trainer.accumulate_grad_batches": numbers("1 or more", 1),
    "trainer.check_val_every_n_epoch": numbers("1 or more", 1),
    "trainer.log_every_n_steps": numbers("0 or more", 0),
    **{f"trainer.limit_{part}_batches": numbers("0 or more", 0) for part in ("train", "val", "test")},
}
"""Numbers and texts that Lightning takes; what is wrong with them it says only once a run is open."""

CHOICES: dict[str, Any] = {
    "trainer.accelerator": Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"],
    "selection.monitor": Literal["val/accuracy", "val/f1_macro", "val/loss", "train/accuracy", "train/loss"],
}
"""Names that Lightning takes, and metrics of an epoch."""


def refuse_misspelt(argv: Sequence[str], listed: str = PRINTED, further: Sequence[str] = ()) -> None:
    """Refuse names and values that do not exist, with the nearest one that does.

    Args:
        argv: arguments of `fit`.
        listed: where the keys are listed.
        further: options that the command has beside those of `fit`.

    Raises:
        UserError: an experiment, a class or a key does not exist, or a value is not of the key's type.
    """
    chosen, values = chosen_classes(argv), dict(pairs(argv))
    if "config" in values:
        return  # whatever it holds is checked when it is read
    for group in chosen:
        if named := values.get(group) or values.get(f"{group}.class_path"):  # a file's are checked where the file can be named
            refuse_class(group, named)
    for key, value in pairs(argv):
        refuse_key(key, value, chosen, listed, further)
    refuse_out_of_range(argv, chosen)


def refuse_out_of_range(argv: Sequence[str], chosen: dict[str, str | None]) -> None:
    """Refuse values of Lightning's that fail only once a run is open, in a flag or in an experiment's file.

    Raises:
        UserError: with the first, and what is allowed.
    """
    given = {key: value for key, value in settings(argv).items() if value and not value.startswith("--")}  # which has no value
    for key, (allowed, holds) in RANGES.items():
        if key in given and not holds(given[key]):
            raise UserError(f"--{key} is {given[key]}, it must be {allowed}")
    for key, choices in CHOICES.items():
        # What has a dot is a class of another package; so may be the network, with metrics of its own.
        own = key != "selection.monitor" or is_known(chosen["model"], accepted()["model"])
        if own and "." not in given.get(key, "."):
            check_choice(key, given[key], choices)


def settings(argv: Sequence[str]) -> dict[str, str]:
    """Return the values that experiments and flags give by key, as they would be written; flags win."""
    found: dict[str, str] = {}
    for file in experiments_named(argv):
        found |= flatten(file)
    return found | {key.replace(".init_args.", "."): value for key, value in pairs(argv)}


def chosen_classes(argv: Sequence[str]) -> dict[str, str | None]:
    """Return which data set and which network a call chooses, by its experiments and flags; None where they do not say.

    Raises:
        UserError: an experiment does not exist.
    """
    values = dict(pairs(argv))
    found: dict[str, str | None] = {}
    for group in ("data", "model"):
        sections = [file.get(group) for file in experiments_named(argv)]
        of_files = [section["class_path"] for section in sections if isinstance(section, dict) and "class_path" in section]
        named = values.get(group) or values.get(f"{group}.class_path") or next(reversed(of_files), None)
        found[group] = named if isinstance(named, str) else None
    return found


def experiments_named(argv: Sequence[str]) -> list[dict[str, Any]]:
    """Read the experiment files that a call names; raises as `chosen_classes`."""
    lists = [value.strip("[]").split(",") for key, value in pairs(argv) if key == "exp"]
    names = [name.strip(" '\"") for names in lists for name in names]
    return [read_mapping(find_experiment(name), "keys such as model, data and trainer") for name in names if name]


def pairs(argv: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Yield the options of a command line with their values; a later one of the same name wins."""
    for place, argument in enumerate(argv):
        if argument.startswith("--") and len(argument) > 2:  # noqa: PLR2004 - the two dashes alone
            key, equals, value = argument[2:].partition("=")
            following = argv[place + 1] if place + 1 < len(argv) else ""
            yield key.rstrip("+"), value if equals else following


def refuse_class(group: str, name: str) -> None:
    """Refuse a class of this package that does not exist; one of another package has a dot in its name."""
    if "." not in name and name not in accepted()[group].classes and name.isidentifier():
        raise UserError(f"command line: {unknown_class(group, name)}")


def refuse_key(key: str, value: str, chosen: dict[str, str | None], listed: str, further: Sequence[str]) -> None:
    """Refuse a key that nothing takes, and a value that is not of its type."""
    groups = accepted()
    group, *parts = key.split(".")
    if group not in groups:
        if group not in WHOLE and not group.startswith("no_"):
            near = other_name(key) or nearest(group, [*further, *WHOLE, *groups], ".".join(["{}", *parts]))
            raise unknown_key(key, near, listed)
        return
    while parts and parts[0] in NESTED:
        if parts.pop(0) in {"class_path", "dict_kwargs", "help"}:
            return
    if not parts or not parts[0] or not is_known(chosen.get(group), groups[group]):
        return
    arguments = groups[group].arguments(chosen.get(group))
    if parts[0] not in arguments:
        raise unknown_key(key, other_name(key) or nearest(parts[0], arguments, f"{group}.{{}}"), listed)
    if parts == [parts[0]] and value and not value.startswith("--"):
        refuse_value(f"{group}.{parts[0]}", value, arguments[parts[0]])


def other_name(key: str) -> str:
    """Ask whether the key was meant that other programs call so, as `nearest`; empty if there is none."""
    return f"; did you mean {OTHERWISE[key]}?" if key in OTHERWISE else ""


def refuse_value(key: str, value: str, argument: Argument) -> None:
    """Refuse a value that is not of the type of its key, or names no augmentation."""
    if types := refusing_types(argument.annotation, argument.file, value):
        raise UserError("command line: " + refused_value(f"key '{key}'", types, value))
    if key == "data.augment" and re.fullmatch(r"[\w./~-]+", value):
        refuse_unknown_pipeline(value)


def is_known(chosen: str | None, group: Accepted) -> bool:
    """Check whether the arguments of the chosen class can be known: not those of another package's."""
    return chosen is None or chosen in group.classes or "" in group.classes


def unknown_key(key: str, near: str, listed: str) -> UserError:
    """Make the error for a key that nothing takes; `near` is the question for the nearest one."""
    return UserError(f"command line: key '{key}' is not known{near or ';'} {listed}")


def refuse_missing_data(argv: Sequence[str]) -> None:
    """Refuse a call whose data set is not there; what another configuration file may still change is not looked at.

    Args:
        argv: arguments of `fit`.

    Raises:
        UserError: with the next step.
    """
    if {"config", "print_config"} & {key for key, _ in pairs(argv)}:
        return
    chosen, given = chosen_classes(argv)["data"], arguments_of_data(argv)
    resolution = given.get("resolution", str(places.SMALLEST_RESOLUTION))
    if chosen not in accepted()["data"].classes or not resolution.isdigit():  # a file's mistakes are told with its name
        return
    root = Path(given["root"]) if given.get("root") else places.data_folder(accepted()["data"].folders[chosen])
    if given.get("split_file"):
        places.refuse_missing_split(Path(given["split_file"]))
    if chosen == "BloodMNIST" and given.get("download", "false").lower() == "false":
        places.refuse_missing_bloodmnist(root, int(resolution))
    elif chosen == "AN2DL":
        places.refuse_missing_an2dl(root)
    elif chosen == "CellTable" and given.get("table"):
        places.refuse_missing_table(Path(given["table"]))
    elif chosen in {"CellFolder", "CellTable", "PBC", "RaabinWBC"}:
        places.refuse_missing_folder(root)


def arguments_of_data(argv: Sequence[str]) -> dict[str, str]:
    """Return the arguments of the data set that experiments and flags give, as they would be written."""
    own = {key.removeprefix("data."): value for key, value in settings(argv).items() if key.startswith("data.")}
    return {name: value for name, value in own.items() if value.lower() not in NOTHING}
