"""Slots, their retries, and the lock around them."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from bcc_lightning.errors import UserError
from bcc_lightning.processes import start_of
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.tuning.heartbeat import Observer, Worker
from bcc_lightning.tuning.parent_run import open_parent_run
from bcc_lightning.tuning.plan import refuse_foreign_program
from bcc_lightning.tuning.storage import Storage, storage_of
from bcc_lightning.tuning.study import DIED, FAILED, INTERRUPTED, OUT_OF_MEMORY, OpenStudy, retry_due
from bcc_lightning.tuning.worker import main as worker_main
from tests.tuning.searches import stub_plan, stub_program

START_TOGETHER = """
import os, sys
from dataclasses import replace
from pathlib import Path
import alembic, optuna.storages, sqlalchemy.orm
from bcc_lightning.tuning.heartbeat import Worker
from bcc_lightning.tuning.storage import Storage
from bcc_lightning.tuning.study import OpenStudy
from tests.tuning.searches import stub_plan
folder, storage = Path(sys.argv[1]), Storage(sys.argv[2])
waiting, go = os.pipe()
children = []
for number in range(4):
    if not (child := os.fork()):
        os.close(go)
        os.read(waiting, 1)  # until all have been made
        search = OpenStudy.create(storage, stub_plan(folder, trials=6))
        taken = []
        while (trial := search.claim(Worker.of(os.getpid()))) is not None:
            taken.append(trial.number)
        (folder / f"taken-{number}").write_text(" ".join(map(str, taken)))
        os._exit(0)
    children.append(child)
