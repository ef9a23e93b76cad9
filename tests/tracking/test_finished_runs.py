"""Finished runs are found again by id, by the beginning of one, by experiment and as registered models."""

import re
from pathlib import Path

import pytest
from mlflow import MlflowClient

from bcc_lightning.errors import UserError
from bcc_lightning.tracking.finished_runs import find_run, finished_runs
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.tracking.trained_networks import find_network
from tests.miniature import add_run
from tests.tracking.test_tracking_server import free_port, server

WEIGHTS = {"checkpoints/best.ckpt": "weights"}


@pytest.fixture
def tracking() -> Tracking:
    return Tracking()


def test_by_id_by_its_beginning_and_by_experiment(tracking: Tracking) -> None:
    first, second = (add_run(tracking, "house", files=WEIGHTS) for _ in range(2))
    assert find_run(tracking, first).run_id == first
    assert find_run(tracking, first[:12]).run_id == first
    assert find_run(tracking, "house").run_id == second
    run = find_run(tracking, second)
    assert run.summary.run_id == second
    assert run.config["name"] == "house"
    assert run.checkpoint.read_text() == "weights"
    assert run.checkpoint.is_relative_to(tracking.home / "artifacts")


def test_an_id_is_found_in_every_mlflow_experiment_a_name_only_in_its_own(tracking: Tracking) -> None:
    other = Tracking(experiment="elsewhere")
    run_id = add_run(other, "house")
    add_run(tracking, "swin_tiny")
    assert find_run(tracking, run_id[:16]).run_id == run_id
    with pytest.raises(UserError, match="no finished run 'house'"):
        find_run(tracking, "house")


@pytest.mark.slow
@pytest.mark.parametrize("experiment", ["o'brien", 'a"b', "a\\", "x' OR ''='", "x; y", "日本", "a\x1b[31m\x00"])
def test_experiments_whose_names_a_search_would_misread(tracking: Tracking, experiment: str) -> None:
    add_run(tracking, "house")
    wanted = add_run(tracking, experiment)
    assert find_run(tracking, experiment).run_id == wanted
    with pytest.raises(UserError, match="no finished run"):
        find_run(tracking, f"{experiment}s")


def test_values_that_a_database_cannot_store(tracking: Tracking) -> None:
    value = "/cells/\udcff\x00[red]\x1b[31m"
    run_id = add_run(tracking, "house", tags={"note": value}, params={"data.class_map.CD34+": value, "k" * 300: "x"})
    run = find_run(tracking, run_id).run
    shown = r"/cells/\udcff\x00[red]\x1b[31m"
    assert run.data.tags["note"] == run.data.params["data.class_map.CD34:plus-sign:"] == shown
    assert len(run.data.params) == 2


def test_folds_and_trials_do_not_stand_for_their_experiment(tracking: Tracking) -> None:
    parent = add_run(tracking, "house")
    fold = add_run(tracking, "house", tags={"mlflow.parentRunId": parent})
    assert find_run(tracking, "house").run_id == parent
    assert find_run(tracking, fold).run_id == fold
    assert [run.run_id for run in finished_runs(tracking)] == [parent]


def test_the_newest_of_all(tracking: Tracking) -> None:
    add_run(tracking, "house", "KILLED")
    with pytest.raises(UserError, match="no finished run 'last'"):
        find_run(tracking, "last")
    add_run(tracking, "house")
    newest = add_run(tracking, "swin_tiny")
    add_run(tracking, "swin_tiny", tags={"mlflow.parentRunId": newest})
    add_run(tracking, "house", "KILLED")
    assert find_run(tracking, "last").run_id == newest
    own = add_run(tracking, "last")
    add_run(tracking, "house")
    assert find_run(tracking, "last").run_id == own


def test_only_finished_runs_count(tracking: Tracking) -> None:
    finished = add_run(tracking, "house")
    killed = add_run(tracking, "house", "KILLED")
    assert find_run(tracking, "house").run_id == finished
    with pytest.raises(UserError, match=f"run {killed} has the status KILLED.*--resume {killed}, .*{finished} .house"):
        find_run(tracking, killed)
    elsewhere = Tracking(folder="else where")
    killed = add_run(elsewhere, "house", "KILLED")
    with pytest.raises(UserError, match=f"--resume {killed} --tracking.folder 'else where', or name a finished run"):
        find_run(elsewhere, killed)


