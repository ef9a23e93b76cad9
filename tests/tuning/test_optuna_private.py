"""What the package relies on in Optuna's private parts, on each kind of storage."""

import multiprocessing
import os
import re
from pathlib import Path

import optuna
import pytest
from filelock import Timeout
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

import bcc_lightning
from bcc_lightning.tuning.optuna_private import (
    JournalLock,
    create_running_trial,
    given_parameters,
    open_trial,
    read_trial,
    set_attributes,
    start_waiting_trial,
    trial_id,
)
from bcc_lightning.tuning.storage import Storage


@pytest.fixture
def study(storage: Storage) -> optuna.Study:
    return optuna.create_study(storage=storage.create(), study_name="study", sampler=optuna.samplers.RandomSampler(seed=0))


def seen_by_another_process(study: optuna.Study, storage: Storage) -> list[optuna.trial.FrozenTrial]:
    """Read the trials through a connection of its own, as another process does."""
    return optuna.load_study(study_name=study.study_name, storage=storage.open()).get_trials()


def test_a_trial_created_running_keeps_its_attributes_and_given_parameters(study: optuna.Study, storage: Storage) -> None:
    assert create_running_trial(study, {"worker": {"seat": 3}, "retry_of": 0}, {"x": 0.25}) == 0
    assert create_running_trial(study, {}, {}) == 1
    first, second = seen_by_another_process(study, storage)
    assert (first.state, second.state) == (TrialState.RUNNING, TrialState.RUNNING)
    assert (first.user_attrs, second.user_attrs) == ({"worker": {"seat": 3}, "retry_of": 0}, {})
    assert (given_parameters(first), given_parameters(second)) == ({"x": 0.25}, {})
    assert first.datetime_start is not None


def test_a_trial_is_opened_by_its_number(study: optuna.Study, storage: Storage) -> None:
    numbers = [create_running_trial(study, {}, given) for given in ({"x": 0.25}, {})]
    first, second = (open_trial(study, number) for number in numbers)
    assert first.suggest_float("x", 0, 1) == 0.25
    assert second.suggest_float("x", 0, 1) != 0.25
    second.report(0.5, step=2)
    assert read_trial(study, 1).intermediate_values == {2: 0.5}
    assert [trial.number for trial in (read_trial(study, 0), read_trial(study, 1))] == [0, 1]
    with pytest.raises(KeyError):
        trial_id(study, 2)


def test_a_study_tells_the_end_of_a_trial_that_it_did_not_ask_for(study: optuna.Study, storage: Storage) -> None:
    number = create_running_trial(study, {}, {})
    study.tell(number, [0.75], TrialState.COMPLETE)
    (trial,) = seen_by_another_process(study, storage)
    assert (trial.state, trial.values) == (TrialState.COMPLETE, [0.75])


def test_a_finished_trial_refuses_an_attribute(study: optuna.Study, storage: Storage) -> None:
    number = create_running_trial(study, {}, {})
    set_attributes(study, read_trial(study, number), {"beat": 1})
    set_attributes(study, read_trial(study, number), {"beat": 2})
    study.tell(number, None, TrialState.FAIL)
    with pytest.raises(UpdateFinishedTrialError):
        set_attributes(study, read_trial(study, number), {"beat": 3})
    assert seen_by_another_process(study, storage)[0].user_attrs == {"beat": 2}


def test_a_waiting_trial_starts_with_its_parameters(study: optuna.Study, storage: Storage) -> None:
    study.enqueue_trial({"x": 0.25})
    (waiting,) = study.get_trials()
    assert (waiting.state, given_parameters(waiting)) == (TrialState.WAITING, {"x": 0.25})
    start_waiting_trial(study, waiting, {"worker": "me"})
    (trial,) = seen_by_another_process(study, storage)
    assert (trial.state, trial.user_attrs) == (TrialState.RUNNING, {"worker": "me"})
    assert open_trial(study, 0).suggest_float("x", 0, 1) == 0.25


def test_no_other_module_uses_private_parts() -> None:
    private = re.compile(r"\._storage\b|\._study_id\b|\._trial_id\b|\boptuna[\w.]*\._")
    package = Path(bcc_lightning.__file__).parent
    users = [str(file.relative_to(package)) for file in package.rglob("*.py") if private.search(file.read_text("utf-8"))]
    assert users == ["tuning/optuna_private.py"]


def hold_and_die(file: str) -> None:
    """Take the lock in a process that ends without releasing it."""
    JournalLock(file, seconds=1).acquire()
    os._exit(0)


def test_a_journal_lock_is_taken_released_and_lost_with_its_holder(tmp_path: Path) -> None:
    file = str(tmp_path / "journal.log")
    lock, other = JournalLock(file, seconds=1), JournalLock(file, seconds=0)
    assert lock.acquire() is True
    with pytest.raises(Timeout):
        other.acquire()
    lock.release()
    assert other.acquire() is True
    other.release()
    holder = multiprocessing.get_context("spawn").Process(target=hold_and_die, args=(file,))
    holder.start()
    holder.join()
    assert holder.exitcode == 0
    assert JournalLock(file, seconds=0).acquire() is True


def test_a_journal_writes_under_its_lock(tmp_path: Path) -> None:
    class WatchedLock(JournalLock):
        """Notes when it is taken and released."""

        calls: list[str]

        def acquire(self) -> bool:
            self.calls.append("acquire")
            return super().acquire()

        def release(self) -> None:
            self.calls.append("release")
            super().release()

    file = str(tmp_path / "journal.log")
    lock = WatchedLock(file, seconds=1)
    lock.calls = []
    optuna.create_study(storage=JournalStorage(JournalFileBackend(file, lock_obj=lock)))
    assert lock.calls
    assert lock.calls == ["acquire", "release"] * (len(lock.calls) // 2)
