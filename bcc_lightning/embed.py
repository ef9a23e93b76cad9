"""Write the features of all cells of a data set: of a pretrained backbone, or of a trained network."""

import sys
import time
from pathlib import Path

from bcc_lightning.cli.command import run_command
from bcc_lightning.cli.networks import read_options
from bcc_lightning.cli.parser import ExperimentParser
from bcc_lightning.embedding.choices import BATCH, refuse_wrong_name
from bcc_lightning.embedding.features import embed
from bcc_lightning.embedding.files import write_features
from bcc_lightning.embedding.options import extractor_and_data, extractor_parser
from bcc_lightning.files import refuse_unwritable
from bcc_lightning.printable import printable
from bcc_lightning.verb import Verb


def main(argv: list[str] | None = None) -> int:
    """Run ``python -m bcc_lightning.embed --backbone B|--run R --data NAME ... --out cells.parquet``.

    Args:
        argv: arguments without the program's name; by default those of the process.

    Returns:
        Exit code: 0 when the file is whole, 2 after an error that a person can mend.
    """
    return run_command(run, argv)


def declare(parser: ExperimentParser) -> None:
    """Declare the command's own options."""
    parser.add_argument("--out", type=str, required=True, help="file that is written, .parquet or .h5 (bags by patient or slide)")
    parser.add_argument("--batch_size", type=int, default=BATCH, help="cells that the network sees at once")


def run(argv: list[str]) -> None:
    """Write features.

    Raises:
        UserError: something in the arguments, the weights or the data has to be mended.
    """
    parser = extractor_parser("embed", declare)
    options = read_options(parser, argv)
    out = Path(options["out"])
    refuse_wrong_name(out)
    refuse_unwritable("--out", out)
    extractor, data = extractor_and_data(parser, options)
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
