"""Runs that end early: the right status, whole artifacts, and going on as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from lightning import LightningModule, Trainer
from PIL import Image

from bcc_lightning.callbacks.epochs import EpochSeeding
from bcc_lightning.fit import main
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.settings import Tracking
from tests.interruption import stop_in_epoch
from tests.miniature import PAINTED, QUICK, SMALL, artifacts_of, runs_in

pytestmark = pytest.mark.slow

HYBRID = ["--exp", "efficientswin", *PAINTED, *QUICK, "--data.augment", "standard", "--trainer.max_epochs", "3"]
COSINE = ["--model.schedule", "cosine", "--model.warmup_epochs", "1", "--model.lr", "0.0003"]


def weights_and_metrics(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    summary = json.loads((folder / "out.json").read_text())
    return torch.load(summary["checkpoint"], weights_only=True)["state_dict"], summary["metrics"]


def test_resumed_run_ends_bitwise_like_one_that_never_stopped(tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert main([*HYBRID, *COSINE, "--tracking.folder", str(whole), "--summary", str(whole / "out.json")]) == 0
    place = ["--tracking.folder", str(stopped), "--summary", str(stopped / "out.json")]
    with pytest.MonkeyPatch.context() as patch:
        stop_in_epoch(patch, 2, KeyboardInterrupt())
        assert main([*HYBRID, *COSINE, *place]) == 130
    assert runs_in(stopped)[0].info.status == "KILLED"
    assert main(["--resume", "last", *place]) == 0

    (run,) = runs_in(stopped)
    assert run.info.status == "FINISHED"
    assert "failure" not in run.data.tags
    expected_weights, expected_metrics = weights_and_metrics(whole)
    weights, metrics = weights_and_metrics(stopped)
    assert metrics == expected_metrics
    assert all(torch.equal(weights[name], expected_weights[name]) for name in expected_weights)


def test_run_that_had_stopped_early_trains_no_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A learning rate of 0 leaves validation as it is: two epochs without a better value end the training after epoch 2.
    flags = [*SMALL, "--model.lr", "0", "--selection.patience", "2", "--trainer.max_epochs", "9"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "test", lambda *_, **__: sys.exit(1))
        assert main(flags) == 130
    assert main(["--resume", "last", "--summary", "out.json"]) == 0
    (run,) = runs_in(tmp_path / "mlruns")
    history = json.loads(Path("out.json").read_text())
    assert run.info.status == "FINISHED"
    assert history["best_epoch"] == 0


def test_failed_run_is_failed_and_its_artifacts_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []

    def on_train_epoch_start(self: EpochSeeding, trainer: Trainer, module: LightningModule) -> None:
        if trainer.current_epoch == 1:
            (run,) = runs_in(tmp_path / "mlruns")  # what the UI would show now
            seen.append(run.data.metrics["val/accuracy"])
            raise RuntimeError("the disk is on fire")

    monkeypatch.setattr(EpochSeeding, "on_train_epoch_start", on_train_epoch_start)
    with pytest.raises(RuntimeError, match="on fire"):  # a bug shows its traceback
        main([*SMALL, "--trainer.max_epochs", "3"])
    (run,) = runs_in(tmp_path / "mlruns")
    assert seen == [run.data.metrics["val/accuracy"]]
    assert run.info.status == "FAILED"
    assert run.data.tags["failure"] == "RuntimeError: the disk is on fire"
    assert not any(name.startswith("test/") for name in run.data.metrics)
    figures = {f"figures/{name}.png" for name in ("curves", "class_counts", "samples")}
    assert artifacts_of(run) == figures | {"config.yaml", "split.csv", "checkpoints/best.ckpt", "summary.json", "report.html"}
    for figure in figures:
        Image.open(Path(str(run.info.artifact_uri).removeprefix("file://")) / figure).load()


def start(flags: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bcc_lightning.fit", *flags]
    root = str(Path(__file__).parents[2])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background would let its children ignore Ctrl-C
    environment = {**os.environ, "PYTHONPATH": root}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def wait_for_checkpoint(folder: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not list(folder.glob("active/*/state/last.ckpt")):
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < deadline, "no checkpoint within two minutes"
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_run_as_killed(tmp_path: Path, number: signal.Signals) -> None:
    # Without loading processes: Python ignores a signal that arrives while it forks one, and these epochs last an instant.
    long = ["--trainer.max_epochs", "500", "--selection.patience", "null", "--data.num_workers", "0"]
    process = start([*SMALL, *long])
    wait_for_checkpoint(tmp_path / "mlruns", process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    (run,) = runs_in(tmp_path / "mlruns")
    assert run.info.status == "KILLED"
    assert f"--resume {run.info.run_id}" in output
    assert "Traceback" not in output


def test_run_whose_process_vanished_is_marked_by_the_next(tmp_path: Path) -> None:
    process = start([*SMALL, "--trainer.max_epochs", "500", "--selection.patience", "null"])
    wait_for_checkpoint(tmp_path / "mlruns", process)
    process.kill()
    process.wait(timeout=30)
    (dead,) = runs_in(tmp_path / "mlruns")
    assert dead.info.status == "RUNNING"
    TrackedRun.create(Tracking(), "next", {})
    assert {run.info.run_id: run.info.status for run in runs_in(tmp_path / "mlruns")}[dead.info.run_id] == "KILLED"


def test_nothing_to_resume_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--resume", "last"]) == 2
    error = capsys.readouterr().err
    assert "no run 'last' to resume" in error
    assert "--exp NAME" in error
