"""Keeps the weights that validation chose, and the state that resuming goes on from."""

import math
import os
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from bcc_lightning.argument_types import check_choice
from bcc_lightning.files import link_whole, whole_file
from bcc_lightning.modules.base import CellClassifier
from bcc_lightning.modules.checkpoint import write_checkpoint
from bcc_lightning.modules.recipe import Keep, Mode
from bcc_lightning.tracking.logger import RunLogger
from bcc_lightning.tracking.run_files import RunFolder

PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")
"""Entries of Lightning's state of a `ModelCheckpoint` that are paths."""


class WholeFileCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all, so that an interruption cannot leave half of one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:  # noqa: ANN401
        """Write a checkpoint."""
        write_checkpoint(checkpoint, Path(path))


class StopInTime(EarlyStopping):
    """Early stopping that a resumed run remembers: one that had stopped does not train another epoch.

    Its patience is the one that is given, also where the run began with another.

    Args:
        monitor: metric of the validation set.
        mode: whether ``max`` or ``min`` is better.
        patience: epochs without a better value; None never stops, but counts for a run that is resumed with a patience.
    """

    def __init__(self, monitor: str, mode: str, patience: int | None) -> None:
        stops = patience is not None
        super().__init__(monitor, mode=mode, patience=patience or 0, strict=stops, check_finite=stops)
        self.patience = patience if patience is not None else math.inf  # type: ignore[assignment]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop at once where the stopped run's patience was used up."""
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting, with the patience that is given now."""
        super().load_state_dict({**state_dict, "patience": self.patience})


class MovableCheckpoint(ModelCheckpoint):
    """Lightning's checkpoints, whose state names files by their place in the folder: it may have moved when a run is resumed.

    Lightning keeps absolute paths, and where the folder is another it forgets the best value so far, so that the first epoch
    after resuming would replace better weights.
    """

    def state_dict(self) -> dict[str, Any]:
        """Return the state with names instead of paths."""
        state = super().state_dict()
        names = {key: Path(state[key]).name for key in PATHS if state[key]}
        best = {Path(path).name: value for path, value in state["best_k_models"].items()}
        return {**state, **names, "best_k_models": best, "dirpath": None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on in the folder that the run has now."""
        paths = {key: self._here(state_dict[key]) for key in PATHS if state_dict.get(key)}
        best = {self._here(path): value for path, value in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **paths, "best_k_models": best, "dirpath": self.dirpath})

    def _here(self, path: str) -> str:
        return os.path.join(self.dirpath or "", Path(path).name)


class BestCheckpoint(MovableCheckpoint):
    """Keeps the weights of the epoch that validation chose.

    They are written before the state of their epoch. A process that is killed in between would leave weights of an epoch of which
    the state does not know, so that those before are kept until the next are chosen.

    Args:
        before: file that keeps the weights chosen before; None on processes that do not write.
        **options: see `ModelCheckpoint`.
    """

    def __init__(self, before: Path | None, **options: Any) -> None:  # noqa: ANN401 - Lightning's own arguments
        super().__init__(**options)
        self.before = before

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        if self.before and Path(filepath).is_file():
            link_whole(Path(filepath), self.before)
        super()._save_checkpoint(trainer, filepath)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go back to the weights that the state knows, where later ones were written before the process was killed."""
        super().on_train_start(trainer, pl_module)
        if self.before is None or not self.best_model_path:
            return
        best, last = Path(self.best_model_path), epoch_of(self.before.with_name("last.ckpt"))
        if last is not None and not is_of(best, last) and is_of(self.before, last):
            link_whole(self.before, best)


class LastCheckpoint(MovableCheckpoint):
    """Keeps the state after the last finished epoch, with the metrics of that epoch.

    Lightning logs those of training after the state is written. A process that is killed in between would leave an epoch without
    them, since it is not trained again.

    Args:
        **options: see `ModelCheckpoint`.
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - Lightning's own arguments
        super().__init__(**options)
        self.epoch: int | None = None
        self.metrics: dict[str, float] = {}

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        self.epoch = trainer.current_epoch
        self.metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if not name.endswith("_step")}
        super()._save_checkpoint(trainer, filepath)

    def state_dict(self) -> dict[str, Any]:
        """Return Lightning's state, and the metrics."""
        return {**super().state_dict(), "epoch": self.epoch, "metrics": self.metrics}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after the epoch."""
        super().load_state_dict(state_dict)
        self.epoch, self.metrics = state_dict["epoch"], state_dict["metrics"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the metrics of the last epoch that were not logged any more."""
        super().on_train_start(trainer, pl_module)
        if self.epoch is not None and isinstance(trainer.logger, RunLogger):
            trainer.logger.complete(self.epoch, self.metrics)


def is_of(checkpoint: Path, last: int) -> bool:
    """Check whether a checkpoint exists and holds weights of an epoch up to the last that was finished."""
    epoch = epoch_of(checkpoint)
    return epoch is not None and epoch <= last


def epoch_of(checkpoint: Path) -> int | None:
    """Read from which epoch the weights in a checkpoint are; None if there is no file, or it was not trained here."""
    if not checkpoint.is_file():
        return None
    try:
        epoch = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True).get("epoch")
    except (UnpicklingError, RuntimeError, EOFError):
        return None
    return None if epoch is None else int(epoch)


def keep_test_time(checkpoint: Path, module: CellClassifier) -> None:
    """Write into the chosen weights how they are tested, which may change when a run is resumed after they were written."""
    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    own = content["hyper_parameters"]
    if own["test_time"] == module.hparams["test_time"]:
        return
    own["test_time"] = module.hparams["test_time"]
    with whole_file(checkpoint) as draft:
        torch.save(content, draft)


def selection_callbacks(folder: RunFolder | None, monitor: str, mode: Mode, patience: int | None, keep: Keep) -> list[Callback]:
    """Build the callbacks that choose an epoch, stop in time and keep the state of the last epoch.

    Args:
        folder: the run's folder; None on processes that do not write, which are told it by the first.
        monitor: metric of the validation set.
        mode: whether ``max`` or ``min`` is better.
        patience: epochs without a better value before training stops; None never stops early.
        keep: ``best`` or ``last``.

    Raises:
        UserError: `mode` or `keep` is unknown.
    """
    check_choice("selection.mode", mode, Mode)
    check_choice("selection.keep", keep, Keep)
    best = BestCheckpoint(
        folder.state / "best_before.ckpt" if folder else None,
        dirpath=folder.checkpoints if folder else None,
        filename="best",
        monitor=monitor if keep == "best" else None,
        mode=mode,
        save_weights_only=True,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
        auto_insert_metric_name=False,
    )
    last = LastCheckpoint(
        dirpath=folder.state if folder else None,
        filename="last",
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    return [StopInTime(monitor, mode, patience), best, last]
