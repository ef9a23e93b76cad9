"""The best of many trials is a lucky one: it is trained again with several seeds, and only there the test part is read."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.reliability import wilson
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.run_files import PARENT_VARIABLE
from bcc_lightning.trust import trust_flags
from bcc_lightning.tuning.plan import FIT
from bcc_lightning.tuning.study import OpenStudy

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

METRIC = "test/accuracy"

CONFIRMED = "confirmed_{}"
"""Attribute of a study: by seed, a trial's test accuracy, number of test cells and share of their most frequent class."""


@dataclass(frozen=True)
class Confirmation:
    """What several seeds gave on the test part.

    Attributes:
        values: test accuracy of each seed.
        cells: number of test cells.
        most_frequent: accuracy of always answering the most frequent class.
    """

    values: list[float]
    cells: int
    most_frequent: float

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(self.values))

    def __str__(self) -> str:
        """Word the mean with Wilson's interval, which more seeds do not make narrower: all were tested on the same cells."""
        low, high = wilson(round(self.mean * self.cells), self.cells)
        spread = f", standard deviation {np.std(self.values, ddof=1):.4f}" if len(self.values) > 1 else ""
        seeds = "one seed" if len(self.values) == 1 else f"mean of {len(self.values)} seeds"
        beside = f"95 % interval {low:.4f} to {high:.4f}; most frequent class: {self.most_frequent:.4f}"
        return f"test accuracy {self.mean:.4f} ({beside}), {seeds}{spread}"


def confirm(search: OpenStudy, trial: "FrozenTrial", tuned: Path, flags: list[str], seeds: int, run: TrackedRun) -> Confirmation:
    """Train the parameters of a trial with several seeds, and test them; seeds that have been trained are not trained again.

    Args:
        search: the study.
        trial: whose parameters.
        tuned: the experiment file with them.
        flags: flags of the experiment; those that say where runs are kept count.
        seeds: how many; the first is 1, since the trials had 0.
        run: the study's run.

    Raises:
        UserError: a training failed.
    """
    name = CONFIRMED.format(trial.number)
    done: dict[str, list[float]] = dict(search.study.user_attrs.get(name, {}))
    for seed in range(1, seeds + 1):
        if str(seed) not in done:
            done[str(seed)] = list(train_and_test(tuned, tracking_flags(flags), seed, run.run_id))
            search.study.set_user_attr(name, done)
    chosen = [done[str(seed)] for seed in range(1, seeds + 1)]
    result = Confirmation([accuracy for accuracy, *_ in chosen], int(chosen[0][1]), chosen[0][2])
    run.log_metrics({f"confirmed/{METRIC}": result.mean}, trial.number)
    run.set_tags({f"confirmed.trial_{trial.number}": str(result)})
    return result


def train_and_test(tuned: Path, flags: list[str], seed: int, parent: str) -> tuple[float, int, float]:
    """Train with a seed: test accuracy, number of test cells and share of their most frequent class.

    Raises:
        UserError: the training failed.
    """
    with TemporaryDirectory() as folder:
        summary = Path(folder) / "summary.json"
        own = ["--seed_everything", str(seed), "--summary", str(summary), "--tracking.run_name", f"confirmation, seed {seed}"]
        command = [sys.executable, "-m", FIT, "--exp", str(tuned), *flags, *own, *trust_flags()]
        if run_in_order(command, {**os.environ, PARENT_VARIABLE: parent}):
            raise UserError(f"the confirmation with seed {seed} failed, see above; the same command goes on with it")
        content = json.loads(summary.read_text(encoding="utf-8"))
    cells = content["data"]["data.cells"].rpartition(", ")[2].split()[0]
    return content["metrics"][METRIC], int(cells), content["metrics"]["test/most_frequent"]


def run_in_order(command: list[str], environment: dict[str, str]) -> int:
    """Run a program, which files what it has when this process is interrupted; gives its exit code."""
    with subprocess.Popen(command, env=environment, start_new_session=True) as process:  # Ctrl-C is handed on, once
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise


def tracking_flags(flags: list[str]) -> list[str]:
    """Choose the flags that say where runs are kept; everything else stands in the experiment file."""
    chosen: list[str] = []
    for place, flag in enumerate(flags):
        if flag.startswith("--tracking."):
            chosen += [flag] if "=" in flag else flags[place : place + 2]
    return chosen