def test_unknown_run_gives_near_matches_and_the_newest(tracking: Tracking) -> None:
    ids = [add_run(tracking, f"cnn_{number}") for number in range(7)]
    with pytest.raises(UserError) as error:
        find_run(tracking, "cnn_33")
    assert "did you mean cnn_3" in str(error.value)
    listed = re.findall(r"[0-9a-f]{32}", str(error.value))
    assert listed == ids[:1:-1]  # the newest five, the newest first
    with pytest.raises(UserError, match="no finished run 'zzzz'"):
        find_run(tracking, "zzzz")
    with pytest.raises(UserError, match="no finished run 'it's'"):
        find_run(tracking, "it's")


def test_beginning_of_several_ids(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    from bcc_lightning.tracking import finished_runs as finding

    monkeypatch.setattr(finding, "SHORTEST_PREFIX", 1)
    ids = [add_run(tracking, "house") for _ in range(17)]  # two of 17 begin with the same of 16 digits
    twice = next(i[0] for i in ids if sum(j[0] == i[0] for j in ids) > 1)
    with pytest.raises(UserError, match=f"'{twice}' is the beginning of .* run ids"):
        find_run(tracking, twice)


def test_missing_files(tracking: Tracking) -> None:
    run = find_run(tracking, add_run(tracking, "house"))
    with pytest.raises(UserError, match=rf"run {run.run_id} \(house\) has no checkpoints/best.ckpt; name another run"):
        _ = run.checkpoint
    with pytest.raises(UserError, match=r"has no predictions/ward\.parquet"):
        run.predictions("ward")


def test_a_store_that_does_not_exist_is_not_made(tracking: Tracking, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there are no runs: .*mlflow.db does not exist"):
        find_run(tracking, "house")
    assert not (tmp_path / "mlruns").exists()


def test_registered_models(tracking: Tracking) -> None:
    run_id = add_run(tracking, "house", files=WEIGHTS)
    client = MlflowClient(tracking.resolved_uri)
    client.create_registered_model("blood")
    client.create_model_version("blood", "nowhere", run_id=run_id)
    client.set_registered_model_alias("blood", "champion", "1")
    for name in ("models:/blood/1", "models:/blood@champion"):
        source = find_network(tracking, name)
        assert (source.name, source.checkpoint.read_text()) == (run_id, "weights")
    for name in ("models:/blood/2", "models:/flesh/1", "models:/blood@loser", "models:/blood"):
        with pytest.raises(UserError, match=f"registered model '{name}' does not exist.*There are: models:/blood/1"):
            find_network(tracking, name)


def test_checkpoint_files(tracking: Tracking, tmp_path: Path) -> None:
    run_id = add_run(tracking, "house", files=WEIGHTS)
    among_its_run = find_network(tracking, str(find_run(tracking, run_id).checkpoint))
    assert among_its_run.summary is not None
    assert (among_its_run.summary.run_id, among_its_run.title) == (run_id, f"house ({run_id[:8]})")
    (tmp_path / "alone.ckpt").write_text("weights")
    alone = find_network(tracking, "alone.ckpt")
    assert (alone.name, alone.config, alone.summary) == ("alone.ckpt", None, None)
    with pytest.raises(UserError, match=r"checkpoint gone.ckpt does not exist"):
        find_network(tracking, "gone.ckpt")


@pytest.mark.slow
def test_files_are_fetched_from_a_server(tmp_path: Path) -> None:
    port = free_port()
    tracking = Tracking(uri=f"http://127.0.0.1:{port}")
    with server(tmp_path, port):
        run_id = add_run(tracking, "house", files=WEIGHTS)
        source = find_network(tracking, run_id[:8])
        assert source.checkpoint == tmp_path / "mlruns" / "fetched" / run_id / "artifacts" / "checkpoints" / "best.ckpt"
        assert source.checkpoint.read_text() == "weights"
        with pytest.raises(UserError, match=rf"run {run_id} \(house\): predictions/test.parquet could not be fetched"):
            find_run(tracking, run_id).predictions()
    with pytest.raises(UserError, match=r"does not answer|cannot be read"):
        find_run(tracking, run_id)
