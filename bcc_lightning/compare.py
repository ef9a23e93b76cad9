"""Compare finished runs on the same cells: which is better, by how much, and may it be chance."""

import sys
from pathlib import Path

from bcc_lightning.cli.command import run_command
from bcc_lightning.cli.networks import network_parser, networks_named, read_options
from bcc_lightning.cli.parser import ExperimentParser
from bcc_lightning.engine.comparing import compare
from bcc_lightning.engine.comparison import Comparison
from bcc_lightning.engine.comparison_page import differences_table, metrics_table
from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.metrics import TEST, in_words
from bcc_lightning.files import refuse_unwritable_folder
from bcc_lightning.printable import print_table, printable
from bcc_lightning.verb import Verb

TOLD = 3
"""Pairs that are told in sentences on the terminal."""


def main(argv: list[str] | None = None) -> int:
    """Run ``python -m bcc_lightning.compare --run A --run B [...] --out DIR [--set NAME]``.

    Args:
        argv: arguments without the program's name; by default those of the process.

    Returns:
        Exit code: 0 when all was written, 2 after an error that a person can mend.
    """
    return run_command(run, argv)


def run(argv: list[str]) -> None:
    """Compare the runs that are named.

    Raises:
        UserError: something in the arguments has to be mended, or the runs cannot be compared.
    """
    options = read_options(network_parser("compare", declare), argv)
    if not options["out"]:
        raise UserError("--out DIR is missing; it names the folder of comparison.html, .json, .md and .csv")
    out = Path(options["out"])
    refuse_unwritable_folder("--out", out)
    found = compare(networks_named(options), out, options["set"], options["data"]["root"])
    print_comparison(found)
    print(printable(f"written to {out / 'comparison.html'}"))


def declare(parser: ExperimentParser) -> None:
    """Declare the command's own options."""
    parser.add_argument("--out", type=str | None, default=None, help="folder that gets comparison.html, .json, .md and .csv")
    parser.add_argument("--set", type=str, default=TEST, help="test, validation, or a further test set that all runs have")
    parser.add_argument("--data.root", type=str | None, default=None, help="folder of the run's cells, if it has moved")


def print_comparison(found: Comparison) -> None:
    """Print the figures in tables that fit a terminal, and the verdict in sentences; the page has the rest."""
    headings, rows = metrics_table(found)
    print(printable("\n".join(found.names)))
    title = f"{in_words(found.name)}: {found.figures.cells:,} cells; in brackets the 95 % interval"
    if len(found.figures.pairs) == 1:
        print_table(title, ["", *found.letters, headings[-1]], broken(rows))
    else:
        columns = [
            [row[0], *(cell if place == 0 else cell.partition(" (")[0] for cell in row[1:])] for place, row in enumerate(rows)
        ]
        print_table(
            title,
            ["", *(column[0] for column in columns)],
            broken(list(map(list, zip(found.letters, *(c[1:] for c in columns), strict=True)))),
        )
        headings, rows = differences_table(found)
        print_table("differences", [*headings[:2], *headings[6:]], broken([[*row[:2], *row[6:]] for row in rows]))
    for sentence in found.verdict if len(found.figures.pairs) <= TOLD else found.summary:
        print(printable(sentence))


def broken(rows: list[list[str]]) -> list[list[str]]:
    """Put each interval below its figure, so that the table fits a terminal."""
    return [[name, *(value.replace(" (", "\n(") for value in values)] for name, *values in rows]


sys.modules[__name__].__class__ = Verb

if __name__ == "__main__":
    sys.exit(main())
