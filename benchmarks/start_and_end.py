"""How long a command takes from its start to the first training step, and from the last validation to its exit.

The same network is trained on the same cells by this project and by a plain Lightning script that keeps a checkpoint, tests it
and files the figures in MLflow, in turn; medians and ratios within a round. Both are watched by the same Lightning callback,
which a package on `PYTHONPATH` registers, so that neither program is changed.

    python benchmarks/start_and_end.py --npz bloodmnist.npz --rounds 5
"""

import argparse
import json
import os
import statistics
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from peers import script, this_project, write_cells

MARKS = """
import json, os, time
from lightning import Callback

class Marks(Callback):
    times = {}

    def mark(self, name):
        self.times[name] = time.time()
        with open(os.environ["MARKS"], "w") as file:
            json.dump(self.times, file)

    def on_train_batch_end(self, *_):
        if "first step" not in self.times:
            self.mark("first step")

    def on_validation_end(self, trainer, module):
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.mark("last validation")

def factory():
    return [Marks()]
"""
"""Lightning loads the callbacks of every installed package that says so."""

ENTRY = "[lightning.pytorch.callbacks_factory]\nmarks = marks:factory\n"


def measure(command: list[str], folder: Path) -> tuple[float, float]:
    """Return the seconds to the first step and those from the last validation on.

    Raises:
        SystemExit: the command failed.
    """
    (folder / "marks.py").write_text(MARKS)
    package = folder / "marks-1.dist-info"
    package.mkdir(exist_ok=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: marks\nVersion: 1\n")
    (package / "entry_points.txt").write_text(ENTRY)
    times = folder / "times.json"
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    start = time.time()
    environment = {**os.environ, "PYTHONPATH": path, "MARKS": str(times)}
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    end = time.time()
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    found = json.loads(times.read_text())
    return found["first step"] - start, end - found["last validation"]


def main() -> None:
    """Measure in turn and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--npz", type=Path, required=True, help="a file in MedMNIST's layout")
    parser.add_argument("--out", type=Path, default=Path("peers"), help="folder for images and runs")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    recipe = {"model": "resnet18", "image_size": 28, "batch_size": 64, "epochs": 2, "lr": 1e-3, "workers": 1, "precision": "32"}
    vars(options).update(recipe)
    cells = options.out / "cells_640"
    if not cells.is_dir():
        write_cells(options.npz, cells, 640)
    rounds = []
    with TemporaryDirectory() as folder:
        for seed in range(options.rounds):
            own = this_project(options, cells, seed).command
            plain = [*script("lightning", options, cells, seed).command, "--track", str(options.out / "plain")]
            rounds.append([measure(command, Path(folder)) for command in (own, plain)])
    print("| seconds | bcc_lightning | plain Lightning | ratio |\n|---|---|---|---|")
    for column, what in enumerate(("to the first step", "from the last validation on")):
        ours, theirs = ([one[program][column] for one in rounds] for program in (0, 1))
        ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        print(f"| {what} | {statistics.median(ours):.1f} | {statistics.median(theirs):.1f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
