"""One suite for all executors and storages; another executor, or storage, is covered by its name in ``conftest.py``."""

import os
import threading
import time
from pathlib import Path

import pytest
from optuna.trial import TrialState

from bcc_lightning.errors import UserError
from bcc_lightning.tuning.driver import Watch
from bcc_lightning.tuning.options import ExecutorName
from bcc_lightning.tuning.storage import Storage, storage_of
from bcc_lightning.tuning.study import DIED, ENDING, INTERRUPTED, OUT_OF_MEMORY, REASON, RETRY_OF, OpenStudy
from bcc_lightning.tuning.worker import TrialWorker
from tests.tuning.conftest import CLUSTERS, LONG
from tests.tuning.killing import a_trial
from tests.tuning.searches import check, executor_of, ledger, stub_plan, trials_last, wait_until

pytestmark = pytest.mark.slow


def test_every_slot_is_taken_once(tmp_path: Path, executor: ExecutorName, storage: Storage) -> None:
    if executor in CLUSTERS and storage.file and not os.environ.get(LONG):
        pytest.skip(f"a file is for one machine: set {LONG}=1 to try it all the same")
    space = {"x": {"type": "categorical", "choices": [0.05, 0.5, 0.95]}}
    search = OpenStudy.create(storage, stub_plan(tmp_path, space=space, trials=5 if executor in CLUSTERS else 8))
    Watch(search, executor_of(executor, search, 3), 3, tick=0.1).until_done()
    check(search, tmp_path)
    for trial in search.trials():
        ending = {0.05: "failed", 0.5: None, 0.95: OUT_OF_MEMORY}[trial.params["x"]]
        if RETRY_OF in trial.user_attrs:  # at half the batch, which is enough
            assert trial.params["x"] == 0.95
            ending = None
        assert trial.user_attrs.get(ENDING) == ending
        assert (trial.state == TrialState.COMPLETE) == (ending is None)
    reasons = {trial.user_attrs[REASON] for trial in search.trials() if trial.user_attrs.get(ENDING) == "failed"}
    assert reasons <= {"exit code 1: x is too small"}


def test_a_stopped_search_goes_on_to_its_total(tmp_path: Path, executor: ExecutorName) -> None:
    trials_last(60, tmp_path)
    storage = storage_of(None, tmp_path)
    search = OpenStudy.create(storage, stub_plan(tmp_path, trials=3))
    workers = executor_of(executor, search, 2)
    watch = Watch(search, workers, 2, tick=0.1)
    threading.Thread(target=watch.until_done, daemon=True).start()
    wait_until(lambda: len(ledger(tmp_path, "start")) == 2)
    watch.seats = 0  # as if its process were gone
    workers.stop()
    stopped = {trial.number for trial in search.trials()}
    assert {trial.user_attrs[ENDING] for trial in search.trials()} == {INTERRUPTED}

    trials_last(0, tmp_path)
    again = OpenStudy.create(storage, stub_plan(tmp_path, trials=4))
    Watch(again, executor_of(executor, again, 2), 2, tick=0.1).until_done()
    check(again, tmp_path)
    assert {trial.user_attrs.get(RETRY_OF) for trial in again.trials()} - {None} == stopped
    assert sum(trial.state == TrialState.COMPLETE for trial in again.trials()) == 4


def test_a_search_whose_workers_fail_gives_up_and_says_why(tmp_path: Path, executor: ExecutorName) -> None:
    search = OpenStudy.create(storage_of(None, tmp_path), stub_plan(tmp_path, pruner="no such pruner"))
    with pytest.raises(UserError, match=r"3 workers failed one after the other, the last with .*no such pruner"):
        Watch(search, executor_of(executor, search, 1), 1, tick=0.1).until_done()


def test_another_driver_of_this_machine_ends_the_workers_of_the_first(tmp_path: Path) -> None:
    trials_last(60, tmp_path)
    search = OpenStudy.create(storage_of(None, tmp_path), stub_plan(tmp_path, trials=3))
    first, second = (executor_of("local", search, workers) for workers in (2, 1))
    Watch(search, first, 2).place_all()
    wait_until(lambda: len(ledger(tmp_path, "start")) == 2)
    assert second.lives(0)
    second.stop()
    assert [first.lives(seat) for seat in (0, 1)] == [False, False]
    assert not second.lives(0)
    assert [trial.user_attrs[ENDING] for trial in search.trials()] == [INTERRUPTED] * 2


def test_no_trial_is_begun_when_time_is_up(tmp_path: Path, executor: ExecutorName) -> None:
    lasting = 2.0
    trials_last(lasting, tmp_path)
    search = OpenStudy.create(storage_of(None, tmp_path), stub_plan(tmp_path, trials=500))
    for seconds in (5, 20, 80):  # until a worker has started in time, which takes a while on a busy machine
        begun = time.time()
        Watch(search, executor_of(executor, search, 1), 1, seconds=seconds, tick=0.1).until_done()
        if search.trials():
            break
    starts = [trial.datetime_start.timestamp() - begun for trial in search.trials() if trial.datetime_start]
    assert 1 <= len(starts) <= seconds / lasting + 1
    assert max(starts) < seconds + 5  # the last one was claimed in time, but a busy machine takes a while to record it
    assert {trial.state for trial in search.trials()} == {TrialState.COMPLETE}


def test_a_worker_that_was_taken_for_dead_ends_its_trial_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials_last(60, tmp_path)
    monkeypatch.setattr("bcc_lightning.tuning.worker.BEAT_SECONDS", 0.2)
    search = OpenStudy.create(storage_of(None, tmp_path), stub_plan(tmp_path, trials=1))
    worker = TrialWorker(OpenStudy.load(search.storage, "stub"))
    thread = threading.Thread(target=worker.work)
    thread.start()
    wait_until(lambda: len(ledger(tmp_path, "start")) == 1)
    trials_last(0, tmp_path)
    assert search.finish(0, TrialState.FAIL, None, DIED, "no sign of life")
    thread.join(20)
    assert not thread.is_alive()
    check(search, tmp_path)
    first, second = search.trials()
    assert (first.state, second.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert second.params == first.params
    assert a_trial(tmp_path) is None
