"""Compare finished runs on the same cells: which is better, by how much, and whether that may be chance."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from bcc_lightning.cli.command import run_command
from bcc_lightning.cli.options import OptionParser, add_network_options, refuse_unnamed_network
from bcc_lightning.files import refuse_missing, refuse_unwritable_folder
from bcc_lightning.printable import print_table, printable
from bcc_lightning.verb import Verb

if TYPE_CHECKING:
    from bcc_lightning.engine.comparison import Comparison

EXAMPLE = "--run house --run efficientswin --out compared"

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


def read_options(argv: list[str]) -> Namespace:
    """Read the options of a call.

    Raises:
        UserError: one is wrong.
    """
    parser = OptionParser("compare", __doc__, EXAMPLE)
    out = "folder that gets comparison.html, .json, .md and .csv"
    parser.add_argument("--out", type=str, required=True, metavar="DIR", help=out)
    sets = "test, validation, or a further test set that all runs have"
    parser.add_argument("--set", type=str, default="test", metavar="NAME", help=sets)
    moved = "folder of the run's cells, if it has moved"
    parser.add_argument("--data.root", type=str | None, default=None, metavar="DIR", help=moved)
    add_network_options(parser)
    options = parser.read(argv)
    refuse_unwritable_folder("--out", Path(options["out"]))
    if options["data"]["root"]:
        refuse_missing(Path(options["data"]["root"]), f"name the {moved}", "--data.root")
    refuse_unnamed_network(options, several=True)
    return options


def run(argv: list[str]) -> None:
    """Compare the runs that are named.

    Raises:
        UserError: something in the arguments has to be mended, or the runs cannot be compared.
    """
    options = read_options(argv)
    # Only now what takes seconds to load.
    from bcc_lightning.cli.networks import networks_named
    from bcc_lightning.engine.comparing import compare

    out = Path(options["out"])
    print_comparison(compare(networks_named(options), out, options["set"], options["data"]["root"]))
    print(printable(f"written to {out / 'comparison.html'}"))


def print_comparison(found: "Comparison") -> None:
    """Print the figures in tables that fit a terminal, and the verdict in sentences; the page has the rest."""
    from bcc_lightning.engine.comparison_page import differences_table, metrics_table
    from bcc_lightning.evaluation.metrics import in_words

    headings, rows = metrics_table(found)
    print(printable("\n".join(found.names)))
    title = f"{in_words(found.name)}: {found.figures.cells:,} cells; 95 % interval in brackets"
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
