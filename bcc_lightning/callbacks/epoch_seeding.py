"""Makes each epoch's random numbers a function of seed and epoch, so that a resumed run ends like one that never stopped."""

import random

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer

from bcc_lightning.datamodules.cell_images import CellBatch


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
