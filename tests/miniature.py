"""Miniature data and flags with which the real program runs in seconds."""

from pathlib import Path
from typing import Any

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Run

from bcc_lightning.datasets.smear_painter import paint_cells
from bcc_lightning.files import write_json
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.run_files import Summary
from bcc_lightning.tracking.store import Tracking

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

SMALL = ["--exp", "efficientnet_b0", *PAINTED, *QUICK]
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


def runs_in(folder: Path) -> list[Run]:
    """Read all runs from a tracking folder, newest first."""
    if not (folder / "mlflow.db").is_file():
        return []
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
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
    run.folder.config.write_text(f"seed_everything: 0\nname: {experiment}\n")
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
