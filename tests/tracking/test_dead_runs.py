"""No run stays RUNNING after its process has died, and none that lives is ended, whatever host name and number say."""

import json
import os
import socket
from pathlib import Path

import pytest
from mlflow import MlflowClient

from bcc_lightning.processes import Process
from bcc_lightning.tracking.dead_runs import IDENTITY, PROCESS
from bcc_lightning.tracking.finished_runs import finished_runs
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.run_files import RunFolder
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.tracking.store import open_store
from tests.miniature import add_run, runs_in
from tests.tracking.holder import end, hold

pytestmark = [pytest.mark.usefixtures("ready_store"), pytest.mark.slow]

GONE = 2**22 + 1
"""A number that no process has."""


def running(process: int, machine: str = "another") -> str:
    """Leave a run behind that counts as running, as a process of this number on this host would; gives its id."""
    client, experiment = open_store(Tracking())
    identity = json.dumps(Process(machine, process, "1").as_dict())
    tags = {PROCESS: f"{socket.gethostname()}:{process}", IDENTITY: identity}
    run_id = str(client.create_run(experiment, tags=tags).info.run_id)
    RunFolder(Tracking().work / run_id).create()
    return run_id


def status(run_id: str) -> str:
    return str(MlflowClient(Tracking().resolved_uri).get_run(run_id).info.status)


def test_a_live_run_of_another_container_is_not_ended(tmp_path: Path) -> None:
    run_id = running(GONE)  # of this host's name, but with a number that means nothing here
    process = hold(tmp_path / "mlruns" / "active" / run_id)
    try:
        TrackedRun.create(Tracking(), "next", {})
        assert status(run_id) == "RUNNING"
    finally:
        end(process)
    finished_runs(Tracking())
    assert status(run_id) == "KILLED"


def test_a_dead_run_is_ended_although_a_process_has_its_number(tmp_path: Path) -> None:
    run_id = running(os.getpid())
    end(hold(tmp_path / "mlruns" / "active" / run_id))
    finished_runs(Tracking())  # any command that opens the store
    assert status(run_id) == "KILLED"
    assert not (tmp_path / "mlruns" / "active" / run_id).exists()  # there is nothing to go on with


def test_a_run_that_died_before_it_had_a_folder() -> None:
    this = Process.this()
    dead = running(GONE, this.machine)
    alive = running(this.process, "another machine, of which nothing is known here")
    finished_runs(Tracking())
    assert (status(dead), status(alive)) == ("KILLED", "RUNNING")


def test_runs_of_all_experiments_are_looked_at(tmp_path: Path) -> None:
    run_id = running(GONE)
    end(hold(tmp_path / "mlruns" / "active" / run_id))
    finished_runs(Tracking(experiment="another"))
    assert status(run_id) == "KILLED"


def test_runs_of_others_are_left_alone() -> None:
    client, experiment = open_store(Tracking())
    run_id = str(client.create_run(experiment).info.run_id)
    finished_runs(Tracking())
    assert status(run_id) == "RUNNING"


def test_what_a_killed_run_can_go_on_with_stays_and_what_was_filed_goes(tmp_path: Path) -> None:
    killed, filed = running(GONE), add_run(Tracking(), "house")
    work = Tracking().work
    for run_id in (killed, filed):
        folder = RunFolder(work / run_id)
        folder.create()
        folder.config.write_text("seed_everything: 0\n")
        end(hold(folder.path))
    finished_runs(Tracking())
    assert [path.name for path in work.iterdir()] == [killed]
    assert {run.info.run_id: run.info.status for run in runs_in(tmp_path / "mlruns")} == {killed: "KILLED", filed: "FINISHED"}
