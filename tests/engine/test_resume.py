"""Runs that go on: from wherever their folder is, with the same cells, by one process, and with flags that take effect."""

import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
import yaml
from mlflow import MlflowClient

from bcc_lightning.cli.arguments import Call
from bcc_lightning.cli.experiment import ExperimentCLI
from bcc_lightning.datamodules import CellFolder
from bcc_lightning.fit import main
from bcc_lightning.tracking.run_files import RunFolder
from tests.interruption import stop_in_epoch
from tests.miniature import runs_in
from tests.resuming import RUN, assert_same, assert_tidy, outcome, start, write_cells

pytestmark = [pytest.mark.xdist_group("resume"), pytest.mark.slow]  # one process trains for all

LONG = [*RUN, "--selection.mode", "min", "--trainer.max_epochs", "4", "--model.weights", "start.ckpt"]
"""The run of these tests: from given weights, to its fourth epoch. The loss of the first is the lowest."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tables: Path) -> Path:
    """A folder in which the run went through."""
    return prepare(tmp_path_factory.mktemp("whole"), tables, 0)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory, tables: Path) -> Path:
    """A folder in which the run was interrupted in its third epoch, to be copied."""
    return prepare(tmp_path_factory.mktemp("stopped"), tables, 130)


def prepare(folder: Path, tables: Path, code: int) -> Path:
    """Start the run in a folder; interrupt it if that is to be its exit code."""
    (folder / "mlruns").mkdir()
    shutil.copy(tables, folder / "mlruns")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(write_cells(folder))
        patch.setenv("BCC_CACHE_DIR", str(folder / "cache"))
        torch.manual_seed(5)
        module = ExperimentCLI(Call(["an2dl_cnn"], flags=RUN[2:]).arguments).model
        torch.save({"state_dict": module.state_dict()}, "start.ckpt")
        if code:
            stop_in_epoch(patch, 2, KeyboardInterrupt())
        assert main(LONG) == code
    return folder


@pytest.fixture
def stopped(interrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the interrupted run in another folder, which is the working directory; the old one is still there."""
    folder = shutil.copytree(interrupted, tmp_path / "a copy")
    monkeypatch.chdir(folder)
    return folder


def the_run(folder: Path) -> RunFolder:
    (path,) = (folder / "mlruns" / "active").iterdir()
    return RunFolder(path)


