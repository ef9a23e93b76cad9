"""Describe, audit, balance or preview a data set before a GPU-hour is spent on it."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from bcc_lightning.audit.thresholds import Thresholds
from bcc_lightning.cli.command import run_command
from bcc_lightning.cli.data_sets import DataOptionParser, build_data, names_data
from bcc_lightning.cli.help import first_sentence, rows
from bcc_lightning.cli.options import refuse_below
from bcc_lightning.errors import UserError, nearest
from bcc_lightning.files import refuse_missing, refuse_unwritable, refuse_unwritable_folder, write_json
from bcc_lightning.printable import plain, printable
from bcc_lightning.tracking.run_files import refuse_missing_checkpoint
from bcc_lightning.transforms.recipes import refuse_unknown_pipeline

if TYPE_CHECKING:
    from bcc_lightning.datamodules import CellDataModule

EXIT_FINDINGS = 1
"""Exit code of an audit whose findings pass a threshold."""

EXAMPLES = {
    "describe": "--root cells --out described",
    "audit": "--root cells --out audited",
    "balance": "--root cells --out balanced",
    "preview": "--root cells --augment '[light, standard]' --out sheet.png",
}

INDENT = 14
"""Columns of a command's name."""

FOLDER = "folder of classes, or train/ val/ test/ of them"

PREVIEW_PIPELINES = ["light", "standard", "stain"]


def main(argv: list[str] | None = None) -> int:
    """Run ``python -m bcc_lightning.data describe|audit|balance|preview``.

    Args:
        argv: arguments without the program's name; by default those of the process.

    Returns:
        Exit code: 0 when done, 1 when an audit's findings pass a threshold, 2 after an error that a person can mend.
    """
    return run_command(run, argv)


def run(argv: list[str]) -> int:
    """Run one of the commands.

    Raises:
        UserError: the command is unknown, or something in the arguments or the data has to be mended.
    """
    if not argv:
        raise UserError(f"name what to do: {', '.join(COMMANDS)}. Example: python -m bcc_lightning.data describe --root cells")
    name, *rest = argv
    if name in {"--help", "-h"}:
        print(f"{__doc__}\n\nUsage: python -m bcc_lightning.data COMMAND --root DIR [--out PATH]; COMMAND --help lists options\n")
        print(*rows(((command, first_sentence(body.__doc__ or "")) for command, body in COMMANDS.items()), INDENT), sep="\n")
        print("\nExample: python -m bcc_lightning.data describe --root cells")
        return 0
    if name not in COMMANDS:
        near = nearest(name, [*COMMANDS, "--help"]) or "."
        raise UserError(f"data command '{name}' does not exist{near} There are: {', '.join(COMMANDS)}")
    options, flags = read_options(name, rest)
    return COMMANDS[name](options, build_data(flags)) or 0


def read_options(command: str, argv: list[str]) -> tuple[Any, list[str]]:
    """Read the options of a command, and the flags of the data set that it names.

    Raises:
        UserError: one is wrong.
    """
    parser = DataOptionParser(f"data {command}", COMMANDS[command].__doc__, EXAMPLES[command])
    parser.add_argument("--root", type=str | None, default=None, metavar="DIR", help=FOLDER)
    out = f"{'PNG file or ' if command == 'preview' else ''}folder that is written"
    parser.add_argument("--out", type=str | None, default=None, required=command != "describe", metavar="PATH", help=out)
    parser.add_argument("--seed", type=int, default=0, help="seed of what is drawn")
    if command == "audit":
        judge = "judge labels by this checkpoint's predictions"
        parser.add_argument("--checkpoint", type=str | None, default=None, metavar="FILE", help=judge)
        parser.add_class_arguments(Thresholds, "thresholds")
    if command == "balance":
        parser.add_argument("--augment", type=str, default="standard", help="augmentation of the copies")
    if command == "preview":
        parser.add_argument("--augment", type=list[str], default=PREVIEW_PIPELINES, help="pipelines that are shown")
        parts = "show the differences between laboratories instead, each part and all together"
        parser.add_argument("--laboratory", type=bool, default=False, help=parts)
        parser.add_argument("--per_class", type=int, default=1, help="cells of each class")
        parser.add_argument("--draws", type=int, default=3, help="draws of each pipeline")
    options = parser.instantiate(parser.read_with_data(argv))
    refuse_below(0, seed=options["seed"])
    if command == "preview":
        refuse_below(1, per_class=options["per_class"], draws=options["draws"])
    flags = parser.flags
    if not names_data(argv):
        if not options["root"]:
            raise UserError(f"name a folder with --root DIR, or a data set with --data NAME. Example: {parser.example}")
        refuse_missing(Path(options["root"]), f"name a {FOLDER}", "--root")
        flags = ["--data", "CellFolder", "--data.root", options["root"], *flags]
    refuse_names(command, options)
    return options, flags


