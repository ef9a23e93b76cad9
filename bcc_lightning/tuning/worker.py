"""A worker: takes a free slot, runs its trial in a fresh process, records how the trial ended, and takes the next slot."""

import argparse
import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcc_lightning.errors import UserError, command_line
from bcc_lightning.processes import BEAT_SECONDS, signs_of_life
from bcc_lightning.tracking.run_files import PARENT_VARIABLE
from bcc_lightning.tuning.channel import Greeting
from bcc_lightning.tuning.heartbeat import Observer, Worker
from bcc_lightning.tuning.plan import OF_FOLDS, refuse_foreign_program
from bcc_lightning.tuning.space import Value, flags
from bcc_lightning.tuning.storage import Storage
from bcc_lightning.tuning.study import (
    BEAT,
    DIED,
    INTERRUPTED,
    MOST_FREQUENT,
    OUT_OF_MEMORY,
    PRUNED,
    RETRY_OF,
    RUN,
    START_SECONDS,
    TRAINING_SECONDS,
    OpenStudy,
    endings_before,
)
from bcc_lightning.tuning.trial_process import TrialEnd, TrialProcess, read_end

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial

BATCH_SIZE, ACCUMULATE = "data.batch_size", "trainer.accumulate_grad_batches"


@dataclass
class TrialWorker:
    """Runs the trials of a study until no slot is free.

    Attributes:
        search: the study.
        seat: position among the workers of an executor, from 0.
        deadline: time after which no further trial is started, in seconds since 1970.
        extra: flags of this machine, for each trial.
        environment: environment variables of this machine, for each trial.
        stop: event that makes the worker stop cleanly when it is set.
    """

    search: OpenStudy
    seat: int = 0
    deadline: float = math.inf
    extra: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)

    def work(self) -> None:
        """Run trials until no slot is free, the time is over, or the worker is stopped."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        observer = Observer()
        while not self.stop.is_set() and time.time() < self.deadline:
            reap(self.search, observer)
            trial = self.search.claim(Worker.of(os.getpid(), self.seat))
            if trial is None:
                return
            try:
                self.run(trial)
            except UpdateFinishedTrialError:  # this worker was taken for dead, and its trial for failed
                continue
            except Exception as error:  # any error ends this worker, but is recorded first
                reason = f"its worker failed: {type(error).__name__}: {error}"
                self.search.finish(trial.number, TrialState.FAIL, None, DIED, reason)
                raise

    def run(self, trial: "Trial") -> None:
        """Run a trial in a fresh process, and record how it ended."""
        plan, number, lost = self.search.plan, trial.number, threading.Event()
        drawn = plan.search_space.suggest(trial)
        command = [*plan.command, *self._arguments(number, drawn)]
        with (
            signs_of_life(lambda beat: self._show_life(number, beat, lost), BEAT_SECONDS),
            TrialProcess(
                command, self._environment(), self._greeting(number), Path(plan.logs) / f"trial-{number}.log"
            ) as process,
        ):
            last = self._listen(trial, process, lost)
            if lost.is_set():
                return
            if self.stop.is_set() and was_stopped(last):
                process.stop()
                end = TrialEnd(None, INTERRUPTED, "the search was stopped")
            else:
                end = read_end(plan, last, process.wait(), process.last_words())
        self._record(number, end, pruned=bool(last and last.get("pruned")))

    def _listen(self, trial: "Trial", process: TrialProcess, lost: threading.Event) -> dict[str, Any] | None:
        """Pass reports on to the study, answer them, and return the closing message; None where there was none."""
        last, pruned = None, False
        for message in process.messages(lambda: self.stop.is_set() or lost.is_set()):
            if RUN in message:
                self.search.set_attribute(trial.number, RUN, message[RUN])
                self.search.note_data(message["data"])
            elif "training" in message:
                self.search.set_attribute(trial.number, START_SECONDS, process.age)
            elif "step" in message:
                pruned = pruned or self._prunes(trial, message["step"], message["value"])
                process.send({"go": not pruned})
            else:
                self.search.set_attribute(trial.number, TRAINING_SECONDS, message["figures"].get("seconds"))
                self.search.set_attribute(trial.number, MOST_FREQUENT, message["figures"].get("val/most_frequent"))
                last = {**message, "pruned": pruned}
        return last

    def _prunes(self, trial: "Trial", step: int, value: float) -> bool:
        """Report a value to the study, and return whether the trial is pruned; with two metrics Optuna supports neither."""
        if len(self.search.plan.metrics) > 1:
            self.search.set_attribute(trial.number, "step", step)
            return False
        trial.report(value, step)
        return trial.should_prune()

    def _record(self, number: int, end: TrialEnd, pruned: bool) -> None:
        from optuna.trial import TrialState

        if pruned and end.ending not in {INTERRUPTED, OUT_OF_MEMORY}:
            self.search.finish(number, TrialState.PRUNED, None, PRUNED, end.reason)
        elif end.values is not None:
            self.search.finish(number, TrialState.COMPLETE, end.values)
        else:
            self.search.finish(number, TrialState.FAIL, None, end.ending, end.reason)

    def _show_life(self, number: int, beat: int, lost: threading.Event) -> None:
        """Show that this worker lives; set `lost` if it was taken for dead."""
        from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError

        try:
            self.search.set_attribute(number, BEAT, beat)
        except UpdateFinishedTrialError:
            lost.set()
        except StorageInternalError:  # the storage does not answer for a moment; observers wait longer than that
            return

    def _arguments(self, number: int, drawn: dict[str, Value]) -> list[str]:
        plan = self.search.plan
        folds = ["--folds", str(plan.folds)] if plan.folds else []
        name = ["--tracking.run_name", f"trial {number}"]
        return [*plan.argv, *self.extra, *flags(drawn), *self._smaller_batches(number, drawn), *folds, *name]

    def _smaller_batches(self, number: int, drawn: dict[str, Value]) -> list[str]:
        """Return flags for half the batch and twice the accumulation, if the trial repeats one that ran out of memory."""
        if not self._ran_out_of_memory(number):
            return []
        batch, accumulate = (
            int(drawn.get(name) or otherwise)
            for name, otherwise in ((BATCH_SIZE, self.search.plan.batch_size), (ACCUMULATE, self.search.plan.accumulate))
        )
        return [f"--{BATCH_SIZE}", str(max(1, batch // 2)), f"--{ACCUMULATE}", str(2 * accumulate)]

    def _ran_out_of_memory(self, number: int) -> bool:
        trials = {trial.number: trial for trial in self.search.trials()}
        return OUT_OF_MEMORY in endings_before(trials[number], trials)

    def _greeting(self, number: int) -> Greeting:
        plan = self.search.plan
        tags = {"study": plan.study, "trial.number": str(number)}
        before = self.search.trial(number).user_attrs.get(RETRY_OF)
        if before is not None:
            tags["trial.retry_of"] = str(before)
        if self._ran_out_of_memory(number):
            tags["trial.out_of_memory_retry"] = "true"
        return Greeting(plan.study, number, plan.metrics[0], not plan.folds, plan.pruner != OF_FOLDS, tags, self.search.data)

    def _environment(self) -> dict[str, str]:
        parent = self.search.parent_run
        return {**self.environment, **({PARENT_VARIABLE: parent} if parent else {})}


def was_stopped(last: dict[str, Any] | None) -> bool:
    """Check whether a trial was stopped before its end.

    SLURM may stop a whole job, so that a trial has stopped before its worker stops it.

    Args:
        last: the trial's closing message; None where it sent none.
    """
    return last is None or (last["status"] == "KILLED" and not last["pruned"])


def reap(search: OpenStudy, observer: Observer) -> "list[FrozenTrial]":
    """Record the end of running trials whose workers are gone, so that their slots are free again.

    Returns:
        The trials that this call has ended.
    """
    from optuna.trial import TrialState

    dead = []
    for trial in search.trials():
        reason = observer.death(trial) if trial.state == TrialState.RUNNING else None
        if reason and search.finish(trial.number, TrialState.FAIL, None, DIED, f"its worker is gone: {reason}"):
            dead.append(trial)
    return dead


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``python -m bcc_lightning.tuning.worker``, which executors start; it may also be started by hand on any machine.

    Returns:
        Exit code.
    """
    parser = argparse.ArgumentParser(prog="python -m bcc_lightning.tuning.worker", description=__doc__)
    parser.add_argument("--storage", required=True, help="URL of the storage, without a password")
    parser.add_argument("--study", required=True, help="name of the study")
    parser.add_argument("--seat", type=int, default=0, help="position among the workers of an executor, from 0")
    parser.add_argument(
        "--deadline", type=float, default=math.inf, help="time after which no further trial is started, in seconds since 1970"
    )
    parser.add_argument("--program", type=json.loads, default=[], help="command of the trials instead of fit, as a JSON list")
    parser.add_argument("flags", nargs="*", help="flags of this machine for each trial, after --")
    options = parser.parse_args(argv)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):  # SIGUSR2: SLURM's executor, or its time limit
        signal.signal(number, lambda *_: stop.set())
    try:
        search = OpenStudy.load(Storage(options.storage), options.study)
        refuse_foreign_program(search.plan, options.program)
    except UserError as error:
        from bcc_lightning.cli.command import EXIT_USER_ERROR  # imports torch, which workers do not need

        with command_line():
            print(f"error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    TrialWorker(search, options.seat, options.deadline, options.flags, stop=stop).work()
    return 0


if __name__ == "__main__":
    sys.exit(main())
