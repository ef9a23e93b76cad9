"""A worker: takes a free slot, runs the trial in a fresh process, tells how it ended, and takes the next."""

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

from bcc_lightning.errors import UserError
from bcc_lightning.processes import BEAT_SECONDS, signs_of_life
from bcc_lightning.tracking.run_files import PARENT_VARIABLE
from bcc_lightning.trust import OPTION
from bcc_lightning.tuning.channel import Greeting
from bcc_lightning.tuning.heartbeat import Observer, Worker
from bcc_lightning.tuning.plan import FIT, OF_FOLDS, Plan
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
    """Works at the trials of a study until no slot is free.

    Attributes:
        search: the study.
        seat: its place among the workers of an executor, from 0.
        seconds: time after which no further trial is begun.
        extra: flags of this machine, for each trial.
        environment: variables of this machine, for each trial.
        stop: is set to end in order.
    """

    search: OpenStudy
    seat: int = 0
    seconds: float = math.inf
    extra: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)

    def work(self) -> None:
        """Work until no slot is free, time is up, or it is stopped."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        start, observer = time.monotonic(), Observer()
        while not self.stop.is_set() and time.monotonic() - start < self.seconds:
            reap(self.search, observer)
            trial = self.search.claim(Worker.of(os.getpid(), self.seat))
            if trial is None:
                return
            try:
                self.run(trial)
            except UpdateFinishedTrialError:  # somebody took this worker for dead, and gave its trial away
                continue
            except Exception as error:  # whatever it is, it ends this worker, but is told first
                reason = f"its worker failed: {type(error).__name__}: {error}"
                self.search.finish(trial.number, TrialState.FAIL, None, DIED, reason)
                raise

    def run(self, trial: "Trial") -> None:
        """Run a trial in a fresh process, and tell how it ended."""
        plan, number, lost = self.search.plan, trial.number, threading.Event()
        drawn = plan.search_space.suggest(trial)
        command = [*plan.command, *self._arguments(number, drawn)]
        with (
            signs_of_life(lambda mark: self._give_sign(number, mark, lost), BEAT_SECONDS),
            TrialProcess(
                command, self._environment(), self._greeting(number), Path(plan.logs) / f"trial-{number}.log"
            ) as process,
        ):
            last = self._listen(trial, process, lost)
            if lost.is_set():
                return
            if self.stop.is_set() and was_stopped(last):
                process.end_in_order()
                end = TrialEnd(None, INTERRUPTED, "the search was stopped")
            else:
                end = read_end(plan, last, process.wait(), process.last_words())
        self._tell(number, end, pruned=bool(last and last.get("pruned")))

    def _listen(self, trial: "Trial", process: TrialProcess, lost: threading.Event) -> dict[str, Any] | None:
        """Hand reports on, answer them, and give the closing message."""
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
        """Report a value to the study and ask whether it has seen enough; with two metrics Optuna does neither."""
        if len(self.search.plan.metrics) > 1:
            self.search.set_attribute(trial.number, "step", step)
            return False
        trial.report(value, step)
        return trial.should_prune()

    def _tell(self, number: int, end: TrialEnd, pruned: bool) -> None:
        from optuna.trial import TrialState

        if pruned and end.ending not in {INTERRUPTED, OUT_OF_MEMORY}:
            self.search.finish(number, TrialState.PRUNED, None, PRUNED, end.reason)
        elif end.values is not None:
            self.search.finish(number, TrialState.COMPLETE, end.values)
        else:
            self.search.finish(number, TrialState.FAIL, None, end.ending, end.reason)

    def _give_sign(self, number: int, mark: int, lost: threading.Event) -> None:
        """Show that this worker lives, and notice when somebody took it for dead."""
        from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError

        try:
            self.search.set_attribute(number, BEAT, mark)
        except UpdateFinishedTrialError:
            lost.set()
        except StorageInternalError:  # away for a moment; others wait for longer than that
            return

    def _arguments(self, number: int, drawn: dict[str, Value]) -> list[str]:
        plan = self.search.plan
        folds = ["--folds", str(plan.folds)] if plan.folds else []
        name = ["--tracking.run_name", f"trial {number}"]
        return [*plan.argv, *self.extra, *flags(drawn), *self._smaller_batches(number, drawn), *folds, *name]

    def _smaller_batches(self, number: int, drawn: dict[str, Value]) -> list[str]:
        """Halve the batch and double the accumulation where the trial repeats one that ran out of memory."""
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
    """Tell from a trial's closing message whether it was cut short: where a whole job is stopped, it hears that by itself."""
    return last is None or (last["status"] == "KILLED" and not last["pruned"])


def reap(search: OpenStudy, observer: Observer) -> "list[FrozenTrial]":
    """Tell the running trials whose workers are gone; their slots are free again.

    Returns:
        Those trials.
    """
    from optuna.trial import TrialState

    dead = []
    for trial in search.trials():
        reason = observer.death(trial) if trial.state == TrialState.RUNNING else None
        if reason and search.finish(trial.number, TrialState.FAIL, None, DIED, f"its worker is gone: {reason}"):
            dead.append(trial)
    return dead


def refuse_foreign_program(plan: Plan, program: list[str]) -> None:
    """Refuse to run what only the storage names: others may write there.

    Args:
        plan: what is searched, as the storage holds it.
        program: what whoever started this worker said that trials run; empty for `fit`.

    Raises:
        UserError: the plan names another program, or trusts packages.
    """
    if plan.program != program:
        raise UserError(f"study {plan.study} would run {plan.program or FIT}, not {program or FIT}; its plan was changed")
    if any(argument.partition("=")[0] == OPTION for argument in plan.argv):
        raise UserError(f"study {plan.study} holds {OPTION}; say whom you trust behind -- when you start the worker")


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``python -m bcc_lightning.tuning.worker``, which executors start; it may also be started by hand, on any machine."""
    parser = argparse.ArgumentParser(prog="python -m bcc_lightning.tuning.worker", description=__doc__)
    parser.add_argument("--storage", required=True, help="URL of the storage, without a password")
    parser.add_argument("--study", required=True, help="name of the study")
    parser.add_argument("--seat", type=int, default=0, help="place among the workers of an executor, from 0")
    parser.add_argument("--seconds", type=float, default=math.inf, help="time after which no further trial is begun")
    parser.add_argument("--program", type=json.loads, default=[], help="what trials run instead of fit, as a JSON list")
    parser.add_argument("flags", nargs="*", help="flags of this machine for each trial, after --")
    options = parser.parse_args(argv)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):  # SLURM: the executor, or the time limit that is near
        signal.signal(number, lambda *_: stop.set())
    try:
        search = OpenStudy.load(Storage(options.storage), options.study)
        refuse_foreign_program(search.plan, options.program)
    except UserError as error:
        from bcc_lightning.cli.command import EXIT_USER_ERROR  # imports torch, which workers do without

        print(f"error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    TrialWorker(search, options.seat, options.seconds, options.flags, stop=stop).work()
    return 0


if __name__ == "__main__":
    sys.exit(main())
