"""Folders that move: runs are found, their files open, and new ones are written where the person stands."""

import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from mlflow import MlflowClient

from bcc_lightning.tracking.finished_runs import FinishedRun, find_run
from bcc_lightning.tracking.place import local_path, sqlite_file, sqlite_uri
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.settings import Tracking
from tests.miniature import add_run, runs_in

FILES = {"checkpoints/best.ckpt": "weights"}

ODD_NAMES = ["two words", "50%20off", "a#b", "what?", "Blutzellen é", "a;b+c&d"]


def store(folder: Path, tables: Path) -> Tracking:
    """Make a store in a folder, with its tables."""
    folder.mkdir(parents=True)
    shutil.copy(tables, folder)
    return Tracking(folder=str(folder))


def weights_of(tracking: Tracking, run_id: str) -> str:
    return find_run(tracking, run_id).checkpoint.read_text()


def places(tracking: Tracking) -> list[str]:
    """List all places that the database names."""
    with sqlite3.connect(tracking.home / "mlflow.db") as connection:
        named = "SELECT artifact_location FROM experiments WHERE experiment_id > 0 UNION ALL SELECT artifact_uri FROM runs"
        return [place for (place,) in connection.execute(named)]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_folder_of_any_name_moves_to_another(name: str, tmp_path: Path, tables: Path) -> None:
    old, new = tmp_path / name / "mlruns", tmp_path / f"{name} (moved)" / "mlruns"
    run_id = add_run(store(old, tables), "house", files=FILES)
    assert (old / "artifacts" / run_id / "artifacts" / "checkpoints" / "best.ckpt").is_file()
    old.parent.rename(new.parent)
    moved = Tracking(folder=str(new))
    assert weights_of(moved, run_id) == "weights"
    later = add_run(moved, "house", files=FILES)
    assert (new / "artifacts" / later / "artifacts" / "checkpoints" / "best.ckpt").is_file()
    assert weights_of(moved, later) == "weights"
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{name} (moved)"]  # nothing was made at the old place, or beside
    assert all(str(local_path(place)).startswith(str(new)) for place in places(moved))


def test_a_copy_is_written_to_itself_while_the_old_place_is_still_there(tmp_path: Path, tables: Path) -> None:
    old = store(tmp_path / "old", tables)
    run_id = add_run(old, "house", files=FILES)
    shutil.copytree(tmp_path / "old", tmp_path / "copy")
    (tmp_path / "old" / "artifacts" / run_id / "artifacts" / "checkpoints" / "best.ckpt").write_text("others")
    copy = Tracking(folder=str(tmp_path / "copy"))
    later = add_run(copy, "house", files=FILES)
    assert weights_of(copy, run_id) == "weights"
    assert not (tmp_path / "old" / "artifacts" / later).exists()
    assert weights_of(old, run_id) == "others"


def test_a_store_that_was_made_before_experiments_were_tagged(tmp_path: Path, tables: Path) -> None:
    old = store(tmp_path / "old", tables)
    run_id = add_run(old, "house", files=FILES)
    with sqlite3.connect(tmp_path / "old" / "mlflow.db") as connection:
        connection.execute("DELETE FROM experiment_tags")
    (tmp_path / "old").rename(tmp_path / "new")
    assert weights_of(Tracking(folder=str(tmp_path / "new")), run_id) == "weights"


def test_an_empty_store_from_then_gets_its_first_run_where_it_is_now(tmp_path: Path, tables: Path) -> None:
    client = MlflowClient(store(tmp_path / "old", tables).resolved_uri)
    client.create_experiment(Tracking.experiment, (tmp_path / "old" / "artifacts").as_uri())
    (tmp_path / "old").rename(tmp_path / "new")
    run_id = add_run(Tracking(folder=str(tmp_path / "new")), "house", files=FILES)
    assert (tmp_path / "new" / "artifacts" / run_id).is_dir()
    assert not (tmp_path / "old").exists()


def test_experiments_of_others_are_left_alone(tmp_path: Path, tables: Path) -> None:
    old = store(tmp_path / "old", tables)
    add_run(old, "house")
    theirs, client = tmp_path / "theirs" / "artifacts", MlflowClient(old.resolved_uri)
    theirs.mkdir(parents=True)
    experiment = client.create_experiment("theirs", theirs.as_uri())
    run = client.create_run(experiment)
    (tmp_path / "old").rename(tmp_path / "new")
    new = Tracking(folder=str(tmp_path / "new"))
    add_run(new, "house")
    client = MlflowClient(new.resolved_uri)
    assert client.get_experiment(experiment).artifact_location == theirs.as_uri()
    assert client.get_run(run.info.run_id).info.artifact_uri == f"{theirs.as_uri()}/{run.info.run_id}/artifacts"
    # Filed through us, a run of theirs goes to their place.
    run_id = add_run(Tracking(folder=str(tmp_path / "new"), experiment="theirs"), "house", files=FILES)
    assert (theirs / run_id / "artifacts" / "checkpoints" / "best.ckpt").is_file()


