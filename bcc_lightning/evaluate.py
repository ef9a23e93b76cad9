"""Evaluate a finished run: its own test set, or a labelled set that it was not tested on."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bcc_lightning.api import Verb
from bcc_lightning.cli.command import run_command

if TYPE_CHECKING:
    from bcc_lightning.cli.parser import ExperimentParser


def main(argv: list[str] | None = None) -> int:
    """Run ``python -m bcc_lightning.evaluate --run R [--data NAME --data.root D | --data.test_on '[...]'] --out DIR``.

    Args:
        argv: arguments without the program's name; by default those of the process.

    Returns:
        Exit code: 0 when done, 2 after an error that a person can mend.
    """
    return run_command(evaluate, argv)


def declare(parser: "ExperimentParser") -> None:
    """Declare the options of the command."""
    parser.add_argument("--out", type=str, required=True, help="folder that is written")
    parser.add_argument("--name", type=str | None, default=None, help="name of the set; by default that of its folder")
    parser.add_argument("--file", type=bool, default=True, help="file the figures of a further set in the run")


def evaluate(argv: list[str]) -> None:
    """Evaluate a finished run.

    Raises:
        UserError: something in the arguments, the run or the set has to be mended.
    """
    from bcc_lightning.cli.data_options import data_named, separate_data
    from bcc_lightning.cli.networks import network_named, network_parser, read_options
    from bcc_lightning.engine.evaluating import evaluate_network
    from bcc_lightning.files import refuse_unwritable_folder

    data_flags, flags = separate_data(argv)
    options = read_options(network_parser("evaluate", declare), flags)
    out = Path(options["out"])
    refuse_unwritable_folder("--out", out)
    evaluate_network(network_named(options), out, **data_named(data_flags), name=options["name"], file=options["file"])


sys.modules[__name__].__class__ = Verb

if __name__ == "__main__":
    sys.exit(main())
