"""Users that a container does not know, a current folder that is gone, and threads that wait for one another."""

import getpass
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from bcc_lightning.engine.recorder import provenance
from bcc_lightning.surroundings import complete_account, limit_spinning

ACCOUNT = ("LOGNAME", "USER", "LNAME", "USERNAME", "HOME")


@pytest.fixture(autouse=True)
def no_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user whose number ``/etc/passwd`` does not know."""

    def unknown(number: int) -> NoReturn:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ACCOUNT:
        monkeypatch.setenv(name, "")  # so that what is set is undone
        monkeypatch.delenv(name)


def test_unknown_user_has_a_name_and_a_home() -> None:
    complete_account()
    assert getpass.getuser() == f"uid{os.getuid()}" == provenance()["mlflow.user"]
    assert Path.home() == Path("/")


def test_what_the_environment_says_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USERNAME", "anna")
    monkeypatch.setenv("HOME", "/scratch")
    complete_account()
    assert getpass.getuser() == "anna"
    assert Path.home() == Path("/scratch")


def test_current_folder_that_was_deleted(tmp_path: Path) -> None:
    script = 'mkdir gone && cd gone && rmdir ../gone && exec "$PYTHON" -m bcc_lightning.data describe'
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "PYTHON": sys.executable}
    done = subprocess.run(["sh", "-c", script], check=False, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: the current folder no longer exists; change to an existing one with cd"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("given", "limit"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "PASSIVE"}, None)],
    ids=["silent", "own limit", "own policy"],
)
def test_threads_wait_briefly_unless_told_otherwise(
    given: dict[str, str], limit: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # so that what is set is undone
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    limit_spinning()
    assert os.environ.get("GOMP_SPINCOUNT") == limit


def test_the_limit_is_set_before_torch_is_imported() -> None:
    code = "import bcc_lightning, os, sys; print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    environment = {key: value for key, value in os.environ.items() if key not in {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}}
    found = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert found.stdout.split() == ["10000", "False"]