def test_in_another_folder_without_the_weights_that_it_started_from(stopped: Path, whole: Path) -> None:
    (stopped / "start.ckpt").unlink()
    assert main(["--resume", "last"]) == 0
    (finished,), (expected,) = outcome(stopped / "mlruns"), outcome(whole / "mlruns")
    assert_same(finished, expected)
    assert expected[1]["best_epoch"] == 0  # chosen before the interruption
    assert_tidy(stopped / "mlruns")
    (run,) = runs_in(stopped / "mlruns")
    artifacts = stopped / "mlruns" / "artifacts" / run.info.run_id / "artifacts"
    config = yaml.safe_load((artifacts / "config.yaml").read_text())
    assert config["model"]["init_args"]["weights"].endswith("start.ckpt")
    assert config["tracking"]["folder"] == "mlruns"
    assert "resumed.changed" not in run.data.tags


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model.lr", "0.5"], "--model.lr 0.5 (the run has 0.01)"),
        (["--data.batch_size=8", "--seed_everything=3"], "--data.batch_size 8 (the run has 16)"),
        (["--data", "SyntheticSmear"], "--data SyntheticSmear (the run has CellFolder)"),
        (["--trainer.max_epochs", "1"], "--trainer.max_epochs 1 (the run has 4: it has trained 2 epochs already)"),
        (["--exp", "an2dl_cnn"], "--exp an2dl_cnn cannot be combined with --resume"),
        (["--folds", "3"], "--folds 3 cannot be combined with --resume"),
        (["--repeats=2"], "--repeats 2 cannot be combined with --resume"),
    ],
)
def test_flags_are_refused_by_name_before_anything_is_loaded(
    stopped: Path, flags: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(*_: object, **__: object) -> None:
        raise AssertionError("the data were built")

    monkeypatch.setattr(CellFolder, "__init__", load)
    assert main(["--resume", the_run(stopped).path.name, *flags]) == 2
    assert message in capsys.readouterr().err
    assert runs_in(stopped / "mlruns")[0].info.status == "KILLED"


def test_flags_that_take_effect_are_recorded(stopped: Path) -> None:
    run_id = the_run(stopped).path.name
    flags = ["--trainer.max_epochs", "6", "--model.test_time", "flips", "--tracking.run_name", "longer", "--model.lr", "0.01"]
    assert main(["--resume", run_id, *flags]) == 0
    (run,) = runs_in(stopped / "mlruns")
    assert run.info.run_name == "longer"
    history = MlflowClient(f"sqlite:///{stopped}/mlruns/mlflow.db").get_metric_history(run_id, "val/accuracy")
    assert {metric.step for metric in history} == set(range(6))
    changed = dict(each.split("=") for each in run.data.tags["resumed.changed"].split(", "))
    assert {"model.test_time": "flips", "trainer.max_epochs": "6"}.items() <= changed.items()
    assert "model.lr" not in changed
    artifacts = stopped / "mlruns" / "artifacts" / run_id / "artifacts"
    config = yaml.safe_load((artifacts / "config.yaml").read_text())
    assert (config["trainer"]["max_epochs"], config["model"]["init_args"]["test_time"]) == (6, "flips")
    best = torch.load(artifacts / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["hyper_parameters"]["test_time"] == "flips"  # whoever loads it tests as the run did


def test_a_patience_that_is_given_now_stops(stopped: Path) -> None:
    assert main(["--resume", "last", "--selection.patience", "2"]) == 0  # the first epoch was best, two have passed since
    ((_, figures, _),) = outcome(stopped / "mlruns")
    assert figures["best_epoch"] == 0
    history = MlflowClient(f"sqlite:///{stopped}/mlruns/mlflow.db")
    steps = [metric.step for metric in history.get_metric_history(runs_in(stopped / "mlruns")[0].info.run_id, "val/accuracy")]
    assert max(steps) == 2


def test_other_cells_are_refused(stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = min((stopped / "cells" / "monocyte").iterdir())
    first.unlink()
    assert main(["--resume", "last"]) == 2
    assert f"missing (monocyte/{first.name})" in capsys.readouterr().err
    assert runs_in(stopped / "mlruns")[0].info.status == "KILLED"
    assert not the_run(stopped).alive.exists()


def test_a_run_with_a_number_of_steps_goes_on_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tables: Path) -> None:
    limit = ["--trainer.max_epochs", "-1", "--trainer.max_steps", "14"]
    for name, stops in (("whole", False), ("stopped", True)):
        (tmp_path / name / "mlruns").mkdir(parents=True)
        shutil.copy(tables, tmp_path / name / "mlruns")
        monkeypatch.chdir(write_cells(tmp_path / name))
        with monkeypatch.context() as patch:
            if stops:
                stop_in_epoch(patch, 2, KeyboardInterrupt())
            assert main([*RUN, *limit]) == (130 if stops else 0)
    assert main(["--resume", "last"]) == 0
    (finished,), (expected,) = outcome(tmp_path / "stopped" / "mlruns"), outcome(tmp_path / "whole" / "mlruns")
    assert_same(finished, expected)


def test_of_two_processes_one_trains(stopped: Path) -> None:
    # Without loading processes: Python ignores a signal that arrives while it forks one, and these epochs last an instant.
    long = ["--trainer.max_epochs", "-1", "--trainer.max_steps", "100000", "--data.num_workers", "0"]
    processes = [start(stopped, "--resume", "last", *long) for _ in "ab"]
    try:
        while all(process.poll() is None for process in processes):
            os.sched_yield()
        (loser,) = (process for process in processes if process.poll() is not None)
        (winner,) = (process for process in processes if process is not loser)
        assert loser.wait() == 2
        assert f"is being trained by process {winner.pid} on" in loser.communicate()[0]
        winner.send_signal(signal.SIGINT)
        output, _ = winner.communicate(timeout=120)
        assert winner.returncode == 130, output
    finally:
        for process in processes:
            process.kill()
    assert [run.info.status for run in runs_in(stopped / "mlruns")] == ["KILLED"]
