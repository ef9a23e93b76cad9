"""A tracking server that goes away during a run: training goes on, nothing is lost, and it is sent later."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import mlflow
import numpy as np
import pytest
from lightning import LightningModule, Trainer
from mlflow import MlflowClient

from bcc_lightning.callbacks.epochs import EpochSeeding
from bcc_lightning.fit import main
from tests.miniature import SMALL

pytestmark = pytest.mark.slow


@contextmanager
def server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run MLflow's server on loopback until the block ends, or until somebody kills it."""
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    store = ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", str(folder / "served")]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = subprocess.Popen(
        [*command, *store], env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until_healthy(port, process)
        yield process
    finally:
        stop(process)


def wait_until_healthy(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            with urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return
        except OSError:
            time.sleep(0.3)
    raise TimeoutError("the MLflow server did not answer within two minutes")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Kill the server and its workers."""
    if process.poll() is None:
        os.killpg(process.pid, 9)
        process.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_server_that_dies_during_a_run_gets_everything_later(
    tmp_path: Path, tables: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(tables, tmp_path / "server.db")
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    flags = [*SMALL, "--tracking.uri", uri, "--trainer.max_epochs", "3", "--tracking.register", "cells"]
    with server(tmp_path, port) as process, pytest.MonkeyPatch.context() as patch:

        def kill_in_second_epoch(self: EpochSeeding, trainer: Trainer, module: LightningModule, *_: object) -> None:
            if trainer.current_epoch == 1:
                stop(process)

        patch.setattr(EpochSeeding, "on_train_batch_end", kill_in_second_epoch)
        assert main(flags) == 2  # trained and tested, but not filed
    (work,) = (tmp_path / "mlruns" / "active").iterdir()
    error = capsys.readouterr().err
    assert str(work) in error
    assert f"--resume {work.name}" in error
    assert json.loads((work / "artifacts" / "summary.json").read_text())["status"] == "FINISHED"

    with server(tmp_path, port), pytest.MonkeyPatch.context() as patch:
        assert main(["--resume", work.name]) == 0
        client = MlflowClient(uri)
        run = client.get_run(work.name)
        assert run.info.status == "FINISHED"
        assert [metric.step for metric in client.get_metric_history(work.name, "curves/val/accuracy")] == [0, 1, 2]
        assert "test/accuracy" in run.data.metrics
        assert {file.path for file in client.list_artifacts(work.name, "explain")} == {"explain/gradcam.png"}
        assert client.get_model_version("cells", "1").run_id == work.name
        (model,) = run.outputs.model_outputs
        assert {file.path for file in client.list_logged_model_artifacts(model.model_id, "networks/000/artifacts")} >= {
            "networks/000/artifacts/checkpoints",
            "networks/000/artifacts/summary.json",
        }
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        assert len(mlflow.pyfunc.load_model("models:/cells/1").predict([np.zeros((32, 32, 3), np.uint8)])) == 1
    assert not work.exists()
