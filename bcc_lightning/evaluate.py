"""Evaluate a finished run: on its own test set, or on a labelled set that it was not tested on."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from bcc_lightning.argument_types import check_pixel_size
from bcc_lightning.cli.command import run_command
from bcc_lightning.cli.data_sets import DataOptionParser, build_data, names_data
from bcc_lightning.cli.options import add_network_options, refuse_unnamed_network
from bcc_lightning.errors import UserError
from bcc_lightning.files import refuse_unwritable_folder
from bcc_lightning.prediction.choices import METHODS, read_methods
from bcc_lightning.printable import printable
from bcc_lightning.verb import Verb

if TYPE_CHECKING:
    from bcc_lightning.engine.evaluator import Evaluation
    from bcc_lightning.engine.robustness import RobustnessReport

EXAMPLE = "--run house --data.test_on '[clinic]' --out evaluated"


def main(argv: list[str] | None = None) -> int:
    """Run ``python -m bcc_lightning.evaluate --run R [--data NAME ... | --data.test_on '[...]'] --out DIR``.

    Args:
        argv: arguments without the program's name; by default those of the process.

    Returns:
        Exit code: 0 when everything was evaluated, written and filed, 2 after an error that a person can mend.
    """
    return run_command(run, argv)


def read_options(argv: list[str]) -> tuple[Namespace, list[str]]:
    """Read the options of a call, and the flags of the data set that it names with ``--data``, if any.

    Raises:
        UserError: one is wrong.
    """
    parser = DataOptionParser("evaluate", __doc__, EXAMPLE)
    out = "folder of evaluation.html, .json and predictions.parquet"
    parser.add_argument("--out", type=str, required=True, metavar="DIR", help=out)
    places = "further sets: folders of class folders, or tables; --data NAME names any other data set instead"
    parser.add_argument("--data.test_on", type=list[str] | None, default=None, help=places)
    mapped = "classes of the sets: what the run calls them, such as {NEUT: neutrophil}; null leaves one out"
    parser.add_argument("--data.class_map", type=dict[str, str | None] | None, default=None, help=mapped)
    sizes = "micrometres that a pixel of a set covers, such as {clinic: 0.05}, where its table does not say"
    parser.add_argument("--data.test_pixel_size", type=dict[str, float] | None, default=None, help=sizes)
    parser.add_argument("--name", type=str | None, default=None, help="name of a further set; by default its folder's")
    parser.add_argument("--file", type=bool, default=True, help="store the results in the run")
    adapt = f"adapt the network to a further set, without its labels: {', '.join(METHODS)}, or several joined by commas"
    parser.add_argument("--adapt", type=str | None, default=None, metavar="METHODS", help=adapt)
    faults = "classify the run's own test set with eleven image faults at five severities instead; see robustness.html"
    parser.add_argument("--robustness", type=bool, default=False, help=faults)
    parser.add_argument("--gallery", type=bool, default=True, help="draw the worst mistakes and the least sure cells")
    add_network_options(parser)
    options = parser.read_with_data(argv) if names_data(argv) else parser.read(argv)
    refuse_unwritable_folder("--out", Path(options["out"]))
    for name, size in (options["data"]["test_pixel_size"] or {}).items():
        check_pixel_size(size, f"--data.test_pixel_size of {name}")
    read_methods(options["adapt"])
    if options["robustness"]:
        refuse_beside_robustness(options, parser.flags)
    refuse_unnamed_network(options)
    return options, parser.flags


def refuse_beside_robustness(options: Namespace, flags: list[str]) -> None:
    """Refuse what goes with further sets only: faults are measured on the own test set, of the network as it is.

    Raises:
        UserError: with the options.
    """
    given = {f"--data.{name}": options["data"][name] for name in ("test_on", "class_map", "test_pixel_size")}
    given = {"--data": flags, **given, **{f"--{name}": options[name] for name in ("name", "adapt")}}
    if named := [option for option, value in given.items() if value]:
        raise UserError(
            f"--robustness tests the network as it is on the run's own test set, without {' and '.join(named)}. Next step: leave "
            f"{'it' if len(named) == 1 else 'them'} out, or leave --robustness out to evaluate on further sets"
        )


def run(argv: list[str]) -> None:
    """Evaluate one network.

    Raises:
        UserError: something in the arguments, the run or the data has to be mended.
    """
    options, flags = read_options(argv)
    # Only now what takes seconds to load.
    from bcc_lightning.cli.networks import network_named
    from bcc_lightning.engine.evaluating import evaluate
    from bcc_lightning.engine.robustness import evaluate_robustness

    out, network = Path(options["out"]), network_named(options)
    if options["robustness"]:
        print(printable(describe_robustness(evaluate_robustness(network, out, options["file"]))))
        return
    common = {name: options[name] for name in ("name", "file", "gallery")} | {"methods": read_methods(options["adapt"])}
    if flags:
        found = evaluate(network, out, data=build_data(flags), **common)
    else:
        named = options["data"]
        told = {name: named[name] for name in ("class_map", "test_pixel_size")}
        found = evaluate(network, out, test_on=named["test_on"] or (), **told, **common)
    for one in found:
        print(printable(describe(one)))


def describe_robustness(report: "RobustnessReport") -> str:
    """Describe the errors under faults for the terminal."""
    found = report.robustness.as_dict()
    worst = max(found["errors"], key=lambda name: sum(found["errors"][name]))
    mean = sum(found["errors"][worst]) / len(found["errors"][worst])
    return (
        f"{report.cells:,} cells with faults: balanced error {found['BE']:.2f} and its increase {found['rBE']:.2f} relative "
        f"to AlexNet's; the error is {100 * found['clean']:.1f} % without faults, {100 * mean:.1f} % with {worst}, the worst\n"
        f"written to {report.folder / 'robustness.html'}"
    )


def describe(found: "Evaluation") -> str:
    """Describe an evaluation for the terminal."""
    from bcc_lightning.engine.evaluator import PAGE

    one = found.assessment
    low, high = one.intervals["accuracy"]
    lines = [
        f"{one.name}: accuracy {one.accuracy:.4f} (95 % interval {low:.4f} to {high:.4f}; most frequent class, "
        f"{one.most_frequent_class}: {one.most_frequent:.4f}), balanced accuracy {one.balanced_accuracy:.4f}, {one.cells:,} cells"
    ]
    if found.own_test:
        own = found.own_test
        lines.append(
            f"own test: accuracy {own.accuracy:.4f} (most frequent class: {own.most_frequent:.4f}), balanced accuracy "
            f"{own.balanced_accuracy:.4f}, {own.cells:,} cells"
        )
    lines += [*found.notices, *one.notes]
    lines.append(f"written to {found.folder / PAGE}. {found.filed}")
    return "\n".join(lines)


sys.modules[__name__].__class__ = Verb

if __name__ == "__main__":
    sys.exit(main())
