"""Two processes train together and test each image exactly once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from sklearn.metrics import accuracy_score

from bcc_lightning.datasets.classes import EIGHT_CELL_CLASSES
from bcc_lightning.fit import main
from tests.interruption import stop_in_epoch
from tests.miniature import SMALL, runs_in

pytestmark = pytest.mark.slow


def fit_on_two(*flags: str) -> str:
    """Train with two processes on this machine's processor; returns what they print."""
    parallel = ["--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp"]
    command = [sys.executable, "-m", "bcc_lightning.fit", *parallel, *flags]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_folds_with_oversampling_on_two_processes(tmp_path: Path) -> None:
    fit_on_two(*SMALL, "--trainer.max_epochs", "1", "--folds", "2", "--data.balance", "oversample", "--data.augment", "light")
    runs = runs_in(tmp_path / "mlruns")
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert (len(runs), len(children)) == (3, 2)
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in children:
        table = pd.read_parquet(Path(str(run.info.artifact_uri).removeprefix("file://")) / "predictions" / "test.parquet")
        assert len(table) == 37
        assert run.data.params["trainer.devices"] == "2"


def test_a_run_that_two_processes_resume_tests_each_image_once(tmp_path: Path) -> None:
    """A second process that began at epoch 0 would still wait for the first when that has finished."""
    with pytest.MonkeyPatch.context() as patch:
        stop_in_epoch(patch, 1, KeyboardInterrupt())
        assert main([*SMALL, "--trainer.max_epochs", "3"]) == 130
    shown = ["--trainer.enable_progress_bar", "true", "--summary", "out.json"]
    said = fit_on_two("--resume", "last", "--trainer.max_epochs", "3", *shown)
    once = ["loading PyTorch", "reading the cells", "device     2 processes", "epoch 3 of 3: ", "testing on the test set"]
    assert {line: said.count(line) for line in once} == dict.fromkeys(once, 1)
    (run,) = runs_in(tmp_path / "mlruns")  # the second process files nothing of its own
    assert run.info.status == "FINISHED"
    table = pd.read_parquet(Path(str(run.info.artifact_uri).removeprefix("file://")) / "predictions" / "test.parquet")
    assert table["id"].tolist() == [f"test/{row:05d}" for row in range(37)]  # 37 cells: one process has 19, the other 18
    predicted = table[list(EIGHT_CELL_CLASSES)].idxmax(axis=1)
    assert run.data.metrics["test/accuracy"] == pytest.approx(accuracy_score(table["label"], predicted), abs=1e-6)
    history = MlflowClient(f"sqlite:///{tmp_path}/mlruns/mlflow.db").get_metric_history(run.info.run_id, "val/accuracy")
    assert [metric.step for metric in history] == [0, 1, 2]
    assert json.loads((tmp_path / "out.json").read_text())["images_per_second"] > 0
