"""Makes each epoch's random numbers a function of seed and epoch, so that a resumed run ends like one that never stopped."""

import random

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer


class EpochSeeding(Callback):
    """Seeds torch and Python at the start of each training epoch.

    Args:
        seed: seed of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed by run, epoch and process."""
        sequence = np.random.SeedSequence([self.seed, trainer.current_epoch, trainer.global_rank])
        seed = int(sequence.generate_state(1)[0])
        torch.manual_seed(seed)
        random.seed(seed)
