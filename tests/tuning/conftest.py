"""Storages and clusters for stub searches, among them servers that are started for the tests."""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bcc_lightning.tuning.storage import Storage, storage_of
from tests.tuning import clusters

SERVER_USER = "postgres"
"""PostgreSQL refuses to run as root; Debian's package makes this user."""


@pytest.fixture(autouse=True)
def stub_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))


@pytest.fixture(params=["sqlite", "journal", "postgresql"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """An empty storage of each kind."""
    if request.param == "sqlite":
        return storage_of(None, tmp_path)
    if request.param == "journal":
        return storage_of(str(tmp_path / "studies.log"), tmp_path)
    url = request.getfixturevalue("postgresql")
    monkeypatch.setenv("PGPASSFILE", str(request.getfixturevalue("password_file")))
    return storage_of(new_database(url), tmp_path)


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[dict[str, str]]:
    with clusters.slurm_cluster() as environment:
        yield environment


@pytest.fixture(scope="session")
def ray_cluster(password_file: Path) -> Iterator[dict[str, str]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGPASSFILE", str(password_file))
        with clusters.ray_cluster() as environment:
            yield environment


def new_database(url: str) -> str:
    """Make an empty database on a server; gives its URL."""
    import psycopg

    name = f"study_{secrets.token_hex(4)}"
    with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
    return f"{url}/{name}"


@pytest.fixture(scope="session")
def password_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file for the server's password, named before the server is started: Ray's processes keep their first environment."""
    return tmp_path_factory.mktemp("password") / "pgpass"


@pytest.fixture(scope="session")
def postgresql(password_file: Path) -> Iterator[str]:
    """A PostgreSQL server that asks for a password; gives its URL without."""
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is missing: uv sync --extra postgresql")
    programs = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))), shutil.which("initdb"))
    if programs is None:
        pytest.skip("PostgreSQL's server programs are missing: apt-get install postgresql")
    user = SERVER_USER if os.getuid() == 0 else None
    if user and user not in {entry.pw_name for entry in pwd.getpwall()}:
        pytest.skip(f"PostgreSQL does not run as root, and there is no user {SERVER_USER}")
    with tempfile.TemporaryDirectory() as name:
        folder, password = Path(name), secrets.token_hex(8)
        (folder / "password").write_text(password)
        if user:
            for path in (folder, folder / "password"):
                shutil.chown(path, user)
        server, port = start_server(Path(programs).parent, folder, user)
        try:
            password_file.write_text(f"*:*:*:tester:{password}\n")
            password_file.chmod(0o600)
            yield f"postgresql://tester@127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGINT)  # does not wait for clients
            server.wait(30)


def start_server(programs: Path, folder: Path, user: str | None) -> tuple[subprocess.Popen[bytes], int]:
    """Make a cluster of databases and start its server; gives its port."""
    data = str(folder / "data")
    make = ["-U", "tester", "--pwfile", str(folder / "password"), "-A", "scram-sha-256", "--no-sync"]
    subprocess.run([programs / "initdb", "-D", data, *make], user=user, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["-p", str(port), "-k", str(folder), "-c", "fsync=off", "-c", "listen_addresses=127.0.0.1"]
    log = (folder / "log").open("wb")
    server = subprocess.Popen([programs / "postgres", "-D", data, *options], user=user, stdout=log, stderr=log, cwd=folder)
    deadline = time.monotonic() + 60
    while subprocess.call([programs / "pg_isready", "-h", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL):
        assert time.monotonic() < deadline
        assert server.poll() is None, (folder / "log").read_text()
        time.sleep(0.1)
    return server, port
