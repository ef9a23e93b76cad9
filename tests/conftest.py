"""Every test runs in an empty folder, on one thread per worker, without the user's tracking server."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before torch is imported: two test workers on two cores with two threads each would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("MLFLOW_TRACKING_URI", None)

import pytest
import torch
from matplotlib.figure import Figure

from bcc_lightning.errors import command_line
from bcc_lightning.files import copy_whole
from bcc_lightning.processes import STOPPING
from bcc_lightning.tracking import store
from bcc_lightning.tracking.store import make_database


def pytest_xdist_auto_num_workers() -> int:
    """Start one process more than there are cores: many of the slow tests wait for servers, or for processes that they stop."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, so that runs go to its own `mlruns` and decoded images to its own cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BCC_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    """Draw the same numbers whichever tests ran before in this process."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def errors_name_flags() -> Iterator[None]:
    """Let errors speak of the command line; `test_api.py` looks at what they say in Python."""
    with command_line():
        yield


@pytest.fixture(autouse=True)
def interrupt_handlers() -> Iterator[None]:
    """Give signals back to the tests: commands take SIGTERM and SIGHUP over, Lightning ignores Ctrl-C after the first one. A
    shell may have had the tests ignore some from the start: Ctrl-C in the background, SIGHUP under nohup.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, *STOPPING)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in STOPPING:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True, scope="session")
def coarse_figures() -> Iterator[None]:
    """Draw figures with few pixels, not laid out, hardly compressed: otherwise they take a third of a small run's time."""
    save = Figure.savefig

    def save_coarsely(self: Figure, *place: Any, **options: Any) -> None:
        self.set_layout_engine("none")
        save(self, *place, **{**options, "dpi": 30, "pil_kwargs": {"compress_level": 1}})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save_coarsely)
        yield


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables and nothing in them."""
    file = tmp_path_factory.mktemp("tables") / "mlflow.db"
    make_database(file)
    return file


@pytest.fixture(autouse=True)
def tables_are_copied(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy the tables of each new store from one that was made before: making them takes as long as a short training.

    Processes that a test starts make their own, and so do tests with the fixture `tables_are_made`.
    """
    if "tables_are_made" not in request.fixturenames:
        monkeypatch.setattr(store, "make_database", lambda file: copy_whole(request.getfixturevalue("tables"), file))


@pytest.fixture
def tables_are_made() -> None:
    """Ask for stores whose tables are really made."""


@pytest.fixture
def ready_store(empty_folder: Path, tables: Path) -> None:
    """Give the test's own `mlruns` its tables; for tests of what comes after."""
    (empty_folder / "mlruns").mkdir()
    shutil.copy(tables, empty_folder / "mlruns")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real cells; tests that need them are skipped elsewhere."""
    folder = Path(os.environ.get("BCC_DATA_DIR", "data"))
    if not (folder / "bloodmnist_rebuilt" / "bloodmnist.npz").is_file():
        pytest.skip("real cells are missing: BCC_DATA_DIR names no folder with bloodmnist_rebuilt/bloodmnist.npz")
    return folder.absolute()


@pytest.fixture(scope="session")
def painted_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with painted cells and a run that was trained on them; tests that read it are of one group."""
    from tests.miniature import train_on_painted_folder

    return train_on_painted_folder(tmp_path_factory.mktemp("painted"))
