"""Confirmation: the best parameters are trained again with several seeds, and only these trainings use the test set.

The best of many trials owes part of its validation accuracy to luck; the test accuracy of new trainings does not.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from bcc_lightning.cli.arguments import PLACES
from bcc_lightning.cli.command import separate
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
"""Metric that a confirmation measures."""

CONFIRMED = "confirmed_{}"
"""Attribute of a study, by number of the trial: for each seed the test accuracy, the number of test cells, and the share of the
most frequent class among them."""


@dataclass(frozen=True)
class Confirmation:
    """Results of several seeds on the test set.

    Attributes:
        values: test accuracy of each seed, 0 to 1.
        cells: number of test cells.
        most_frequent: test accuracy of always answering the most frequent class.
    """

    values: list[float]
    cells: int
    most_frequent: float

    @property
    def mean(self) -> float:
        """Mean test accuracy over the seeds."""
        return float(np.mean(self.values))

    def __str__(self) -> str:
        """Format the mean with Wilson's interval; it does not shrink with more seeds, since all are tested on the same cells."""
        low, high = wilson(round(self.mean * self.cells), self.cells)
        spread = f", standard deviation {np.std(self.values, ddof=1):.4f}" if len(self.values) > 1 else ""
        seeds = "one seed" if len(self.values) == 1 else f"mean of {len(self.values)} seeds"
        beside = f"95 % interval {low:.4f} to {high:.4f}; most frequent class: {self.most_frequent:.4f}"
        return f"test accuracy {self.mean:.4f} ({beside}), {seeds}{spread}"


def confirm(search: OpenStudy, trial: "FrozenTrial", tuned: Path, flags: list[str], seeds: int, run: TrackedRun) -> Confirmation:
    """Train the parameters of a trial with several seeds, and test them; finished seeds are not trained again.

    Args:
        search: the study.
        trial: the trial with these parameters.
        tuned: the experiment file with these parameters.
        flags: flags of the experiment; only those under ``--tracking`` are used.
        seeds: number of seeds; they start at 1, because the trials used 0.
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
    """Train and test with one seed.

    Returns:
        Test accuracy, number of test cells, and share of the most frequent class among them.

    Raises:
        UserError: the training failed.
    """
    with TemporaryDirectory() as folder:
        summary = Path(folder) / "summary.json"
        own = ["--seed_everything", str(seed), "--summary", str(summary), "--tracking.run_name", f"confirmation, seed {seed}"]
        command = [sys.executable, "-m", FIT, "--exp", str(tuned), *flags, *own, *trust_flags()]
        if run_interruptible(command, {**os.environ, PARENT_VARIABLE: parent}):
            raise UserError(
                f"the confirmation with seed {seed} failed, see its output above. Next step: run the same command again"
            )
        content = json.loads(summary.read_text(encoding="utf-8"))
    cells = content["data"]["data.cells"].rpartition(", ")[2].split()[0]
    return content["metrics"][METRIC], int(cells), content["metrics"]["test/most_frequent"]


def run_interruptible(command: list[str], environment: dict[str, str]) -> int:
    """Run a program, and let it stop cleanly when this process is interrupted.

    Returns:
        Exit code of the program.
    """
    with subprocess.Popen(command, env=environment, start_new_session=True) as process:  # Ctrl-C reaches it once, as SIGTERM
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise


def tracking_flags(flags: list[str]) -> list[str]:
    """Select the flags that say where runs are stored; everything else is in the experiment file."""
    return [f"--{name}={value}" for name, values in separate(flags, PLACES)[0].items() for value in values]
