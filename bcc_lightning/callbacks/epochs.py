"""What every training does at each epoch: seed its random numbers, and measure its speed."""

import random
import time
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer

from bcc_lightning.datasets.batches import CellBatch


class EpochSeeding(Callback):
    """Seeds torch and Python before the first batch of each training epoch.

    Args:
        seed: seed of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: CellBatch,
        batch_idx: int,
    ) -> None:
        """Seed by run, epoch and process.

        Lightning leaves out ``on_train_epoch_start`` in the first epoch after resuming, so the first batch is the place.
        """
        if batch_idx > 0:
            return
        sequence = np.random.SeedSequence([self.seed, trainer.current_epoch, trainer.global_rank])
        seed = int(sequence.generate_state(1)[0])
        torch.manual_seed(seed)
        random.seed(seed)


class Throughput(Callback):
    """Counts the training images of all processes and the seconds of the training steps, validation left out."""

    def __init__(self) -> None:
        self.images = 0
        self.seconds = 0.0
        self._start = 0.0

    @property
    def images_per_second(self) -> float | None:
        """Training images per second; None before the first batch."""
        return self.images / self.seconds if self.seconds else None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock: in the first epoch after resuming, Lightning leaves out the hook below."""
        self._start = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._start = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's signature
        batch: CellBatch,
        batch_idx: int,
    ) -> None:
        """Count the batch and read the clock; a time limit may end the epoch after any batch."""
        self.images += len(batch.label) * trainer.world_size
        if trainer.is_last_batch and pl_module.device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds += now - self._start
        self._start = now

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock again: validation may come in the middle of an epoch."""
        self._start = time.perf_counter()

    def state_dict(self) -> dict[str, float]:
        """Keep the counts for a resumed run."""
        return {"images": self.images, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the counts of the stopped run."""
        self.images, self.seconds = state_dict["images"], state_dict["seconds"]
