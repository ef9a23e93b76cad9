"""Classify cells with a trained network, and count them by slide."""

import sys
from collections.abc import Hashable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from bcc_lightning.argument_types import check_pixel_size
from bcc_lightning.cli.command import run_command
from bcc_lightning.cli.options import OptionParser, add_network_options, refuse_below, refuse_unnamed_network
from bcc_lightning.errors import UserError
from bcc_lightning.files import refuse_missing, refuse_unwritable
from bcc_lightning.novelty.choices import read_share, refuse_few_cells
from bcc_lightning.prediction.choices import INPUTS, METHODS, read_methods, refuse_missing_input

if TYPE_CHECKING:
    from pandas import DataFrame, Series

    from bcc_lightning.prediction.answers import AnswerTable
    from bcc_lightning.prediction.classifier import TrainedClassifier
    from bcc_lightning.prediction.files import Tally
    from bcc_lightning.prediction.inputs import CellInputs
    from bcc_lightning.tracking.trained_networks import TrainedNetwork

EXAMPLE = "slides --run house --out cells.csv --by slide"

PRINTED = 6
"""Slides whose counts are printed."""

UNKNOWN = 0.9
"""Corrected shares are unknown where their limits are further apart."""

EXIT_UNREADABLE = 1
"""Exit code where files could not be read; all others were classified."""


def main(argv: list[str] | None = None) -> int:
    """Run ``python -m bcc_lightning.predict INPUT... --run R --out cells.csv``.

    Args:
        argv: arguments without the program's name; by default those of the process.

    Returns:
        Exit code: 0 when all cells were classified, 1 when files could not be read, 2 after an error that a person can mend.
    """
    return run_command(predict, argv)


def read_options(argv: list[str]) -> Namespace:
    """Read the options of a call and check what takes no time: names, files that are read, files that are written.

    Raises:
        UserError: one is wrong.
    """
    parser = OptionParser("predict", __doc__, EXAMPLE)
    parser.add_argument("inputs", nargs="+", type=str, metavar="INPUT", help=INPUTS)
    parser.add_argument("--out", type=str, required=True, metavar="FILE", help="table that is written, .csv or .parquet")
    by = "count cells by slide or patient (a column of a table, or the folders below an input) or by another column"
    parser.add_argument("--by", type=str | None, default=None, metavar="COLUMN", help=by)
    of = "classes that make up the 100 % of a slide, joined by commas, or leukocytes; by default all classes"
    parser.add_argument("--of", type=str | None, default=None, metavar="CLASSES", help=of)
    reference = (
        "an examiner's counts, to compare with the network's: CSV with a column slide, and one per class; "
        "or an examiner's labels of single cells: CSV with the columns path and label"
    )
    parser.add_argument("--reference", type=str | None, default=None, metavar="FILE", help=reference)
    parser.add_argument(
        "--sheet", type=str | None, default=None, metavar="FILE", help="PNG of cells by predicted class, least sure first"
    )
    abstain = (
        "leave cells that are less familiar to the network than this share of its own, such as 0.05, to a person; adds the "
        "columns familiarity and abstained, and an alarm for cells from elsewhere"
    )
    parser.add_argument("--abstain", type=float | None, default=None, help=abstain)
    adapt = f"adapt the network to these cells first, without labels: {', '.join(METHODS)}, or several joined by commas"
    parser.add_argument("--adapt", type=str | None, default=None, metavar="METHODS", help=adapt)
    size = "micrometres that a pixel covers, for a run that was trained with --data.pixel_size or a column pixel_size"
    parser.add_argument("--pixel_size", type=float | None, default=None, metavar="SIZE", help=size)
    parser.add_argument("--batch_size", type=int | None, default=None, help="images per batch; by default as in the run")
    add_network_options(parser)
    options = parser.read(argv)
    for name in ("out", "sheet"):
        if options[name]:
            refuse_unwritable(f"--{name}", Path(options[name]))
    refuse_below(1, batch_size=options["batch_size"])
    read_share(options["abstain"])
    read_methods(options["adapt"])
    if options["pixel_size"] is not None:
        check_pixel_size(options["pixel_size"], "--pixel_size")
    if options["of"] is not None and not options["by"]:
        raise UserError("--of says which classes make up the 100 % of a slide: add --by slide")
    for given in options["inputs"]:
        refuse_missing_input(given)
    if options["reference"]:
        refuse_missing(Path(options["reference"]), "name a CSV file of an examiner's counts or labels", "--reference")
    refuse_unnamed_network(options)
    return options


