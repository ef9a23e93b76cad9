"""Write the features of all cells of a data set: of a pretrained backbone, or of a trained network."""

import sys
import time
from pathlib import Path

from jsonargparse import Namespace

from bcc_lightning.cli.command import run_command
from bcc_lightning.cli.data_sets import DataOptionParser
from bcc_lightning.cli.options import refuse_below
from bcc_lightning.embedding.choices import BATCH, refuse_wrong_name
from bcc_lightning.embedding.options import add_extractor_options, extractor_and_data, read_extractor_options
from bcc_lightning.files import refuse_unwritable
from bcc_lightning.printable import printable
from bcc_lightning.verb import Verb

EXAMPLE = "--backbone resnet18 --data CellFolder --data.root cells --out cells.parquet"


def main(argv: list[str] | None = None) -> int:
    """Run ``python -m bcc_lightning.embed --backbone B|--run R --data NAME ... --out cells.parquet``.

    Args:
        argv: arguments without the program's name; by default those of the process.

    Returns:
        Exit code: 0 when the file is whole, 2 after an error that a person can mend.
    """
    return run_command(run, argv)


def read_options(argv: list[str]) -> tuple[Namespace, list[str]]:
    """Read the options of a call, and the flags of the data set that it names.

    Raises:
        UserError: one is wrong.
    """
    parser = DataOptionParser("embed", __doc__, EXAMPLE)
    out = "file that is written, .parquet or .h5 (bags by patient or slide)"
    parser.add_argument("--out", type=str, required=True, metavar="FILE", help=out)
    parser.add_argument("--batch_size", type=int, default=BATCH, help="cells that the network sees at once")
    add_extractor_options(parser)
    options = read_extractor_options(parser, argv)
    refuse_below(1, batch_size=options["batch_size"])
    refuse_unwritable("--out", Path(options["out"]))
    refuse_wrong_name(Path(options["out"]))
    return options, parser.flags


def run(argv: list[str]) -> None:
    """Write features.

    Raises:
        UserError: something in the arguments, the weights or the data has to be mended.
    """
    options, flags = read_options(argv)
    # Only now what takes seconds to load.
    from bcc_lightning.embedding.features import embed
    from bcc_lightning.embedding.files import write_features

    out = Path(options["out"])
    extractor, data = extractor_and_data(options, flags)
    start = time.perf_counter()
    embedded = embed(data, extractor, batch_size=options["batch_size"])
    seconds = time.perf_counter() - start
    write_features(embedded, out)
    cells, size = sum(len(one.cells) for one in embedded.sets), out.stat().st_size / 2**20
    print(printable(f"{extractor.name} ({extractor.origin})"))
    print(printable(f"{embedded.width} features of {cells:,} cells in {seconds:.1f} s, written to {out} ({size:.1f} MiB)"))


sys.modules[__name__].__class__ = Verb

if __name__ == "__main__":
    sys.exit(main())
