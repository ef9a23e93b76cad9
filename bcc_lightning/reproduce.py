"""Compare finished runs with the published figures, in a table as Markdown, HTML and CSV."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from bcc_lightning.cli.command import run_command
from bcc_lightning.cli.options import OptionParser, add_place_options, tracking_named
from bcc_lightning.files import refuse_unwritable_folder

if TYPE_CHECKING:
    from bcc_lightning.reproduction.table import Row

EXAMPLE = "--out reproduced"


def main(argv: list[str] | None = None) -> int:
    """Run ``python -m bcc_lightning.reproduce --out DIR``.

    Args:
        argv: arguments without the program's name; by default those of the process.

    Returns:
        Exit code.
    """
    return run_command(reproduce, argv)


def read_options(argv: list[str]) -> Namespace:
    """Read the options of a call.

    Raises:
        UserError: one is wrong.
    """
    parser = OptionParser("reproduce", __doc__, EXAMPLE)
    out = "folder that gets table.md, table.html and table.csv"
    parser.add_argument("--out", type=str, required=True, metavar="DIR", help=out)
    only = "only these runs count; by default all that have finished (repeatable)"
    parser.add_argument("--run", action="append", default=[], metavar="RUN", help=only)
    add_place_options(parser)
    options = parser.read(argv)
    refuse_unwritable_folder("--out", Path(options["out"]))
    return options


def reproduce(argv: list[str]) -> None:
    """Write the table.

    Raises:
        UserError: the store, or a run that is named, does not exist.
    """
    options = read_options(argv)
    # Only now what takes seconds to load.
    from bcc_lightning.reproduction.table import table, write_table
    from bcc_lightning.tracking.finished_runs import find_run, finished_runs

    tracking = tracking_named(options)
    runs = [find_run(tracking, run) for run in options["run"]] or finished_runs(tracking)
    rows = table(runs)
    files = write_table(rows, Path(options["out"]))
    for row in rows:
        if row.runs:
            print(line(row))
    print(f"systems with a finished run: {sum(bool(row.runs) for row in rows)} of {len(rows)}; {', '.join(map(str, files))}")


def line(row: "Row") -> str:
    """Format a row for the terminal."""
    published = row.system.figures[0].percent if row.system.figures else "no figure"
    measured = ", ".join(
        f"{name} {result}"
        for name, result in (("as published", row.as_published), ("corrected", row.corrected), ("packaged weights", row.lite))
        if result is not None
    )
    return f"{row.system.experiment:<30}published {published}; {measured}"


if __name__ == "__main__":
    sys.exit(main())
