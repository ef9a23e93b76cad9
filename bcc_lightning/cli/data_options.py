"""The options that name data on which a finished run is evaluated: ``--data NAME --data.*``, or ``--data.test_on``."""

from typing import Any

from bcc_lightning.cli.command import separate
from bcc_lightning.cli.parser import ExperimentParser, load_yaml, plain_words
from bcc_lightning.datamodules import CellDataModule
from bcc_lightning.errors import UserError

FURTHER = ("data.test_on", "data.class_map")


def separate_data(argv: list[str]) -> tuple[list[str], list[str]]:
    """Separate the arguments that begin with ``--data``, with their values, from all others."""
    names = {argument.removeprefix("--").partition("=")[0] for argument in argv if argument.startswith("--data")}
    values, rest = separate(argv, sorted(name for name in names if name == "data" or name.startswith("data.")))
    return [f"--{name}={value}" for name, given in values.items() for value in given], rest


def data_named(flags: list[str]) -> dict[str, Any]:
    """Read what to evaluate on.

    Args:
        flags: arguments that begin with ``--data``.

    Returns:
        ``data`` (class and arguments of a data module) or ``test_on`` and ``class_map``; empty for the run's own test set.

    Raises:
        UserError: an argument is unknown, has a value that is not allowed, or lacks ``--data NAME``.
    """
    named = any(flag.startswith("--data=") for flag in flags)
    if not named:
        values, other = separate(flags, FURTHER)
        if other:
            raise UserError(
                f"{other[0].partition('=')[0]} needs --data NAME, or name further test sets with --data.test_on '[...]'"
            )
        test_on, class_map = (load_yaml(values[name][-1]) if values[name] else None for name in FURTHER)
        if class_map and not test_on:
            raise UserError("--data.class_map needs --data.test_on '[...]' or --data NAME")
        if test_on is None:
            return {}
        return {"test_on": [test_on] if isinstance(test_on, str) else test_on, "class_map": class_map or {}}
    parser = ExperimentParser()
    parser.add_subclass_arguments(CellDataModule, "data", required=True)
    try:
        config = parser.parse_args(sorted(flags, key=lambda flag: not flag.startswith("--data=")))["data"].as_dict()
    except UserError as error:
        raise UserError(f"command line: {plain_words(str(error))}") from error
    return {"data": config}
