"""A classifier of a few hundred weights, and painted cells, with which Lightning really trains in a moment."""

from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from bcc_lightning.callbacks.checkpoints import selection_callbacks
from bcc_lightning.callbacks.epochs import EpochSeeding
from bcc_lightning.datamodules import SyntheticSmear
from bcc_lightning.modules.base import CellClassifier
from bcc_lightning.tracking.run_files import RunFolder

CLASSES = [f"class {number}" for number in range(8)]
BATCHES = 3  # 48 cells in batches of 16


class TinyNet(nn.Module):
    """Two blocks with batch normalisation, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(4, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(8, 8)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(self.stem(images)).mean(dim=(2, 3)))
        return logits


class TinyClassifier(CellClassifier):
    """`TinyNet` as a module."""

    def __init__(self, class_names: list[str] = CLASSES, image_size: int = 28, lr: float = 0.01, **base: Any) -> None:
        torch.manual_seed(0)
        super().__init__(class_names=class_names, image_size=image_size, lr=lr, **base)

    def build_network(self) -> nn.Module:
        return TinyNet()


class RateRecorder(Callback):
    """Notes the learning rates that each optimiser step was taken with."""

    def __init__(self) -> None:
        self.rates: list[list[float]] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer) -> None:
        self.rates.append([float(group["lr"]) for group in optimizer.param_groups])

    @property
    def first_group(self) -> list[float]:
        return [rates[0] for rates in self.rates]


def painted() -> SyntheticSmear:
    return SyntheticSmear(image_size=28, batch_size=16, train_cells=48, val_cells=16, test_cells=16)


def trainer_with(callbacks: list[Callback], **flags: Any) -> Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    settings: dict[str, Any] = {"accelerator": "cpu", "enable_checkpointing": False, **quiet, **flags}
    return Trainer(callbacks=callbacks, **settings)


def fit(module: CellClassifier, callbacks: list[Callback], resume: Path | None = None, **flags: Any) -> Trainer:
    """Train on painted cells."""
    trainer = trainer_with(callbacks, **flags)
    trainer.fit(module, painted(), ckpt_path=resume, weights_only=True)
    return trainer


def fit_with_checkpoints(
    module: CellClassifier, folder: Path, callbacks: list[Callback], stop_after: int | None = None, **flags: Any
) -> Trainer:
    """Train as `fit` does, going on from the folder's last checkpoint where there is one.

    Args:
        stop_after: epochs after which the process dies, in the middle of the next.
    """
    own = RunFolder(folder)
    always = [EpochSeeding(0), *selection_callbacks(own, "val/accuracy", "max", None, "best")]
    ending = [] if stop_after is None else [DieInEpoch(stop_after)]
    resume = own.last_checkpoint if own.last_checkpoint.is_file() else None
    return fit(module, [*callbacks, *always, *ending], resume, enable_checkpointing=True, **flags)


class PowerCut(Exception):  # noqa: N818 - it is no error of the program
    """Ends a training in the middle of an epoch."""


class DieInEpoch(Callback):
    """Raises `PowerCut` after the second batch of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.current_epoch == self.epoch and batch_idx == 1:
            raise PowerCut


def same_weights(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
