"""Overhead of a search compared with its training, and the gain from a second worker.

The same trials are trained by one worker and by two, alternately, with one thread each. Arguments after ``--`` go to the trials.

    python benchmarks/search_overhead.py --exp raabin_cnn --space source_cnns --trials 6 --rounds 2 -- --trainer.max_epochs 6
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

from bcc_lightning.tuning.storage import Storage
from bcc_lightning.tuning.study import START_SECONDS, TRAINING_SECONDS, OpenStudy


@dataclass
class Search:
    """A finished search.

    Attributes:
        workers: number of workers.
        wall: seconds of the whole command.
        lasted: seconds of each trial.
        starts: seconds from the start of each trial's process to its first training step.
        training: seconds of each trial's training, with its validation.
    """

    workers: int
    wall: float
    lasted: list[float]
    starts: list[float]
    training: list[float]

    @property
    def trials_per_hour(self) -> float:
        """Trials per hour of the whole command."""
        return 3600 * len(self.lasted) / self.wall

    def __str__(self) -> str:
        """Format the results."""
        idle, beside = (1 - sum(self.training) / total for total in (self.workers * self.wall, sum(self.lasted)))
        return (
            f"{self.workers} worker(s): {self.wall:.0f} s, {self.trials_per_hour:.1f} trials per hour; first training step after "
            f"{statistics.median(self.starts):.1f} s (at most {max(self.starts):.1f}); not training: {idle:.1%} of the command, "
            f"{beside:.1%} of the trials"
        )


def search(options: argparse.Namespace, workers: int, flags: list[str]) -> Search:
    """Search once, from an empty folder; proposals depend only on the trial's number, so that all searches train the same."""
    with tempfile.TemporaryDirectory() as name:
        own = ["--exp", options.exp, "--trials", str(options.trials), "--sampler", "random", "--pruner", "none"]
        space = ["--space", options.space] if options.space else []
        place = ["--workers", str(workers), "--study", "overhead", "--out", f"{name}/tuned.yaml"]
        command = [sys.executable, "-m", "bcc_lightning.tune", *own, *space, *place, "--", *flags, "--tracking.folder", name]
        start = time.perf_counter()
        subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, stdout=subprocess.DEVNULL)
        wall = time.perf_counter() - start
        trials = OpenStudy.load(Storage(f"sqlite:///{name}/studies.db"), "overhead").trials()
    return Search(
        workers,
        wall,
        [trial.duration.total_seconds() for trial in trials if trial.duration],
        [trial.user_attrs[START_SECONDS] for trial in trials],
        [trial.user_attrs[TRAINING_SECONDS] for trial in trials],
    )


def main() -> None:
    """Measure alternately, and print."""
    own, flags = sys.argv[1:], list[str]()
    if "--" in own:
        own, flags = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exp", default="raabin_cnn")
    parser.add_argument("--space")
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args(own)
    for number in range(options.rounds):
        one, two = (search(options, workers, flags) for workers in (1, 2))
        print(f"round {number + 1}\n  {one}\n  {two}", flush=True)
        print(f"  trials per hour, two workers / one: {two.trials_per_hour / one.trials_per_hour:.2f}", flush=True)


if __name__ == "__main__":
    main()
