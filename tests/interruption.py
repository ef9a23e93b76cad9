"""A run that is stopped at a chosen moment."""

import pytest
from lightning import Trainer

from bcc_lightning.callbacks.epochs import EpochSeeding


def stop_in_epoch(monkeypatch: pytest.MonkeyPatch, epoch: int, error: BaseException) -> None:
    """Raise an exception in the middle of an epoch."""

    def on_train_batch_end(self: EpochSeeding, trainer: Trainer, *_: object) -> None:
        if trainer.current_epoch == epoch:
            raise error

    monkeypatch.setattr(EpochSeeding, "on_train_batch_end", on_train_batch_end)
