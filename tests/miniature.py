"""Miniature data and flags with which the real program runs in seconds."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image

from bcc_lightning import PlainCNN
from bcc_lightning.datasets.smear_painter import paint_cells
from bcc_lightning.files import write_json
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.run_files import Summary
from bcc_lightning.tracking.settings import Tracking

CELLS = {"train": 48, "val": 24, "test": 37}

QUICK = [
    "--model.pretrained",
    "false",
    "--data.image_size",
    "32",
    "--data.batch_size",
    "16",
    "--trainer.enable_progress_bar",
    "false",
]
"""Flags that make any experiment small."""

PAINTED = ["--data", "SyntheticSmear", "--data.train_cells", "48", "--data.val_cells", "24", "--data.test_cells", "37"]
"""Flags that put any experiment on a few painted cells."""

TINY = ["--exp", "efficientnet_b0", "--model.backbone", "test_efficientnet"]
"""An experiment with timm's network for tests, of 0.4 million parameters: it is built, stored and read ten times as fast."""

SMALL = [*TINY, *PAINTED, *QUICK]
"""A whole run in a few seconds; flags may follow."""


def miniature_arrays(size: int = 28) -> dict[str, np.ndarray[Any, Any]]:
    """Make BloodMNIST's arrays with painted cells."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for seed, (split, count) in enumerate(CELLS.items()):
        labels = np.arange(count, dtype=np.int64) % 8
        arrays[f"{split}_images"] = paint_cells(labels, size, 0.2, seed)
        arrays[f"{split}_labels"] = labels.reshape(-1, 1).astype(np.uint8)
    return arrays


def write_miniature_bloodmnist(folder: Path) -> Path:
    """Write `bloodmnist.npz` with painted cells into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "bloodmnist.npz", **miniature_arrays())  # type: ignore[arg-type]
    return folder


COLOURS = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200]], np.uint8)


class Colours(PlainCNN):
    """Tells red, green and blue images by their mean colour, so that every prediction is known beforehand."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.float().mean(dim=(2, 3)) / 8


def write_colours(folder: Path, names: Iterable[str], side: int = 40) -> list[Path]:
    """Write an image of one colour per name, which ends in ``red``, ``green`` or ``blue``."""
    files = [folder / name for name in names]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        colour = COLOURS[["red", "green", "blue"].index(file.stem.split("_")[-1])]
        Image.fromarray(np.broadcast_to(colour, (side, side, 3)).copy()).save(file)
    return files


def write_painted_folder(folder: Path, size: int = 40) -> Path:
    """Write painted cells as ``train/ val/ test/`` of class folders."""
    for split, arrays in (("train", 48), ("val", 24), ("test", 37)):
        labels = np.arange(arrays, dtype=np.int64) % 8
        for number, (label, image) in enumerate(zip(labels, paint_cells(labels, size, 0.2, len(split)), strict=True)):
            file = folder / split / f"class_{label}" / f"{split}_{number:03}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(file)
    return folder


def train_on_painted_folder(folder: Path, *flags: str) -> Path:
    """Write painted cells into ``cells`` of a folder, and train a network on them whose test sees several views of a cell."""
    from bcc_lightning.fit import main as fit

    data = ["--data", "CellFolder", "--data.root", str(write_painted_folder(folder / "cells"))]
    few = ["--data.cache_dir", str(folder / "cache"), "--trainer.max_epochs", "1", "--model.test_time", "flips"]
    assert fit([*TINY, *data, *QUICK, *few, "--tracking.folder", str(folder / "mlruns"), *flags]) == 0
    return folder


def runs_in(folder: Path) -> list[Run]:
    """Read all runs from a tracking folder, newest first."""
    if not (folder / "mlflow.db").is_file():
        return []
    # Absolute: MLflow keeps connections by URI, and a relative one would lead to the folder of an earlier test.
    client = MlflowClient(f"sqlite:///{(folder / 'mlflow.db').absolute()}")
    return list(client.search_runs([e.experiment_id for e in client.search_experiments()]))


def add_run(
    tracking: Tracking,
    experiment: str,
    status: str = "FINISHED",
    tags: dict[str, str] | None = None,
    params: dict[str, str] | None = None,
    files: dict[str, str] | None = None,
    **summary: Any,
) -> str:
    """File a run by hand, without training: its summary, its configuration and further files; gives its id."""
    run = TrackedRun.create(tracking, experiment, {"experiment": experiment, **(tags or {})})
    run.log_params(params or {})
    write_json(run.folder.summary, Summary(run.run_id, experiment, status, **summary).as_dict())
    run.folder.config.write_text(yaml.safe_dump({"seed_everything": "0", "name": experiment, **(params or {})}))
    for name, text in (files or {}).items():
        file = run.folder.artifacts / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    assert run.close(status) is None
    run.folder.remove()
    return run.run_id


def artifacts_of(run: Run) -> set[str]:
    """List the filed artifacts of a run."""
    root = Path(str(run.info.artifact_uri).removeprefix("file://"))
    return {file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file()}