def test_models_and_versions_follow(tmp_path: Path, tables: Path) -> None:
    old = store(tmp_path / "old", tables)
    run_id = add_run(old, "house", files=FILES)
    client = MlflowClient(old.resolved_uri)
    client.create_registered_model("blood")
    client.create_model_version("blood", f"{(tmp_path / 'old' / 'artifacts').as_uri()}/{run_id}/artifacts/model", run_id=run_id)
    (tmp_path / "old").rename(tmp_path / "new")
    find_run(Tracking(folder=str(tmp_path / "new")), run_id)
    version = MlflowClient(Tracking(folder=str(tmp_path / "new")).resolved_uri).get_model_version("blood", "1")
    assert version.source == f"{(tmp_path / 'new' / 'artifacts').as_uri()}/{run_id}/artifacts/model"


def test_one_folder_under_two_names_is_no_move(tmp_path: Path, tables: Path) -> None:
    tracking = store(tmp_path / "disk" / "mlruns", tables)
    run_id = add_run(tracking, "house", files=FILES)
    before = places(tracking)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "mlruns")
    linked = Tracking(folder=str(tmp_path / "link"))
    assert weights_of(linked, run_id) == "weights"
    assert places(tracking) == before


def test_a_link_to_a_folder_that_moves(tmp_path: Path, tables: Path) -> None:
    store(tmp_path / "disk", tables)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "mlruns").symlink_to(tmp_path / "disk")
    run_id = add_run(Tracking(folder=str(tmp_path / "old" / "mlruns")), "house", files=FILES)
    (tmp_path / "old").rename(tmp_path / "new")
    moved = Tracking(folder=str(tmp_path / "new" / "mlruns"))
    later = add_run(moved, "house", files=FILES)
    assert (weights_of(moved, run_id), weights_of(moved, later)) == ("weights", "weights")
    assert not (tmp_path / "old").exists()


def test_a_database_that_cannot_be_written_is_read_all_the_same(
    tmp_path: Path, tables: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = add_run(store(tmp_path / "old", tables), "house", files=FILES)
    (tmp_path / "old").rename(tmp_path / "new")
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda file, **options: connect(f"file:{file}?mode=ro", uri=True, **options))
    moved = Tracking(folder=str(tmp_path / "new"))
    assert weights_of(moved, run_id) == "weights"
    monkeypatch.undo()
    assert all(str(local_path(place)).startswith(str(tmp_path / "old")) for place in places(moved))


def test_a_database_elsewhere_keeps_its_places(tmp_path: Path, tables: Path) -> None:
    store(tmp_path / "shared", tables)
    uri = sqlite_uri(tmp_path / "shared" / "mlflow.db")
    run_id = add_run(Tracking(uri=uri, folder=str(tmp_path / "mine")), "house", files=FILES)
    theirs = Tracking(uri=uri, folder=str(tmp_path / "theirs"))
    add_run(theirs, "house")
    assert weights_of(theirs, run_id) == "weights"
    assert (tmp_path / "mine" / "artifacts" / run_id).is_dir()
    assert weights_of(Tracking(folder=str(tmp_path / "shared")), run_id) == "weights"


def test_a_process_that_sees_the_folder_under_another_name_does_not_divert_files(tmp_path: Path, tables: Path) -> None:
    """Two containers that mount one folder in two places: the database names the place of the last that opened it."""
    tracking = store(tmp_path / "here", tables)
    run = TrackedRun.create(tracking, "house", {})
    (run.folder.artifacts / "note.txt").write_text("ours")
    with sqlite3.connect(tmp_path / "here" / "mlflow.db") as connection:
        connection.execute("UPDATE runs SET artifact_uri = replace(artifact_uri, 'here', 'there')")
        connection.execute("UPDATE experiments SET artifact_location = replace(artifact_location, 'here', 'there')")
    assert run.close("FINISHED") is None
    assert not (tmp_path / "there").exists()
    found = FinishedRun(run.client, runs_in(tmp_path / "here")[0], tracking)
    assert found.artifact("note.txt").read_text() == "ours"


def test_a_run_is_filed_without_drafts_and_whole(tmp_path: Path, tables: Path) -> None:
    tracking = store(tmp_path / "here", tables)
    run = TrackedRun.create(tracking, "house", {})
    (run.folder.artifacts / "note.txt").write_text("ours")
    (run.folder.artifacts / ".draft-00.txt").write_text("half")
    filed = tracking.artifacts / run.run_id / "artifacts"
    filed.mkdir(parents=True)
    (filed / ".draft-01.txt").write_text("of a process that was killed while it filed")
    assert run.close("FINISHED") is None
    assert os.listdir(filed) == ["note.txt"]


@pytest.mark.parametrize("name", [*ODD_NAMES, "plain"])
def test_uri_and_file_of_a_database_belong_to_each_other(name: str, tmp_path: Path) -> None:
    file = tmp_path / name / "mlflow.db"
    assert sqlite_file(sqlite_uri(file)) == file
    assert sqlite_file("postgresql://ward/runs") is None
    assert sqlite_file("sqlite:///mlruns/mlflow.db") == Path("mlruns/mlflow.db")