def refuse_names(command: str, options: Any) -> None:  # noqa: ANN401 - jsonargparse's namespace
    """Refuse augmentations and files that do not exist, and an output that cannot be written."""
    if command in {"balance", "preview"}:
        for name in [options["augment"]] if command == "balance" else options["augment"]:
            refuse_unknown_pipeline(name)
    if command == "audit" and options["checkpoint"]:
        refuse_missing_checkpoint(Path(options["checkpoint"]))
    if options["out"]:
        out = Path(options["out"])
        is_sheet = command == "preview" and out.suffix.lower() == ".png"
        refuse_unwritable("--out", out) if is_sheet else refuse_unwritable_folder("--out", out)


def describe(options: Any, data: "CellDataModule") -> None:  # noqa: ANN401 - jsonargparse's namespace
    """Print what a data set holds; with ``--out`` also write it as JSON, with figures and the split."""
    from bcc_lightning.datasets.split_file import write_split
    from bcc_lightning.evaluation.figures import class_counts_figure, samples_figure, save_figure

    data.prepare_data()
    facts, names = data.facts(), list(data.class_names)
    counts = {str(split): cells.counts(len(names)) for split, cells in data.splits.items()}
    table = Table(title=plain(f"{facts['data.name']}: {data.root}"))
    for heading in ("class", *counts, "all"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    for label, name in enumerate(names):
        row = [int(count[label]) for count in counts.values()]
        table.add_row(plain(name), *map(str, row), str(sum(row)))
    Console().print(table)
    for name, fact in facts.items():
        print(printable(f"{name}: {fact}"))
    notices = data.notices()
    for notice in notices:
        print(printable(notice))
    if options["out"]:
        out = Path(options["out"])
        counted = {split: count.tolist() for split, count in counts.items()}
        write_json(out / "describe.json", {**facts, "classes": names, "counts": counted, "notices": notices})
        save_figure(class_counts_figure(counts, names), out / "class_counts.png")
        save_figure(samples_figure(data.splits["train"], names), out / "samples.png")
        write_split(data.division, out / "split.csv")
        print(printable(f"written to {out}"))


def audit(options: Any, data: "CellDataModule") -> int:  # noqa: ANN401 - jsonargparse's namespace
    """Look for what is wrong with a data set and write ``audit.html`` and ``audit.json``."""
    from bcc_lightning.audit.audit import audit as find_faults
    from bcc_lightning.audit.cells import ArrayCells, FileCells
    from bcc_lightning.audit.findings import exceeded
    from bcc_lightning.audit.page import write_audit
    from bcc_lightning.datamodules.image_files import ImageFiles
    from bcc_lightning.datasets.splits import set_notices

    out = Path(options["out"])
    data.prepare_data()
    if isinstance(data, ImageFiles):
        cells: FileCells | ArrayCells = FileCells(data.listing, data.bits)
    else:
        stored = data.read()
        splits = stored.splits if stored.splits is not None else data.codes
        cells = ArrayCells(stored.take(slice(None)), stored.ids, stored.labels, splits, data.class_names)
    checkpoint = Path(options["checkpoint"]) if options["checkpoint"] else None
    report = find_faults(cells, checkpoint)
    # Images may be unreadable here, so that only what is known without them is said.
    notices = [*data.file_notices(), *set_notices(cells.labels, cells.splits, cells.class_names)]
    report.notes[:0] = notices
    for notice in notices:
        print(notice)
    write_audit(report, cells, out, options["thresholds"])
    reasons = exceeded(report, options["thresholds"])
    for reason in reasons:
        print(printable(reason.message))
    print(printable(f"{out / 'audit.html'}: {'findings above the thresholds' if reasons else 'no finding above the thresholds'}"))
    return EXIT_FINDINGS if reasons else 0


def balance(options: Any, data: "CellDataModule") -> None:  # noqa: ANN401 - jsonargparse's namespace
    """Write a folder with a balanced training set, ``Balanced_Train``, and the other sets as they are."""
    from bcc_lightning.datamodules.image_files import ImageFiles
    from bcc_lightning.datasets.balanced_folder import write_balanced_folder
    from bcc_lightning.datasets.cell_folder import write_set
    from bcc_lightning.datasets.listing import BALANCED_TRAIN, SPLITS

    out = Path(options["out"])
    if not isinstance(data, ImageFiles):
        raise UserError(f"{type(data).__name__} is no folder of images; balance it while training with --data.balance oversample")
    data.prepare_data()
    listing = data.divided_listing()
    sizes = set() if listing.pixel_sizes is None else set(listing.pixel_sizes.tolist())
    if len(sizes) > 1:
        raise UserError(
            "the images have pixels of several sizes, which a folder cannot tell; balance while training with "
            "--data.balance oversample"
        )
    result = write_balanced_folder(listing, out / BALANCED_TRAIN, options["augment"], options["seed"])
    for part in SPLITS[1:]:
        write_set(listing, part, out / part)
    table = Table("class", "before", "after", title=plain(str(result.folder)))
    for name, before, after in zip(result.class_names, result.before, result.after, strict=True):
        table.add_row(plain(name), str(before), str(after))
    Console().print(table)
    if result.left_out:
        print(printable(f"{len(result.left_out)} training cells were left out as copies, e.g. {result.left_out[0]}"))
    if result.foreign:
        foreign = f"{len(result.foreign)} images there are not of this command and would be trained on"
        print(printable(f"{foreign}, e.g. {result.foreign[0]}"))
    next_flags = f"--data CellFolder --data.root {out}" + "".join(f" --data.pixel_size {size:g}" for size in sizes)
    print(printable(f"{result.written} files written, {result.kept} were there. Train on it with {next_flags}"))


def preview(options: Any, data: "CellDataModule") -> None:  # noqa: ANN401 - jsonargparse's namespace
    """Draw a sheet of what pipelines do to training cells."""
    import numpy as np

    from bcc_lightning.evaluation.figures import save_figure
    from bcc_lightning.transforms.laboratory import EVERY, Laboratories
    from bcc_lightning.transforms.pipelines import make_pipeline
    from bcc_lightning.transforms.preview import preview_figure

    out = Path(options["out"])
    sheet = out if out.suffix.lower() == ".png" else out / "preview.png"
    data.prepare_data()
    train = data.splits["train"]
    members = [np.flatnonzero(train.labels == label)[: options["per_class"]] for label in range(len(data.class_names))]
    rows = np.concatenate(members)
    names = [data.class_names[label] for label in train.labels[rows]]
    pipelines = {} if options["laboratory"] else {name: make_pipeline(name) for name in options["augment"]}
    parts = {part: Laboratories([part]) for part in EVERY} | {"all": Laboratories("all")} if options["laboratory"] else {}
    figure = preview_figure(list(train.take(rows)), names, pipelines, options["draws"], options["seed"], parts)
    save_figure(figure, sheet)
    print(printable(f"written to {sheet}"))


COMMANDS: dict[str, Callable[[Any, "CellDataModule"], int | None]] = {
    "describe": describe,
    "audit": audit,
    "balance": balance,
    "preview": preview,
}

if __name__ == "__main__":
    sys.exit(main())