def predict(argv: list[str]) -> int:
    """Classify cells.

    Raises:
        UserError: something in the arguments, the run or the inputs has to be mended.
    """
    options = read_options(argv)
    # Only now what takes seconds to load.
    from bcc_lightning.cli.networks import network_named
    from bcc_lightning.datasets.classes import counted_classes
    from bcc_lightning.datasets.framing import odd_notice
    from bcc_lightning.engine.adapting import adapt_network
    from bcc_lightning.engine.familiarity import drift_of, familiarity_with, guard_of
    from bcc_lightning.evaluation.figures import save_figure
    from bcc_lightning.prediction.adaptation import assumptions, refuse_blood
    from bcc_lightning.prediction.answers import AnswerTable, Heading
    from bcc_lightning.prediction.files import predict_files, sample
    from bcc_lightning.prediction.inputs import CellInputs
    from bcc_lightning.prediction.sheet import CELLS_PER_CLASS, cell_sheet
    from bcc_lightning.printable import printable

    out, by = Path(options["out"]), options["by"]
    methods = read_methods(options["adapt"])
    inputs = CellInputs.of(options["inputs"], by)
    network = network_named(options)
    classifier, identity = load_network(options, network, inputs)
    inputs = replace(inputs, with_sizes=classifier.field is not None)
    of = counted_classes(options["of"], classifier.class_names)
    labels, counts = read_examiner(options["reference"], by, classifier.class_names)
    guard = guard_of(network, classifier) if options["abstain"] else None
    if guard:
        refuse_few_cells(len(guard.own), options["abstain"])
    for assumption in assumptions(classifier, methods):
        print(assumption)
    if methods:
        refuse_blood(classifier, methods)
        classifier = adapt_network(network, classifier, sample(classifier, inputs), methods)
        identity = f"{identity} {classifier.adaptation}"
        print(printable(str(classifier.adaptation)))
    table = AnswerTable(out, Heading(identity, tuple(classifier.class_names), by, options["abstain"]))
    keep = CELLS_PER_CLASS if options["sheet"] else 0
    tally = predict_files(classifier, inputs, table, keep, familiarity_with(guard) if guard else None)
    report(tally, inputs.left_out.notices(), out)
    if classifier.field and (odd := odd_notice(classifier.odd_frames, tally.cells, classifier.field)):
        print(odd)
    if guard:
        print(printable(str(drift_of(guard, tally.familiarity))))
    if by:
        count_by_unit(tally, network, table, counts, of, is_adapted=bool(methods))
    if labels is not None:
        compare_labels(table, labels, classifier.class_names)
    if options["sheet"]:
        save_figure(cell_sheet(classifier, tally.least_sure), Path(options["sheet"]))
    return EXIT_UNREADABLE if tally.unreadable else 0


def load_network(options: Namespace, network: "TrainedNetwork", inputs: "CellInputs") -> "tuple[TrainedClassifier, str]":
    """Load a network, and name it together with how it reads images, so that a table is completed by the same alone.

    Raises:
        UserError: sizes of pixels are given twice, or for a network that cannot use one.
    """
    from bcc_lightning.files import file_hash
    from bcc_lightning.prediction.classifier import TrainedClassifier

    size, is_told = options["pixel_size"], inputs.tells_pixel_sizes
    if is_told and size:
        raise UserError("--pixel_size: the table has a column pixel_size; leave one of the two out")
    classifier = TrainedClassifier.of(network, size)
    if options["batch_size"] is not None:
        classifier.batch_size = options["batch_size"]
    if is_told and classifier.field is None:
        print("the column pixel_size is not used: the pixel size of the training images is unknown")
    elif not is_told and (notice := classifier.size_notice()):
        print(f"{notice} (--pixel_size, or a table with a column pixel_size)")
    sized = f" {size:g} micrometres" if size else " column pixel_size" if is_told and classifier.field else ""
    return classifier, f"{network.run_id or file_hash(network.checkpoint)}{sized}"


def read_examiner(file: str | None, by: str | None, class_names: list[str]) -> "tuple[Series | None, DataFrame | None]":
    """Read an examiner's labels of single cells, or counts by slide: the one that the file does not hold is None.

    Raises:
        UserError: the file cannot be read, or holds counts by slide, which were not asked for.
    """
    from bcc_lightning.differential.cell_labels import read_cell_labels
    from bcc_lightning.differential.reference import read_reference

    if not file:
        return None, None
    labels = read_cell_labels(Path(file), class_names)
    if labels is not None:
        return labels, None
    if not by:
        raise UserError("--reference compares counts by slide: add --by slide, or give a table with the columns path and label")
    return None, read_reference(Path(file), class_names)