os.close(go)
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
"""


@pytest.mark.slow
def test_processes_that_start_at_the_same_instant_share_the_slots(tmp_path: Path, storage: Storage) -> None:
    command = [sys.executable, "-c", START_TOGETHER, str(tmp_path), storage.url]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True, timeout=120)
    taken = [int(number) for file in tmp_path.glob("taken-*") for number in file.read_text().split()]
    assert len(list(tmp_path.glob("taken-*"))) == 4
    assert sorted(taken) == list(range(6))


def failed(ending: str, number: int, retry_of: int | None = None) -> FrozenTrial:
    attributes: dict[str, Any] = {"ending": ending} | ({} if retry_of is None else {"retry_of": retry_of})
    trial = create_trial(state=TrialState.FAIL, user_attrs=attributes)
    trial.number = number
    return trial


@pytest.mark.parametrize(
    ("endings", "due"),
    [
        ([DIED], True),
        ([DIED, DIED], False),
        ([DIED, OUT_OF_MEMORY], True),
        ([OUT_OF_MEMORY, OUT_OF_MEMORY], False),
        ([OUT_OF_MEMORY, DIED], True),
        ([DIED, INTERRUPTED], True),
        ([DIED, INTERRUPTED, DIED], False),
        ([INTERRUPTED, INTERRUPTED], True),
        ([FAILED], False),
    ],
)
def test_what_is_repeated(endings: list[str], due: bool) -> None:
    trials = [failed(ending, number, number - 1 if number else None) for number, ending in enumerate(endings)]
    found = retry_due(trials)
    assert found is (trials[-1] if due else None)


def test_the_first_trial_has_the_experiments_own_values(tmp_path: Path) -> None:
    search = OpenStudy.create(storage_of(str(tmp_path / "studies.log"), tmp_path), stub_plan(tmp_path, own={"x": 0.625}))
    first, second = search.claim(Worker.of(os.getpid())), search.claim(Worker.of(os.getpid()))
    assert first is not None
    assert second is not None
    assert first.suggest_float("x", 0.2, 0.8) == 0.625
    assert second.suggest_float("x", 0.2, 0.8) != 0.625


def test_a_trial_that_was_proposed_by_hand_is_taken(tmp_path: Path) -> None:
    search = OpenStudy.create(storage_of(str(tmp_path / "studies.log"), tmp_path), stub_plan(tmp_path, trials=1))
    search.study.enqueue_trial({"x": 0.3})
    trial = search.claim(Worker.of(os.getpid()))
    assert trial is not None
    assert trial.suggest_float("x", 0.2, 0.8) == 0.3
    assert search.claim(Worker.of(os.getpid())) is None


def test_an_end_is_told_once(tmp_path: Path) -> None:
    search = OpenStudy.create(storage_of(None, tmp_path), stub_plan(tmp_path))
    assert search.claim(Worker.of(os.getpid())) is not None
    assert search.finish(0, TrialState.COMPLETE, [0.5])
    assert not search.finish(0, TrialState.FAIL, None, DIED, "late")
    assert search.trial(0).values == [0.5]


def test_another_search_in_the_same_study_is_refused(tmp_path: Path) -> None:
    storage = storage_of(None, tmp_path)
    OpenStudy.create(storage, stub_plan(tmp_path, argv=["--model.lr", "1"]))
    with pytest.raises(UserError, match=r"another argv so far: \['--model.lr', '1'\], not \[\].*--study NAME"):
        OpenStudy.create(storage, stub_plan(tmp_path))
    OpenStudy.create(storage, stub_plan(tmp_path, argv=["--model.lr", "1"], trials=9, pruner="median"))


def running(worker: Worker, beat: int | None = None) -> FrozenTrial:
    attributes = {"worker": worker.as_dict()} | ({} if beat is None else {"beat": beat})
    return create_trial(state=TrialState.RUNNING, user_attrs=attributes)


def test_a_worker_of_this_machine_is_dead_when_its_process_is_gone() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    worker = Worker(Worker.of(os.getpid()).machine, process.pid, start_of(process.pid) or "")
    observer = Observer()
    assert observer.death(running(worker)) is None
    process.kill()
    assert start_of(process.pid) is None or process.wait() is not None
    assert observer.death(running(worker)) == f"process {process.pid} vanished"
    reused = Worker(worker.machine, Worker.of(os.getpid()).process, "another time")
    assert observer.death(running(reused)) is not None


def test_a_worker_elsewhere_is_dead_after_a_silence_by_the_observers_clock() -> None:
    now = 0.0
    observer, elsewhere = Observer(grace=90, clock=lambda: now), Worker("another machine", 1, "1")
    assert observer.death(running(elsewhere)) is None
    now = 80
    assert observer.death(running(elsewhere, beat=1)) is None
    now = 170
    assert observer.death(running(elsewhere, beat=1)) is None
    now = 171  # silent for 91 seconds: it gets 15 more
    assert observer.death(running(elsewhere, beat=1)) is None
    now = 185.9
    assert observer.death(running(elsewhere, beat=1)) is None
    now = 186
    assert observer.death(running(elsewhere, beat=1)) == "no sign of life for 106 seconds"
    assert observer.death(running(elsewhere, beat=2)) is None


def test_a_storage_that_was_away_kills_nobody() -> None:
    now = 0.0
    observer, elsewhere = Observer(grace=90, clock=lambda: now), Worker("another machine", 1, "1")
    assert observer.death(running(elsewhere, beat=1)) is None
    now = 300  # the first look after it
    assert observer.death(running(elsewhere, beat=1)) is None
    now = 305
    assert observer.death(running(elsewhere, beat=2)) is None
    now = 394
    assert observer.death(running(elsewhere, beat=2)) is None


@pytest.mark.slow
def test_drivers_of_a_study_share_its_run(tmp_path: Path) -> None:
    plan = stub_plan(tmp_path, argv=["--tracking.uri=http://me@host:5000/a", "--data.root", "s3://host:9000/cells"])
    search = OpenStudy.create(storage_of(None, tmp_path), plan)
    run = open_parent_run(Tracking(folder=str(tmp_path / "mlruns")), search)
    params = run.client.get_run(run.run_id).data.params
    assert params["argv"] == "--tracking.uri=http://me@host:5000/a --data.root s3://host:9000/cells"
    assert params["space.x"] == "0.2 to 0.8"
    assert open_parent_run(Tracking(folder=str(tmp_path / "mlruns")), search).run_id == run.run_id


@pytest.mark.parametrize(
    ("wanted", "command"),
    [
        ("sqlite:////a/studies.db", "uvx optuna-dashboard sqlite:////a/studies.db"),
        ("journal:/a/studies.log", "uvx optuna-dashboard /a/studies.log"),
        ("postgresql://me@db/s", "uvx --with 'psycopg[binary]' optuna-dashboard postgresql+psycopg://me@db/s"),
    ],
)
def test_the_line_that_opens_the_dashboard(tmp_path: Path, wanted: str, command: str) -> None:
    assert storage_of(wanted, tmp_path).dashboard() == command


def test_a_study_goes_on_after_its_folder_has_moved(tmp_path: Path) -> None:
    def search(place: str, *flags: str) -> OpenStudy:
        home = tmp_path / place
        plan = replace(stub_plan(tmp_path), argv=["--exp", "stub", "--tracking.folder", str(home), *flags])
        return OpenStudy.create(storage_of(None, home), plan)

    for name in ("50% off?", "elsewhere #2"):
        (tmp_path / name).mkdir()
    search("50% off?")
    (tmp_path / "50% off?" / "studies.db").rename(tmp_path / "elsewhere #2" / "studies.db")
    moved = search("elsewhere #2")
    assert moved.storage.file == tmp_path / "elsewhere #2" / "studies.db"
    with pytest.raises(UserError, match="another argv"):
        search("elsewhere #2", "--model.lr", "1")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"program": ["touch", "CALLED"]}, "would run .*CALLED"),
        ({"argv": ["--trust", "stranger"]}, "holds --trust"),
    ],
)
def test_a_worker_runs_nothing_that_only_the_storage_names(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    plan = replace(stub_plan(tmp_path, program=[]), **changes)
    with pytest.raises(UserError, match=expected):
        refuse_foreign_program(plan, [])
    refuse_foreign_program(stub_plan(tmp_path), stub_program(tmp_path))


def test_a_study_of_another_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    storage = storage_of(None, tmp_path)
    optuna.create_study(storage=storage.create(), study_name="theirs")
    assert worker_main(["--storage", storage.url, "--study", "theirs"]) == 2
    assert "study theirs was not started by this program" in capsys.readouterr().err
