"""Write a trained network as a file that others can run without this package."""

import sys
from pathlib import Path

from jsonargparse import Namespace

from bcc_lightning.cli.command import run_command
from bcc_lightning.cli.options import OptionParser, add_network_options, refuse_unnamed_network
from bcc_lightning.deployment.choices import Format, PrecisionName, refuse_quantised_program
from bcc_lightning.files import refuse_unwritable
from bcc_lightning.verb import Verb

EXAMPLE = "--run house --out model.onnx"

EXIT_DIFFERS = 1
"""Exit code where the file answers otherwise than the network, or where that could not be measured."""


def main(argv: list[str] | None = None) -> int:
    """Run ``python -m bcc_lightning.export --run R --format onnx --out model.onnx``.

    Args:
        argv: arguments without the program's name; by default those of the process.

    Returns:
        Exit code: 0 when the file answers as the network does, 1 when it does not or that could not be measured, 2 after an error
        that a person can mend.
    """
    return run_command(export, argv)


def read_options(argv: list[str]) -> Namespace:
    """Read the options of a call.

    Raises:
        UserError: one is wrong.
    """
    parser = OptionParser("export", __doc__, EXAMPLE)
    parser.add_argument("--format", type=Format, default="onnx", help="pt2 is for torch.export.load")
    parser.add_argument("--precision", type=PrecisionName, default="fp32", help="int8 quantises the weights of an ONNX file")
    parser.add_argument("--out", type=str, required=True, metavar="FILE", help="file that is written")
    add_network_options(parser)
    options = parser.read(argv)
    refuse_quantised_program(options["format"], options["precision"])
    refuse_unwritable("--out", Path(options["out"]))
    refuse_unnamed_network(options)
    return options


def export(argv: list[str]) -> int:
    """Write a trained network as a file.

    Raises:
        UserError: something in the arguments or the run has to be mended, or a package is missing.
    """
    options = read_options(argv)
    # Only now what takes seconds to load.
    from bcc_lightning.cli.networks import network_named
    from bcc_lightning.deployment.export import export as write
    from bcc_lightning.printable import printable

    out = Path(options["out"])
    done = write(network_named(options), out, options["format"], options["precision"])
    parity = done.parity
    if parity.cells:
        print(
            f"{parity.cells:,} test cells: {100 * (parity.equal or 0):.2f} % get the same class, largest difference of a "
            f"probability {parity.largest:.2g}; accuracy {parity.accuracy:.4f}, of the network {parity.network_accuracy:.4f}"
        )
    if field := done.metadata["field_of_view"]:
        print(f"the file takes images as they are: each must show {field} micrometres, as those of the training do")
    if done.fault:
        print(printable(f"warning: {done.fault}"), file=sys.stderr)
    print(printable(f"written to {out} ({out.stat().st_size / 2**20:.1f} MiB)"))
    return EXIT_DIFFERS if done.fault else 0


sys.modules[__name__].__class__ = Verb

if __name__ == "__main__":
    sys.exit(main())
