"""A database that was killed while it was made, or is none, and what a person is told."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from bcc_lightning.errors import UserError
from bcc_lightning.tracking import store
from bcc_lightning.tracking.finding import find_run
from bcc_lightning.tracking.store import Tracking, open_store


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
