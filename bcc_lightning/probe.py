"""Measure how much simple classifiers read from the features of a pretrained backbone, or of a trained network."""

import sys
from pathlib import Path

from bcc_lightning.cli.command import run_command
from bcc_lightning.cli.networks import read_options
from bcc_lightning.cli.parser import ExperimentParser
from bcc_lightning.embedding.choices import FOLDS, PAGE
from bcc_lightning.embedding.features import embed
from bcc_lightning.embedding.options import extractor_and_data, extractor_parser
from bcc_lightning.embedding.report import TITLES, Probe, probe
from bcc_lightning.errors import UserError
from bcc_lightning.files import refuse_unwritable_folder
from bcc_lightning.printable import print_table, printable
from bcc_lightning.verb import Verb


def main(argv: list[str] | None = None) -> int:
    """Run ``python -m bcc_lightning.probe --backbone B|--run R --data NAME ... --out DIR``.

    Args:
        argv: arguments without the program's name; by default those of the process.

    Returns:
        Exit code: 0 when the page is written, 2 after an error that a person can mend.
    """
    return run_command(run, argv)


def declare(parser: ExperimentParser) -> None:
    """Declare the command's own options."""
    parser.add_argument("--out", type=str, required=True, help=f"folder of {PAGE}, its tables and figures")
    folds = "stratified folds, by default as the field's protocol has them; 0 takes the data set's own training and test sets"
    parser.add_argument("--folds", type=int, default=FOLDS, help=folds)
    parser.add_argument("--few_shot", type=bool, default=True, help="whether few labelled cells are tried as well")


def run(argv: list[str]) -> None:
    """Probe a network.

    Raises:
        UserError: something in the arguments, the weights or the data has to be mended.
    """
    parser = extractor_parser("probe", declare)
    options = read_options(parser, argv)
    out, folds = Path(options["out"]), options["folds"]
    if folds < 0 or folds == 1:
        raise UserError(f"--folds is {folds}; it must be 0, or a whole number from 2")
    refuse_unwritable_folder("--out", out)
    extractor, data = extractor_and_data(parser, options)
    found = probe(embed(data, extractor), out, folds, options["few_shot"])
    show(found)
    print(printable(f"written to {out / PAGE}"))


def show(probe: Probe) -> None:
    """Print what was found."""
    rows = [(one.name, *in_digits(one.metrics, one.intervals)) for one in probe.results]
    title = f"{probe.extractor}: {probe.width} features, {probe.division}"
    print_table(title, ("classifier", *TITLES.values()), rows)
    print(f"most frequent class: {probe.results[0].most_frequent:.4f}")
    if probe.few:
        rows = [(f"{one.cells} of each class", *in_digits(one.metrics, one.ranges)) for one in probe.few]
        title = f"logistic regression on few cells; 95 % of {probe.few[0].draws} draws"
        print_table(title, ("labelled cells", *TITLES.values()), rows)
    if probe.contamination:
        print(printable(f"warning: {probe.contamination}"), file=sys.stderr)
    near = f"Of the cells nearest to a cell, {100 * probe.of_class:.1f} % have its class"
    print(near + ("" if probe.of_laboratory is None else f", {100 * probe.of_laboratory:.1f} % are of its laboratory"))


def in_digits(metrics: dict[str, float], limits: dict[str, tuple[float, float]]) -> list[str]:
    """Format metrics with their limits."""
    return [f"{metrics[name]:.4f} ({limits[name][0]:.4f} to {limits[name][1]:.4f})" for name in TITLES]


sys.modules[__name__].__class__ = Verb

if __name__ == "__main__":
    sys.exit(main())
