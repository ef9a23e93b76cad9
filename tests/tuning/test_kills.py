"""Nothing is lost and nothing done twice when processes of a search are killed at random moments."""

import os
import signal
import time
from pathlib import Path

import pytest

from bcc_lightning.tuning.options import ExecutorName
from bcc_lightning.tuning.storage import Storage
from bcc_lightning.tuning.study import DIED, ENDING, OpenStudy
from tests.tuning.conftest import LONG, SERVERS
from tests.tuning.killing import kill_at_random, start_driver
from tests.tuning.postgresql import PostgreSQL
from tests.tuning.searches import check, ledger, stub_plan, trials_last, wait_until

pytestmark = pytest.mark.slow

AT_LENGTH = pytest.mark.skipif(not os.environ.get(LONG), reason=f"takes minutes on a cluster of one machine: set {LONG}=1")

KILLS = 20 if os.environ.get(LONG) else 9
TRIALS = KILLS * 3 // 2


def test_on_each_storage(tmp_path: Path, storage: Storage) -> None:
    search_with_kills(tmp_path, storage, "local")


@SERVERS
def test_a_database_server_that_crashes_and_comes_back(tmp_path: Path, postgresql: PostgreSQL, database: Storage) -> None:
    trials_last(0.6, tmp_path)
    search = OpenStudy.create(database, stub_plan(tmp_path, trials=8))
    driver = start_driver(search, "local")
    try:
        for ended in (2, 5):
            wait_until(lambda: sum(ledger(tmp_path, "end").values()) >= ended)  # noqa: B023 - called in its turn
            postgresql.stop(signal.SIGQUIT)  # at once, without a word to its clients
            time.sleep(2)
            postgresql.start()
        assert driver.wait(120) == 0
    finally:
        driver.kill()
    check(OpenStudy.load(database, "stub"), tmp_path)


@AT_LENGTH
def test_at_length(tmp_path: Path, executor: ExecutorName, storage: Storage) -> None:
    search_with_kills(tmp_path, storage, executor)


def search_with_kills(folder: Path, storage: Storage, executor: ExecutorName) -> None:
    trials_last(0.6, folder)
    search = OpenStudy.create(storage, stub_plan(folder, trials=TRIALS))
    killed = kill_at_random(search, folder, executor, KILLS, seed=f"{storage.url.partition(':')[0]} {executor}")
    print(f"killed: {killed}")
    assert len(killed) == KILLS, "the search was too short for so many kills"
    check(search, folder)
    assert set(killed) == {"driver", "worker", "trial"}
    assert [trial.user_attrs.get(ENDING) for trial in search.trials()].count(DIED) >= 1
