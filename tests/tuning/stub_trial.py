"""A trial without training: reports three values, and keeps a ledger of its start and end.

What it does follows from its parameter x: below 0.1 it fails, above 0.9 it runs out of memory once.
"""

import os
import sys
import time
from pathlib import Path

from bcc_lightning.tuning.channel import TrialChannel


def main(argv: list[str]) -> None:
    folder = Path(argv[argv.index("--folder") + 1])
    seconds = float((folder / "seconds").read_text()) if (folder / "seconds").is_file() else 0

    def note(event: str) -> None:
        """Add a line to the ledger; short lines at a file's end are written whole."""
        with (folder / "ledger").open("a") as ledger:
            ledger.write(f"{event}\n")

    channel = TrialChannel.inherited()
    assert channel is not None
    number, x = channel.greeting.number, float(argv[argv.index("--x" if "--x" in argv else "--model.lr") + 1])
    note(f"start {number} {os.getpid()}")
    channel.opened(f"run-{number}")
    if x < 0.1:
        raise SystemExit("error: x is too small")
    if x > 0.9 and "--data.batch_size" not in argv:
        channel.ended(f"run-{number}", "FAILED", "OutOfMemoryError: CUDA out of memory", {})
        raise SystemExit(1)
    for step in range(3):
        time.sleep(seconds / 3)
        channel.report(step, x * (step + 1) / 3)
        if channel.pruned_at is not None:
            channel.ended(f"run-{number}", "KILLED", f"pruned after epoch {step}", {"val/accuracy": x})
            return
    note(f"end {number}")
    channel.ended(f"run-{number}", "FINISHED", None, {"val/accuracy": x, "seconds": 1 - x})


main(sys.argv[1:])