def count_by_unit(
    tally: "Tally",
    network: "TrainedNetwork",
    table: "AnswerTable",
    reference: "DataFrame | None",
    of: list[str],
    *,
    is_adapted: bool = False,
) -> None:
    """Write and print the differential count of each slide, and compare it with an examiner's.

    Args:
        tally: cells by unit and class.
        network: that has classified them.
        table: of their answers.
        reference: the examiner's counts, if any.
        of: classes that make up the 100 %.
        is_adapted: whether it was adapted to these cells. Its confusions are known from before that: shares are not corrected.
    """
    from bcc_lightning.datasets.classes import LEUKOCYTES, leukocytes
    from bcc_lightning.differential.agreement import agree, by_slide, unmatched
    from bcc_lightning.differential.counting import differential
    from bcc_lightning.differential.report import agreement_cells, differential_cells, write_agreement, write_differential
    from bcc_lightning.prediction.confusions import known_confusions
    from bcc_lightning.printable import print_table, printable

    target = table.target
    confusion = None if is_adapted else known_confusions(network, tally.class_names)
    found = differential(tally.counts(), confusion, of=of)
    write_differential(found, target.with_name(f"{target.stem}.differential.csv"))
    slides = list(dict.fromkeys(found["slide"]))
    for slide in slides[:PRINTED]:
        rows = found[found["slide"] == slide]
        headings = ("class", "cells", "% (95 % limits)", "corrected, % (95 % limits)")
        title = f"{slide}: {int(rows['count'].sum()):,} cells"
        print_table(title, headings, [cells for _, *cells in differential_cells(rows)])
    widths = (found["corrected_high"] - found["corrected_low"]).dropna()
    if len(widths) and (widths > UNKNOWN).all():
        print("the corrected shares can be anything: the validation set has too few cells to show what the network confuses")
    if len(slides) > PRINTED:
        print(f"{len(slides) - PRINTED} more are in the table")
    if others := [name for name in of if name not in leukocytes(of)]:
        print(printable(f"the 100 % are all cells, including {' and '.join(others)}; --of {LEUKOCYTES} leaves them out"))
    if is_adapted:
        print("not corrected: what the network confuses is known only from before --adapt")
    elif confusion is None:
        print("not corrected: no answers of the network for its validation set are stored; name a run with --run")
    if reference is not None:
        reference = reference[[name for name in reference if name in of]]
        counted = by_slide(found, "share" if confusion is None else "corrected")
        for sentence in unmatched(counted, reference):
            print(printable(sentence))
        write_agreement(counted, reference, target.with_name(f"{target.stem}.agreement.csv"))
        rows_of_classes = [
            (name, bias, limits, lin) for name, _, bias, limits, _, _, lin, _ in agreement_cells(agree(counted, reference))
        ]
        title = "network and examiner, in percent of the cells; regressions are in the table and the figure"
        print_table(title, ("class", "bias", "limits of agreement", "Lin's correlation"), rows_of_classes)


def compare_labels(table: "AnswerTable", labels: "Series", class_names: list[str]) -> None:
    """Write and print Cohen's kappa of the network and an examiner who labelled the same cells."""
    from bcc_lightning.differential.cell_labels import compare_cells
    from bcc_lightning.printable import print_table

    target = table.target
    found, sentence = compare_cells(target, labels, class_names, target.with_name(f"{target.stem}.kappa.csv"))
    rows = [
        (row["class"], f"{row['cells']:,}", f"{100 * row['agreement']:.1f}", with_limits(row)) for row in found.to_dict("records")
    ]
    heads = ("class", "assigned by either", "same label, %", "Cohen's kappa (95 % limits)")
    print_table("network and examiner, cell by cell", heads, rows)
    print(sentence)


def with_limits(row: "dict[Hashable, Any]") -> str:
    """Write kappa with its limits, which are not known of a class that one of the two never gives."""
    known = row["kappa_low"] == row["kappa_low"]
    return f"{row['kappa']:.3f} ({row['kappa_low']:.3f} to {row['kappa_high']:.3f})" if known else "unknown"


def report(tally: "Tally", notices: Iterable[str], out: Path) -> None:
    """Print what was classified, what was left out and what could not be read."""
    from bcc_lightning.printable import printable

    for notice in notices:
        print(printable(notice))
    if tally.resumed:
        print(f"{tally.resumed:,} rows of an interrupted call were kept")
    if tally.unreadable:
        named = "; ".join(tally.first_unreadable)
        more = " ..." if tally.unreadable > len(tally.first_unreadable) else ""
        # What reads images advises what training takes; afterwards the bits are those of the run.
        told = ". predict takes no --data.bits: save the images with 8 bits, or train the run with it"
        advice = told if "--data.bits" in named else ""
        print(
            printable(
                f"error: {tally.unreadable:,} of {tally.cells:,} files could not be read: "
                f"{named}{more}{advice}. The others were classified"
            ),
            file=sys.stderr,
        )
    if tally.abstained:
        share = 100 * tally.abstained / max(tally.cells - tally.unreadable, 1)
        print(f"{tally.abstained:,} cells ({share:.1f} %) are left to a person: they are unlike the network's own; see the table")
    print(printable(f"{tally.cells - tally.unreadable:,} cells classified, written to {out}"))


if __name__ == "__main__":
    sys.exit(main())
