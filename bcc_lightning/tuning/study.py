"""A study and its slots: each of the N slots is taken once, and the end of each trial is recorded once.

A slot is a trial and its retries. There is no queue: which slot is free follows from the trials themselves, and a free slot is
found and taken in one step within the storage's lock. Any worker or driver may therefore be killed at any moment.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from bcc_lightning.tuning.heartbeat import Worker
from bcc_lightning.tuning.optuna_private import (
    create_running_trial,
    given_parameters,
    open_trial,
    read_trial,
    set_attributes,
    start_waiting_trial,
)
from bcc_lightning.tuning.plan import Plan, make_pruner, make_sampler, refuse_another_search
from bcc_lightning.tuning.storage import Storage

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial, TrialState

PLAN, PARENT_RUN, DATA = "plan", "run", "data"
"""Attributes of a study: its plan, MLflow's id of its own run, and the SHA-256 of its data by resolution."""

WORKER, BEAT, RETRY_OF, ENDING, REASON, RUN = "worker", "beat", "retry_of", "ending", "reason", "run"
"""Attributes of a trial: its worker, the worker's counter of signs of life, the trial that it repeats, how and why it ended, and
MLflow's id of its run."""

START_SECONDS, TRAINING_SECONDS = "start_seconds", "training_seconds"
"""Attributes of a trial: seconds from the start of its process to its first training step, and seconds of its training."""

MOST_FREQUENT = "most_frequent"
"""Attribute of a trial: validation accuracy of always answering the most frequent class."""

DIED, INTERRUPTED, OUT_OF_MEMORY, FAILED, PRUNED = "died", "interrupted", "out of memory", "failed", "pruned"
"""How a trial can end without being complete."""


