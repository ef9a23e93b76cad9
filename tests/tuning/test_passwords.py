"""The storage's password stays in the environment: nobody reads it in MLflow, in logs, or in the list of processes."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from bcc_lightning.tune import main
from bcc_lightning.tuning.options import ExecutorName
from bcc_lightning.tuning.storage import Storage
from tests.tuning.conftest import SERVERS
from tests.tuning.searches import stub_search, trials_last

pytestmark = pytest.mark.slow

RAY_LOGS = Path("/tmp/ray")


@SERVERS
@pytest.mark.usefixtures("stub_trials")
@pytest.mark.parametrize(
    ("executor", "variable"), [("local", "PGPASSFILE"), ("slurm", "PGPASSWORD"), ("ray", "PGPASSWORD")], indirect=["executor"]
)
def test_a_password_is_not_shown(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    executor: ExecutorName,
    database: Storage,
    variable: str,
) -> None:
    password = os.environ["PGPASSWORD"]
    if variable == "PGPASSFILE":
        monkeypatch.delenv("PGPASSWORD")
        file = tmp_path_factory.mktemp("secret") / "pgpass"
        file.write_text(f"*:*:*:*:{password}\n")
        file.chmod(0o600)
        monkeypatch.setenv("PGPASSFILE", str(file))
    trials_last(0.5, tmp_path)
    url = database.url.replace("postgresql+psycopg", "postgresql")
    with watched_processes() as seen:
        options = ["--trials", "2", "--executor", executor, "--storage", url]
        assert main(stub_search(*options, "--slurm.cpus", "1", "--ray.cpus", "1")) == 0
    assert any("stub_trial.py" in line for line in seen)  # they were looked at in time
    assert not [line for line in seen if password in line]
    assert password not in "".join(capfd.readouterr())
    assert files_with("pbc_cnn", tmp_path)  # files are found
    assert files_with(password, tmp_path, RAY_LOGS) == []


@contextmanager
def watched_processes() -> Iterator[set[str]]:
    """Collect the command lines of all processes that run meanwhile."""
    seen, done = set[str](), threading.Event()

    def look() -> None:
        while not done.wait(0.1):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    seen.add(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def files_with(words: str, *folders: Path) -> list[Path]:
    """Name the files below some folders that hold these words."""
    found = []
    for file in (file for folder in folders for file in folder.rglob("*")):
        with suppress(OSError):
            if file.is_file() and words.encode() in file.read_bytes():
                found.append(file)
    return found
