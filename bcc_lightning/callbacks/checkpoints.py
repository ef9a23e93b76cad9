"""Keeps the weights that validation chose, and the state that resuming goes on from."""

from pathlib import Path
from typing import Any, Literal

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from bcc_lightning.argument_types import check_choice
from bcc_lightning.modules.schedules import Mode
from bcc_lightning.tracking.folder import RunFolder
from bcc_lightning.whole_file import whole_file

Keep = Literal["best", "last"]
"""Which epoch's weights a run keeps."""


class WholeFileCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all, so that an interruption cannot leave half of one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:  # noqa: ANN401
        """Write a checkpoint."""
        with whole_file(Path(path)) as draft:
            torch.save(checkpoint, draft)


class StopInTime(EarlyStopping):
    """Early stopping that a resumed run remembers: one that had stopped does not train another epoch."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop at once where the stopped run's patience was used up."""
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience


def selection_callbacks(folder: RunFolder | None, monitor: str, mode: Mode, patience: int | None, keep: Keep) -> list[Callback]:
    """Build the callbacks that choose an epoch, stop in time and keep the state of the last epoch.

    Args:
        folder: the run's folder; None on processes that do not write, which are told it by the first.
        monitor: metric of the validation part.
        mode: whether ``max`` or ``min`` is better.
        patience: epochs without a better value before training stops; None never stops early.
        keep: ``best`` or ``last``.

    Raises:
        UserError: `mode` or `keep` is unknown.
    """
    check_choice("selection.mode", mode, Mode)
    check_choice("selection.keep", keep, Keep)
    best = ModelCheckpoint(
        dirpath=folder.checkpoints if folder else None,
        filename="best",
        monitor=monitor if keep == "best" else None,
        mode=mode,
        save_weights_only=True,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
        auto_insert_metric_name=False,
    )
    last = ModelCheckpoint(
        dirpath=folder.state if folder else None,
        filename="last",
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    stopping = [StopInTime(monitor, mode=mode, patience=patience)] if patience is not None else []
    return [*stopping, best, last]