@dataclass
class OpenStudy:
    """A study in its storage.

    Attributes:
        storage: where the study is stored.
        study: Optuna's study.
        plan: the plan of the search.
    """

    storage: Storage
    study: "Study"
    plan: Plan

    @classmethod
    def create(cls, storage: Storage, plan: Plan) -> "OpenStudy":
        """Create a study, or continue it; sampler, pruner, number of trials and settings of this machine may then change.

        Raises:
            UserError: the storage cannot be reached, or the study was created for another search.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage.reach()
        with storage.lock():
            study = optuna.create_study(
                storage=storage.create(), study_name=plan.study, directions=plan.directions, load_if_exists=True
            )
            if before := study.user_attrs.get(PLAN):
                refuse_another_search(Plan.read(before, plan.study), plan)
            study.set_user_attr(PLAN, plan.as_dict())
        return cls(storage, study, plan)

    @classmethod
    def load(cls, storage: Storage, name: str) -> "OpenStudy":
        """Open a study that exists.

        Raises:
            UserError: the storage cannot be reached, or another program has created the study.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.load_study(study_name=name, storage=storage.open())
        plan = Plan.read(study.user_attrs.get(PLAN), name)
        study.pruner = make_pruner(plan)
        return cls(storage, study, plan)

    def trials(self) -> "list[FrozenTrial]":
        """List all trials, retries included."""
        return self.study.get_trials(deepcopy=False)

    def claim(self, worker: Worker) -> "Trial | None":
        """Take a free slot.

        Args:
            worker: the worker that takes it.

        Returns:
            The running trial; None where no slot is free.
        """
        from optuna.trial import TrialState

        with self.storage.lock():
            self.refresh()
            trials = self.trials()
            waiting = next((t for t in trials if t.state == TrialState.WAITING), None)  # somebody has queued it by hand
            if waiting:
                start_waiting_trial(self.study, waiting, {WORKER: worker.as_dict()})
                number = waiting.number
            elif (slot := self._free_slot(trials)) is not None:
                number = create_running_trial(self.study, {**slot.attributes, WORKER: worker.as_dict()}, slot.given)
            else:
                return None
        # Outside the lock, since a sampler may take long. Each trial has a sampler of its own.
        self.study.sampler = make_sampler(self.plan, number)
        return open_trial(self.study, number)

    def has_work(self) -> bool:
        """Check whether a slot is free."""
        from optuna.trial import TrialState

        self.refresh()
        trials = self.trials()
        return any(t.state == TrialState.WAITING for t in trials) or self._free_slot(trials) is not None

    @property
    def parent_run(self) -> str | None:
        """MLflow's id of the study's own run; None where there is none yet."""
        return self.study.user_attrs.get(PARENT_RUN)

    @property
    def data(self) -> dict[str, str]:
        """SHA-256 of the data of the trials so far, by resolution."""
        return dict(self.study.user_attrs.get(DATA, {}))

    def note_data(self, found: dict[str, str]) -> None:
        """Record the hash of a trial's data, unless an earlier trial with the same resolution has recorded one."""
        with self.storage.lock():
            self.study.set_user_attr(DATA, {**found, **self.data})

    def refresh(self) -> None:
        """Read the plan again: another command may have raised the number of trials."""
        self.plan = Plan.read(self.study.user_attrs.get(PLAN), self.study.study_name)

    def finish(
        self, number: int, state: "TrialState", values: Sequence[float] | None = None, ending: str | None = None, reason: str = ""
    ) -> bool:
        """Record how a trial has ended.

        Args:
            number: number of the trial.
            state: ``COMPLETE``, ``PRUNED`` or ``FAIL``.
            values: a value for each metric of a complete trial.
            ending: how a trial ended that is not complete, such as `DIED`.
            reason: explanation for people; the first 500 characters are stored.

        Returns:
            False where the end was already recorded, because the trial's worker was taken for dead.
        """
        with self.storage.lock():
            trial = self.trial(number)
            if trial.state.is_finished():
                return False
            if ending:
                set_attributes(self.study, trial, {ENDING: ending, REASON: reason[:500]})
            # A fresh sampler suffices for what Optuna does after a trial; it does not depend on the draws.
            self.study.sampler = make_sampler(self.plan, number)
            self.study.tell(number, values, state)
            return True

    def trial(self, number: int) -> "FrozenTrial":
        """Read a trial as it is now."""
        return read_trial(self.study, number)

    def set_attribute(self, number: int, name: str, value: object) -> None:
        """Set an attribute of a running trial."""
        set_attributes(self.study, self.trial(number), {name: value})

    def _free_slot(self, trials: "list[FrozenTrial]") -> "Slot | None":
        """Return what the next trial starts from; None where no slot is free."""
        if (due := retry_due(trials)) is not None:
            return Slot({**given_parameters(due), **due.params}, {RETRY_OF: due.number})
        if sum(RETRY_OF not in trial.user_attrs for trial in trials) < self.plan.trials:
            return Slot({} if trials else self.plan.own, {})
        return None


class Slot(NamedTuple):
    """What a trial starts from.

    Attributes:
        given: parameters that are not drawn, by name.
        attributes: attributes of the trial that it has from the start.
    """

    given: dict[str, Any]
    attributes: dict[str, Any]


def retry_due(trials: "Iterable[FrozenTrial]") -> "FrozenTrial | None":
    """Find a trial that must be repeated and has not been.

    A trial that was stopped is always repeated, because its parameters were not at fault; a trial whose worker died, or that ran
    out of memory, is repeated once.
    """
    by_number = {trial.number: trial for trial in trials}
    repeated = {trial.user_attrs.get(RETRY_OF) for trial in by_number.values()}
    for number, trial in by_number.items():
        if number not in repeated and may_be_repeated(trial, by_number):
            return trial
    return None


def may_be_repeated(trial: "FrozenTrial", by_number: "dict[int, FrozenTrial]") -> bool:
    """Check whether a trial must be repeated, by its own ending and the endings of the trials that it repeats."""
    from optuna.trial import TrialState

    ending = trial.user_attrs.get(ENDING)
    if trial.state != TrialState.FAIL or ending not in {DIED, INTERRUPTED, OUT_OF_MEMORY}:
        return False
    return ending == INTERRUPTED or ending not in endings_before(trial, by_number)


def endings_before(trial: "FrozenTrial", by_number: "dict[int, FrozenTrial]") -> set[str]:
    """List the endings of the earlier trials that a trial repeats."""
    endings: set[str] = set()
    while (before := trial.user_attrs.get(RETRY_OF)) is not None:
        trial = by_number[before]
        endings.add(trial.user_attrs[ENDING])
    return endings
