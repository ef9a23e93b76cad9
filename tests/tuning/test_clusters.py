"""What only executors with a cluster do."""

import math
import subprocess
import sys
from pathlib import Path

import pytest

from bcc_lightning.engine.searching import seats_of
from bcc_lightning.errors import UserError
from bcc_lightning.tuning.executors.base import Assignment, refuse_files_of_this_machine
from bcc_lightning.tuning.executors.ray import Ray
from bcc_lightning.tuning.executors.slurm import Slurm
from bcc_lightning.tuning.options import ActorOptions, ExecutorName, JobOptions, read_options
from bcc_lightning.tuning.storage import Storage, storage_of
from bcc_lightning.tuning.study import ENDING, INTERRUPTED, OpenStudy
from tests.tuning.conftest import SERVERS
from tests.tuning.killing import start_driver
from tests.tuning.searches import check, executor_of, ledger, stub_plan, trials_last, wait_until

pytestmark = pytest.mark.slow


def test_a_driver_that_starts_again_finds_its_workers(tmp_path: Path, cluster: ExecutorName) -> None:
    trials_last(60, tmp_path)
    search = OpenStudy.create(storage_of(None, tmp_path), stub_plan(tmp_path))
    executor_of(cluster, search, 1).place(1, math.inf)
    wait_until(lambda: len(ledger(tmp_path, "start")) == 1)
    again, another = executor_of(cluster, search, 2), executor_of(cluster, search, 2, study="another")
    assert [again.lives(0), again.lives(1), another.lives(1)] == [False, True, False]
    another.stop()
    assert again.lives(1)
    again.stop()
    assert not again.lives(1)
    assert [trial.user_attrs[ENDING] for trial in search.trials()] == [INTERRUPTED]


def test_workers_go_on_without_a_driver(tmp_path: Path, cluster: ExecutorName) -> None:
    trials_last(0.5, tmp_path)
    search = OpenStudy.create(storage_of(None, tmp_path), stub_plan(tmp_path, trials=4))
    driver = start_driver(search, cluster)
    try:
        wait_until(lambda: len(ledger(tmp_path, "start")) >= 1)
    finally:
        driver.kill()
        driver.wait()
    wait_until(lambda: len(search.trials()) == 4 and all(trial.state.is_finished() for trial in search.trials()))
    check(search, tmp_path)


@SERVERS
def test_a_job_gets_what_was_asked_for(tmp_path: Path, slurm_cluster: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", slurm_cluster["SLURM_CONF"])
    trials_last(60, tmp_path)
    search = OpenStudy.create(storage_of(None, tmp_path), stub_plan(tmp_path))
    assignment = Assignment(search.storage, search.plan.study, Path(search.plan.logs), program=search.plan.program)
    workers = Slurm(assignment, JobOptions("all", minutes=7, cpus=2, more={"comment": "night"}))
    workers.place(0, math.inf)
    shown = subprocess.run(["scontrol", "show", "job"], capture_output=True, text=True, check=True).stdout
    workers.stop()
    (job,) = (text for text in shown.split("\n\n") if assignment.name(0) in text)
    for field in ("Partition=all", "TimeLimit=00:07:00", "Comment=night", "CPUs/Task=2", "Dependency=", "Requeue=1"):
        assert field in job


@SERVERS
def test_what_slurm_refuses_is_told(tmp_path: Path, slurm_cluster: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", slurm_cluster["SLURM_CONF"])
    assignment = Assignment(storage_of(None, tmp_path), "stub", tmp_path)
    with pytest.raises(UserError, match=r"partition nowhere.*--slurm.partition"):
        Slurm(assignment, JobOptions("nowhere"))
    with pytest.raises(UserError, match=r"SLURM refuses the job of a worker.*Next step"):
        Slurm(assignment, JobOptions(cpus=1, gpus=4)).place(0, math.inf)


def test_a_ray_that_does_not_run_is_told(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray is missing: uv sync --extra ray")
    for address in ("127.0.0.1:9", "nowhere"):
        with pytest.raises(UserError, match=f"finds no cluster at '{address}'. Next step: start one with `ray start --head`"):
            Ray(Assignment(storage_of(None, tmp_path), "stub", tmp_path), ActorOptions(address))


@pytest.mark.parametrize(("make", "package"), [(Slurm, "submitit"), (Ray, "ray")])
def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: type[Slurm | Ray], package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    extra = "slurm" if make is Slurm else "ray"
    with pytest.raises(UserError, match=rf"--executor {extra} needs a package: uv pip install 'bcc-lightning\[{extra}\]'"):
        make(Assignment(storage_of(None, tmp_path), "stub", tmp_path))


def test_a_machine_without_slurm_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit", reason="submitit is missing: uv sync --extra slurm")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="there is no sinfo on this machine; run the command where jobs are submitted"):
        Slurm(Assignment(storage_of(None, tmp_path), "stub", tmp_path))


def test_a_file_is_refused_where_other_machines_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "login.uni.example")
    nodes = ["127.0.0.1", "login", "login.uni.example", "gpu2", "gpu1"]
    file, server = storage_of(None, tmp_path), Storage("postgresql+psycopg://me@db/studies")
    message = "workers would also run on gpu1, gpu2. Next step: "
    with pytest.raises(UserError, match=rf"{message}.*--storage postgresql://USER@HOST/DATABASE"):
        refuse_files_of_this_machine(Assignment(file, "stub", tmp_path), nodes)
    with pytest.raises(UserError, match=rf"sqlite:///runs.db is a file, .*{message}.*--tracking.uri http://HOST:PORT"):
        refuse_files_of_this_machine(Assignment(server, "stub", tmp_path, "sqlite:///runs.db"), nodes)
    refuse_files_of_this_machine(Assignment(file, "stub", tmp_path, "sqlite:///runs.db"), ["127.0.0.1", "login"])
    refuse_files_of_this_machine(Assignment(server, "stub", tmp_path, "http://server:5000"), nodes)


def test_options_of_clusters_are_read() -> None:
    slurm = ["--slurm.partition", "gpu", "--slurm.minutes", "90", "--slurm.cpus", "6", "--slurm.more", '{"qos": "long"}']
    options, flags = read_options(
        ["--exp", "x", "--executor", "slurm", "--workers", "4", *slurm, "--ray.gpus", "0.5", "--", "-v"]
    )
    assert options.slurm == JobOptions("gpu", minutes=90, cpus=6, more={"qos": "long"})
    assert (options.ray, flags) == (ActorOptions(gpus=0.5), ["-v"])
    assert (seats_of(options).count, seats_of(options).threads) == (4, 6)
    with pytest.raises(UserError, match="cpus"):
        read_options(["--exp", "x", "--slurm.cpus", "many"])
