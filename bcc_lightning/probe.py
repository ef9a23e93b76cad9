"""Measure how much simple classifiers read from the features of a pretrained backbone, or of a trained network."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from bcc_lightning.cli.command import run_command
from bcc_lightning.cli.data_sets import DataOptionParser
from bcc_lightning.cli.early import arguments_of_data
from bcc_lightning.cli.options import tracking_named
from bcc_lightning.embedding.choices import FOLDS, PAGE, chosen_folds
from bcc_lightning.embedding.options import add_extractor_options, extractor_and_data, read_extractor_options
from bcc_lightning.files import refuse_unwritable_folder
from bcc_lightning.printable import print_table, printable
from bcc_lightning.verb import Verb

if TYPE_CHECKING:
    from bcc_lightning.embedding.features import Embedded
    from bcc_lightning.embedding.report import Probe
    from bcc_lightning.tracking.trained_networks import TrainedNetwork

EXAMPLE = "--backbone resnet18 --data CellFolder --data.root cells --out probed"


def main(argv: list[str] | None = None) -> int:
    """Run ``python -m bcc_lightning.probe --backbone B|--run R --data NAME ... --out DIR``.

    Args:
        argv: arguments without the program's name; by default those of the process.

    Returns:
        Exit code: 0 when the page is written, 2 after an error that a person can mend.
    """
    return run_command(run, argv)


def read_options(argv: list[str]) -> tuple[Namespace, list[str]]:
    """Read the options of a call, and the flags of the data set that it names.

    Raises:
        UserError: one is wrong.
    """
    parser = DataOptionParser("probe", __doc__, EXAMPLE)
    parser.add_argument("--out", type=str, required=True, metavar="DIR", help=f"folder of {PAGE}, its tables and figures")
    folds = f"stratified folds; 0: the data set's own training and test sets [{FOLDS}; with --data.leave_out 0]"
    parser.add_argument("--folds", type=int | None, default=None, metavar="N", help=folds)
    parser.add_argument("--few_shot", type=bool, default=True, help="whether few labelled cells are tried as well")
    add_extractor_options(parser)
    options = read_extractor_options(parser, argv)
    options["folds"] = chosen_folds(options["folds"], arguments_of_data(parser.flags).get("leave_out"))
    refuse_unwritable_folder("--out", Path(options["out"]))
    return options, parser.flags


def run(argv: list[str]) -> None:
    """Probe a network.

    Raises:
        UserError: something in the arguments, the weights or the data has to be mended.
    """
    options, flags = read_options(argv)
    # Only now what takes seconds to load.
    from bcc_lightning.embedding.features import OWN, embed
    from bcc_lightning.embedding.report import probe
    from bcc_lightning.engine.ancestors import ancestors

    out = Path(options["out"])
    extractor, data = extractor_and_data(options, flags)
    embedded = embed(data, extractor)
    if extractor.trained:
        evaluated = OWN if options["folds"] else ("test",)
        earlier = (extractor.trained, *ancestors(tracking_named(options), extractor.trained))
        seen = [sentence for one in earlier for sentence in learnt_from(one, embedded, evaluated)]
        embedded = replace(embedded, contamination=(*embedded.contamination, *seen))
    found = probe(embedded, out, options["folds"], options["few_shot"])
    show(found)
    print(printable(f"written to {out / PAGE}"))


def learnt_from(network: "TrainedNetwork", embedded: "Embedded", evaluated: Sequence[str]) -> list[str]:
    """Count the evaluated cells that a network was trained on, by their pixels; without its data, the reason is returned.

    Args:
        network: the network.
        embedded: the cells and their features.
        evaluated: names of the sets whose cells are classified.

    Returns:
        A sentence; none where it has seen none of them.
    """
    from bcc_lightning.datasets.cells import pixel_hashes
    from bcc_lightning.engine.ancestors import learnt_pixels

    learnt = learnt_pixels(network)
    if isinstance(learnt, str):
        return [f"Whether {network.title} was trained on these cells is not known: {learnt}."]
    tested = [pixels for one in embedded.sets if one.name in evaluated for pixels in pixel_hashes(one.cells)]
    if seen := sum(pixels in learnt for pixels in tested):
        many = f"{seen:,} of the {len(tested):,} cells that are classified here"
        return [f"{network.title} was trained on {many}, or chosen by them: the figures say little about new cells."]
    return []


def show(probe: "Probe") -> None:
    """Print what was found."""
    from bcc_lightning.embedding.report import TITLES

    rows = [(one.name, *in_digits(one.metrics, one.intervals, TITLES)) for one in probe.results]
    title = f"{probe.extractor}: {probe.width} features, {probe.division}"
    print_table(title, ("classifier", *TITLES.values()), rows)
    print(f"most frequent class: {probe.results[0].most_frequent:.4f}")
    if probe.few:
        rows = [(f"{one.cells} of each class", *in_digits(one.metrics, one.ranges, TITLES)) for one in probe.few]
        title = f"logistic regression on few cells; 95 % of {probe.few[0].draws} draws"
        print_table(title, ("labelled cells", *TITLES.values()), rows)
    if probe.contamination:
        print(printable(f"warning: {probe.contamination}"), file=sys.stderr)
    near = f"Of the cells nearest to a cell, {100 * probe.of_class:.1f} % have its class"
    print(near + ("" if probe.of_laboratory is None else f", {100 * probe.of_laboratory:.1f} % are of its laboratory"))


def in_digits(metrics: dict[str, float], limits: dict[str, tuple[float, float]], names: Iterable[str]) -> list[str]:
    """Format those metrics that are named, with their limits."""
    return [f"{metrics[name]:.4f} ({limits[name][0]:.4f} to {limits[name][1]:.4f})" for name in names]


sys.modules[__name__].__class__ = Verb

if __name__ == "__main__":
    sys.exit(main())
