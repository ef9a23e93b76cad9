"""Searches over stub trials: how they are started, and what must hold when they are done."""

import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from bcc_lightning.tuning.executors import make_executor
from bcc_lightning.tuning.executors.base import Assignment, Executor
from bcc_lightning.tuning.executors.local import Seats
from bcc_lightning.tuning.options import ActorOptions, ExecutorName, JobOptions
from bcc_lightning.tuning.plan import Plan
from bcc_lightning.tuning.study import ENDING, RETRY_OF, OpenStudy, may_be_repeated

STUB = Path(__file__).parent / "stub_trial.py"

MIDDLE = {"x": {"type": "float", "low": 0.2, "high": 0.8}}
"""A space in which every stub trial ends well."""

LEARNING_RATE = {"model.lr": MIDDLE["x"]}
"""The same space, of an experiment."""


def stub_plan(folder: Path, **changes: Any) -> Plan:
    plan = Plan("stub", "stub", [], MIDDLE, trials=6, sampler="random", logs=str(folder / "logs"), program=stub_program(folder))
    return replace(plan, **changes)


def stub_program(folder: Path) -> list[str]:
    return [sys.executable, str(STUB), "--folder", str(folder)]


def stub_search(*options: str) -> list[str]:
    """Return the arguments of `bcc_lightning.tune` for a search over stub trials."""
    from tests.miniature import PAINTED, QUICK  # imports torch, which the drivers that tests kill do without

    return ["--exp", "pbc_cnn", "--space", "space.yaml", *options, "--", *PAINTED, *QUICK]


def trials_last(seconds: float, folder: Path) -> None:
    """Set the duration of stub trials that start from now on."""
    (folder / "seconds").write_text(str(seconds))


def executor_of(name: ExecutorName, search: OpenStudy, workers: int, study: str | None = None) -> Executor:
    assignment = Assignment(search.storage, study or search.plan.study, Path(search.plan.logs), program=search.plan.program)
    return make_executor(name, assignment, Seats(workers, [], 1), JobOptions(cpus=1), ActorOptions(cpus=1))


def ledger(folder: Path, event: str) -> Counter[int]:
    """Count the entries of the stubs' ledger by number of the trial."""
    file = folder / "ledger"
    lines = file.read_text().splitlines() if file.is_file() else []
    return Counter(int(line.split()[1]) for line in lines if line.split()[0] == event)


def check(search: OpenStudy, folder: Path) -> None:
    """Check that every slot was taken, that its last trial has ended for good, and that no trial ran twice."""
    trials = {trial.number: trial for trial in search.trials()}
    slots = [trial for trial in trials.values() if RETRY_OF not in trial.user_attrs]
    assert len(slots) == search.plan.trials
    assert all(trial.state.is_finished() for trial in trials.values())
    repeated = Counter(trial.user_attrs[RETRY_OF] for trial in trials.values() if RETRY_OF in trial.user_attrs)
    assert set(repeated.values()) <= {1}
    for number, trial in trials.items():
        assert (number in repeated) == may_be_repeated(trial, trials), trial
        assert trial.state in {TrialState.COMPLETE, TrialState.PRUNED} or trial.user_attrs[ENDING]
    started, ended = ledger(folder, "start"), ledger(folder, "end")
    assert set(started.values()) <= {1}, "a trial ran twice"
    complete = {number: trial for number, trial in trials.items() if trial.state == TrialState.COMPLETE}
    assert set(complete) <= set(ended), "a trial counts as complete that did not end"
    assert all(trial.values[0] == trial.params["x"] for trial in complete.values())


def wait_until(holds: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
