"""Explain the answers of a finished run for single images, or measure how far its maps can be trusted."""

import sys
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from bcc_lightning.cli.command import run_command
from bcc_lightning.cli.options import OptionParser, add_network_options, refuse_below, refuse_unnamed_network
from bcc_lightning.errors import UserError
from bcc_lightning.explanation.choices import CELLS, DEFAULT_METHOD, LAYOUT, METHODS, NEIGHBOURS, refuse_unknown_method
from bcc_lightning.files import refuse_missing, refuse_unwritable_folder
from bcc_lightning.prediction.choices import INPUTS, refuse_missing_input
from bcc_lightning.verb import Verb

EXAMPLE = "cell.png --run house --out explained"

EXIT_UNREADABLE = 1
"""Exit code where files could not be read; all others were explained."""

FEWEST_CELLS = 10
"""Fewer test cells give no interval worth the name."""


def main(argv: list[str] | None = None) -> int:
    """Run ``python -m bcc_lightning.explain --run R IMAGE... --out DIR`` or ``... --faithfulness [--masks DIR] --out DIR``.

    Args:
        argv: arguments without the program's name; by default those of the process.

    Returns:
        Exit code: 0 when all was explained, 1 when files could not be read, 2 after an error that a person can mend.
    """
    return run_command(explain, argv)


def read_options(argv: list[str]) -> Namespace:
    """Read the options of a call and check what takes no time: names, files that are read, files that are written.

    Raises:
        UserError: one is wrong.
    """
    parser = OptionParser("explain", __doc__, EXAMPLE)
    parser.add_argument("inputs", nargs="*", type=str, metavar="INPUT", help=INPUTS)
    parser.add_argument("--out", type=str, required=True, metavar="DIR", help="folder that gets the pages")
    names = f"one of {', '.join(METHODS)}; by default {DEFAULT_METHOD}, with --faithfulness all (repeatable)"
    parser.add_argument("--method", action="append", default=[], metavar="NAME", help=names)
    parser.add_argument("--neighbours", type=int, default=NEIGHBOURS, help="most similar training cells on a page; 0 for none")
    parser.add_argument("--faithfulness", action="store_true", help="score the methods on the run's test set instead")
    parser.add_argument("--masks", type=str | None, default=None, metavar="DIR", help=f"with --faithfulness: {LAYOUT}")
    parser.add_argument("--cells", type=int, default=CELLS, help="with --faithfulness: test cells, drawn from each class")
    parser.add_argument("--seed", type=int, default=0, help="with --faithfulness: seed of what is drawn")
    moved = "folder of the run's data, if they have moved"
    parser.add_argument("--data.root", type=str | None, default=None, metavar="DIR", help=moved)
    add_network_options(parser)
    options = parser.read(argv)
    refuse_contradictions(options)
    for method in options["method"]:
        refuse_unknown_method(method)
    refuse_unwritable_folder("--out", Path(options["out"]))
    for given in options["inputs"]:
        refuse_missing_input(given)
    for name, folder, what in (("--masks", options["masks"], LAYOUT), ("--data.root", options["data"]["root"], moved)):
        if folder:
            refuse_missing(Path(folder), f"name a {what}", name)
    refuse_unnamed_network(options)
    return options


def explain(argv: list[str]) -> int:
    """Explain images, or measure the faithfulness of maps.

    Raises:
        UserError: something in the arguments, the run or the inputs has to be mended.
    """
    options = read_options(argv)
    # Only now what takes seconds to load.
    from bcc_lightning.cli.networks import network_named

    return (measure if options["faithfulness"] else write_pages)(options, network_named(options))


def refuse_contradictions(options: Any) -> None:  # noqa: ANN401 - jsonargparse's namespace
    """Refuse options that do not belong together.

    Raises:
        UserError: with the next step.
    """
    if options["faithfulness"] and options["inputs"]:
        raise UserError(
            f"--faithfulness scores methods on the run's test set and takes no images, but {options['inputs'][0]} is named; "
            "leave out one of them"
        )
    if not (options["faithfulness"] or options["inputs"]):
        raise UserError("name images, folders or tables to explain, or score the methods with --faithfulness")
    if options["masks"] and not options["faithfulness"]:
        raise UserError("--masks belongs to --faithfulness; add it, or leave out --masks")
    if len(options["method"]) > 1 and not options["faithfulness"]:
        raise UserError(
            f"--method names {', '.join(options['method'])}; a page shows one method, --faithfulness compares several"
        )
    if options["cells"] < FEWEST_CELLS:
        raise UserError(f"--cells is {options['cells']}, it must be {FEWEST_CELLS} or more, usually 100")
    refuse_below(0, neighbours=options["neighbours"], seed=options["seed"])


def write_pages(options: Any, network: Any) -> int:  # noqa: ANN401 - jsonargparse's namespace
    """Explain images and print what was written."""
    from bcc_lightning.datasets.left_out import LeftOut
    from bcc_lightning.engine.explaining import explain_network
    from bcc_lightning.prediction.inputs import CellInputs
    from bcc_lightning.printable import printable

    inputs = CellInputs.of(options["inputs"])
    files = [cell.path for cell in inputs]
    left_out: LeftOut = inputs.left_out
    for notice in left_out.notices():
        print(printable(notice))
    method = next(iter(options["method"]), DEFAULT_METHOD)
    out = Path(options["out"])
    found = explain_network(network, files, out, method, options["neighbours"], options["data"]["root"])
    if found.notice:
        print(found.notice)
    if found.unreadable:
        lines = "\n".join(f"error: {text}" for text in found.unreadable)
        print(printable(f"{lines}\n{len(found.unreadable):,} of {len(files):,} files were not explained"), file=sys.stderr)
    first = found.index or found.pages[0]
    print(printable(f"{len(found.cells):,} cell{'' if len(found.cells) == 1 else 's'} explained; open {first}"))
    return EXIT_UNREADABLE if found.unreadable else 0


def measure(options: Any, network: Any) -> int:  # noqa: ANN401 - jsonargparse's namespace
    """Score the methods and print the tables."""
    from bcc_lightning.engine.explaining import measure_faithfulness
    from bcc_lightning.explanation.faithfulness_report import print_faithfulness
    from bcc_lightning.printable import printable

    out = Path(options["out"])
    masks = Path(options["masks"]) if options["masks"] else None
    found = measure_faithfulness(
        network, out, masks, options["cells"], options["method"], options["seed"], options["data"]["root"]
    )
    print_faithfulness(found)
    print(printable(f"written to {out / 'faithfulness.html'}"))
    return 0


sys.modules[__name__].__class__ = Verb

if __name__ == "__main__":
    sys.exit(main())
