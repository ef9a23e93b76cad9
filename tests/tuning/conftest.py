"""Storages and clusters for stub searches, among them servers that are started for the tests."""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bcc_lightning.engine import searching
from bcc_lightning.tuning.options import ExecutorName
from bcc_lightning.tuning.plan import Plan
from bcc_lightning.tuning.storage import Storage, storage_of
from tests.tuning import clusters
from tests.tuning.postgresql import PostgreSQL
from tests.tuning.searches import LEARNING_RATE, stub_program

CLUSTERS = ("slurm", "ray")

LONG = "BCC_LONG_TESTS"
"""Variable with which tests run that take minutes on a cluster of one machine."""

SERVERS = pytest.mark.xdist_group("servers")
"""Tests with servers run in one process, which starts each server once and ends it."""

SERVER_USER = "postgres"
"""PostgreSQL refuses to run as root; Debian's package makes this user."""


@pytest.fixture(autouse=True)
def stub_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))


@pytest.fixture
def stub_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make trials of `bcc_lightning.tune` run the stub instead of `fit`."""
    make_plan = searching.make_plan
    Path("space.yaml").write_text(yaml.safe_dump(LEARNING_RATE))

    def with_stub(*arguments: Any) -> Plan:
        return replace(make_plan(*arguments), program=stub_program(tmp_path))

    monkeypatch.setattr(searching, "make_plan", with_stub)


@pytest.fixture(params=["sqlite", "journal", pytest.param("postgresql", marks=SERVERS)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty storage of each kind."""
    if request.param == "postgresql":
        return request.getfixturevalue("database")
    return storage_of(None if request.param == "sqlite" else str(tmp_path / "studies.log"), tmp_path)


@pytest.fixture
def database(postgresql: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """An empty database on a server; its password is in the environment."""
    monkeypatch.setenv("PGPASSWORD", postgresql.password)
    return storage_of(new_database(postgresql.url), tmp_path)


@pytest.fixture(params=["in_process", "local", *(pytest.param(name, marks=SERVERS) for name in CLUSTERS)])
def executor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ExecutorName:
    """Name of each executor; a cluster is started for it where it needs one."""
    return surround(request, monkeypatch)


@pytest.fixture(params=[pytest.param(name, marks=SERVERS) for name in CLUSTERS])
def cluster(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ExecutorName:
    """Name of each executor with a cluster, which is started."""
    return surround(request, monkeypatch)


def surround(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ExecutorName:
    """Set what an executor's cluster is found by."""
    name: ExecutorName = request.param
    monkeypatch.setattr("bcc_lightning.tuning.executors.slurm.LOOK_SECONDS", 0.5)
    for variable, value in (request.getfixturevalue(f"{name}_cluster") if name in CLUSTERS else {}).items():
        monkeypatch.setenv(variable, value)
    return name


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[dict[str, str]]:
    with clusters.slurm_cluster() as environment:
        yield environment


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[dict[str, str]]:
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("PGPASSWORD", "PGPASSFILE"):  # Ray's processes keep what they were started with
            patch.delenv(variable, raising=False)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        with clusters.ray_cluster() as environment:
            patch.undo()
            yield environment


def new_database(url: str) -> str:
    """Make an empty database on a server; gives its URL."""
    import psycopg

    name = f"study_{secrets.token_hex(4)}"
    with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
    return f"{url}/{name}"


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server that asks for a password."""
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is missing: uv sync --extra postgresql")
    programs = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))), shutil.which("initdb"))
    if programs is None:
        pytest.skip("PostgreSQL's server programs are missing: apt-get install postgresql")
    user = SERVER_USER if os.getuid() == 0 else None
    if user and user not in {entry.pw_name for entry in pwd.getpwall()}:
        pytest.skip(f"PostgreSQL does not run as root, and there is no user {SERVER_USER}")
    with tempfile.TemporaryDirectory() as name:
        server = PostgreSQL(Path(programs).parent, Path(name), user)
        server.start()
        try:
            yield server
        finally:
            server.stop(signal.SIGINT)  # does not wait for clients
