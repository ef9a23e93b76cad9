"""A small run on a folder of cells, which can be stopped, killed, moved and gone on with."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from bcc_lightning.callbacks.checkpoints import epoch_of
from tests.datamodules.miniatures import write_folder
from tests.miniature import runs_in

CLASSES = ("lymphocyte", "monocyte")

RUN = [
    *("--exp", "an2dl_cnn", "--data", "CellFolder", "--data.root", "cells", "--data.image_size", "32", "--data.batch_size", "16"),
    *("--data.augment", "light", "--data.balance", "none", "--trainer.enable_progress_bar", "false"),
    # The loss falls, so that an early epoch is the one of the highest: a resumed run that forgot it would choose another.
    # In bfloat16, which some processors compute faster, it does not fall evenly.
    *("--selection.monitor", "val/loss", "--selection.mode", "max", "--selection.patience", "null", "--model.lr", "0.01"),
    *("--model.precision", "32"),
]
"""Flags of the run; the folder with `cells` is where it is started."""


def write_cells(folder: Path) -> Path:
    """Write the cells of the run into a folder."""
    write_folder(folder / "cells", CLASSES, per_class=40)
    return folder


def start(folder: Path, *flags: str) -> subprocess.Popen[str]:
    """Start `fit` in a folder."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background would let its children ignore Ctrl-C
    return subprocess.Popen(
        [sys.executable, "-m", "bcc_lightning.fit", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )


def outcome(mlruns: Path) -> list[tuple[dict[str, torch.Tensor], dict[str, Any], set[str]]]:
    """Read what the finished runs of a folder hold: weights, figures, and names of the artifacts."""
    found = []
    for run in runs_in(mlruns):
        if run.info.status != "FINISHED":
            continue
        artifacts = mlruns / "artifacts" / run.info.run_id / "artifacts"
        summary = json.loads((artifacts / "summary.json").read_text())
        best = artifacts / summary["checkpoint"]
        assert epoch_of(best) == summary["best_epoch"]
        assert run.data.metrics["test/accuracy"] == summary["metrics"]["test/accuracy"]
        names = {file.relative_to(artifacts).as_posix() for file in artifacts.rglob("*") if file.is_file()}
        figures = {name: summary[name] for name in ("metrics", "intervals", "best_epoch", "data")}
        found.append((torch.load(best, weights_only=True)["state_dict"], figures, names))
    return found


def assert_same(one: tuple[dict[str, torch.Tensor], dict[str, Any], set[str]], other: Any) -> None:
    """Compare two runs bit by bit."""
    (weights, figures, names), (expected_weights, expected_figures, expected_names) = one, other
    assert figures == expected_figures
    assert names == expected_names
    assert weights.keys() == expected_weights.keys()
    assert all(torch.equal(weights[name], expected_weights[name]) for name in weights)


def assert_tidy(mlruns: Path) -> None:
    """Make sure that nothing of a killed process is left: no run that counts as running, no folder at work, no draft."""
    assert "RUNNING" not in {run.info.status for run in runs_in(mlruns)}
    assert list((mlruns / "active").iterdir()) == []
    assert [str(path) for path in mlruns.rglob("*") if "draft" in path.name] == []
