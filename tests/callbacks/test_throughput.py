"""How fast a run trains, also one that a limit ends in the middle of an epoch."""

from types import SimpleNamespace
from typing import Any

import pytest
from lightning import Callback, LightningModule, Trainer

from bcc_lightning.callbacks import epochs as throughput
from tests.modules.tiny import TinyClassifier, fit


class Clock(Callback):
    """Goes on by 3 seconds in each training batch and by 100 in each validation, and stands still otherwise."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.seconds += 3

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.seconds += 100


def test_an_epoch_that_a_limit_cuts_off_counts_and_validation_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three batches of 16 images make an epoch, the limit ends the second after one."""
    clock, measured = Clock(), throughput.Throughput()
    monkeypatch.setattr(throughput, "time", SimpleNamespace(perf_counter=lambda: clock.seconds))
    fit(TinyClassifier(), [clock, measured], max_steps=4)
    assert measured.images_per_second == 4 * 16 / (4 * 3)
