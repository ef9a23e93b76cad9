"""Write the archive that the AN2DL challenge takes, from a trained checkpoint."""

import sys
from pathlib import Path

from bcc_lightning.cli.command import run_command
from bcc_lightning.cli.options import OptionParser
from bcc_lightning.files import refuse_unwritable
from bcc_lightning.tracking.run_files import refuse_missing_checkpoint

EXAMPLE = "--checkpoint best.ckpt --out submission.zip"


def main(argv: list[str] | None = None) -> int:
    """Run ``python -m bcc_lightning.submission --checkpoint FILE --out FILE.zip``."""
    return run_command(run, argv)


def run(argv: list[str]) -> None:
    """Write the archive.

    Raises:
        UserError: something in the arguments or the checkpoint has to be mended.
    """
    parser = OptionParser("submission", __doc__, EXAMPLE)
    parser.add_argument("--checkpoint", type=str, required=True, metavar="FILE", help="checkpoint of a finished run")
    parser.add_argument("--out", type=str, required=True, metavar="FILE", help="archive that is written, .zip")
    options = parser.read(argv)
    checkpoint, out = Path(options["checkpoint"]), Path(options["out"])
    refuse_missing_checkpoint(checkpoint)
    refuse_unwritable("--out", out)
    # Only now what takes seconds to load.
    from bcc_lightning.deployment.challenge import write_submission

    write_submission(checkpoint, out)
    print(f"written to {out}")


if __name__ == "__main__":
    sys.exit(main())
