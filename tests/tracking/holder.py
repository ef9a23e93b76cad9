"""Processes that hold the right to train a run, for tests that end them."""

import subprocess
import sys
from pathlib import Path

HOLD = """
import os, sys, time
from pathlib import Path
from bcc_lightning.tracking import claim
from bcc_lightning.tracking.run_files import RunFolder
claim.BEAT_SECONDS = 0.05
held = claim.Claim(RunFolder(Path(sys.argv[1])), shared="shared" in sys.argv)
if "fork" in sys.argv:
    ready, told = os.pipe()
    if (child := os.fork()) == 0:
        os.write(told, b"!")
        time.sleep(60)
    os.read(ready, 1)
    print("child", child, flush=True)
print("held", flush=True)
time.sleep(60)
"""


def hold(folder: Path, *how: str) -> subprocess.Popen[str]:
    """Start a process that holds the right to train a run, and wait until it does."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), *how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    while (line := process.stdout.readline()) != "held\n":
        assert line, process.stderr and process.stderr.read()
        if line.startswith("child"):
            process.child = int(line.split()[1])  # type: ignore[attr-defined]
    return process


def end(process: subprocess.Popen[str]) -> None:
    """Kill a process at once."""
    process.kill()
    process.wait(30)
