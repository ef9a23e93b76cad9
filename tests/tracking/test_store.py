"""Stores that cannot be opened, and what a person is told."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from bcc_lightning.errors import UserError
from bcc_lightning.tracking import store
from bcc_lightning.tracking.finished_runs import find_run
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.tracking.store import open_store
from tests.full_disk import file_size_limit

pytestmark = pytest.mark.usefixtures("tables_are_made")


def test_a_database_whose_making_was_interrupted_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(uri: str) -> MlflowClient:
        Path(uri.removeprefix("sqlite:///")).write_text("half of the tables")
        raise KeyboardInterrupt

    home = tmp_path / "mlruns"
    with monkeypatch.context() as patch:
        patch.setattr(store, "MlflowClient", killed)
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # after SIGKILL the draft stays, too
        with pytest.raises(KeyboardInterrupt):
            open_store(Tracking())
    assert not (home / "mlflow.db").exists()
    client, experiment = open_store(Tracking())
    assert client.get_experiment(experiment).name == Tracking.experiment
    assert sorted(path.name for path in home.iterdir()) == [".store.lock", "mlflow.db"]


def test_what_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns" / "mlflow.db").write_text("no database, but long enough that SQLite looks at it " * 20)
    with pytest.raises(UserError, match="cannot be opened: file is not a database"):
        open_store(Tracking())
    with pytest.raises(UserError, match=r"cannot be read: .*file is not a database"):
        find_run(Tracking(), "house")


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("http://[x", "'http://\\[x' cannot be read"),
        ("http://host:99999", "Port out of range"),
        ("http://anna:secret@127.0.0.1:port", "'http://anna@127.0.0.1:port' cannot be read"),
        ("foo://x", "cannot be opened"),
        ("sqlite:///", "names no file, so nothing would be kept"),
        ("sqlite://", "names no file, so nothing would be kept"),
        ("sqlite:///gr\udcf6.db", r"'sqlite:///gr\\udcf6.db' cannot be read"),
        ("postgresql://anna:secret@127.0.0.1:9/mlflow", "postgresql://anna@127.0.0.1:9/mlflow does not answer"),
    ],
)
def test_uri_that_names_no_store(uri: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        open_store(Tracking(uri=uri))


def test_database_that_was_made_by_half_is_not_kept() -> None:
    # MLflow would never get on with it, also when the disk has space again: "table _alembic_tmp_experiments already exists".
    with file_size_limit(100_000), pytest.raises(UserError, match="Next step"):
        open_store(Tracking())
    assert not list(Path("mlruns").glob("mlflow.db*"))


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_tracking_folder_that_is_a_file(place: str) -> None:
    Path("file").touch()
    with pytest.raises(UserError, match=f"--tracking.folder .*{place} cannot be written to"):
        open_store(Tracking(folder=place))
