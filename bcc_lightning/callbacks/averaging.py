"""Averages of the weights over training: validated, kept in checkpoints and tested in place of the last ones.

Lightning's callback keeps and swaps the average. Added here is what it lacks: checkpoints of weights alone hold the average;
before it begins the last weights count; an average of epochs' ends is taken before validation, not after it.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Any, cast

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bcc_lightning.datamodules.base import CellDataModule
from bcc_lightning.datasets.batches import CellBatch
from bcc_lightning.modules.base import CellClassifier
from bcc_lightning.modules.recipe import Averaging


class AveragedWeights(WeightAveraging):
    """Keeps an average; the base of both kinds."""

    @property
    def has_begun(self) -> bool:
        """Whether there is an average yet."""
        return self._average_model is not None and bool(self._average_model.n_averaged > 0)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Copy the module, and let its checkpoints hold the average."""
        if stage == "fit":
            cast(CellClassifier, pl_module).kept_weights = None  # would be copied too
            super().setup(trainer, pl_module, stage)
            cast(CellClassifier, pl_module).kept_weights = lambda: self.weights(pl_module)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Follow the module to its device, which it did not know at the setup; Lightning's average would stay on the CPU."""
        if self._average_model is not None:
            self._average_model.to(pl_module.device)

    def weights(self, pl_module: LightningModule) -> dict[str, Tensor]:
        """Return the state dict that is validated and kept."""
        average = self._average_model
        return average.module.state_dict() if average is not None and self.has_begun else pl_module.state_dict()

    def restart(self, pl_module: LightningModule) -> None:
        """Forget the average and begin anew from the module's weights."""
        if self._average_model is not None:
            self._average_model.module.load_state_dict(pl_module.state_dict())
            self._average_model.n_averaged.zero_()

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validate the average."""
        if self.has_begun:
            super().on_validation_epoch_start(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go back to the last weights."""
        if self.has_begun:
            super().on_validation_epoch_end(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Do nothing: validation has already looked at the average of this epoch."""

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the average in the module."""
        if self.has_begun:
            super().on_train_end(trainer, pl_module)
        else:
            rank_zero_warn("training ended before averaging began, so the last weights were kept; lower --model.swa_start")

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Go on with the average of a stopped run; a checkpoint of weights alone, which the test loads, has none."""
        if "averaging_state" in checkpoint:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)


class MovingAverage(AveragedWeights):
    """Exponential moving average of weights and batch-norm statistics, updated at each optimiser step.

    Args:
        decay: how slowly it forgets, in [0, 1). At the n-th update it is at most n / (n + 9), so that a short training is not
            dominated by its first weights.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(multi_avg_fn=self.average)
        self.decay = decay

    def average(self, averages: list[Tensor], current: list[Tensor], updates: Tensor) -> None:
        """Move averages towards the current values; counters are copied.

        Args:
            averages: tensors of one type, changed in place.
            current: tensors of the same shapes.
            updates: (), how many updates came before.
        """
        if not averages[0].is_floating_point():
            torch._foreach_copy_(averages, current)
            return
        count = int(updates)
        torch._foreach_lerp_(averages, current, 1 - min(self.decay, (1 + count) / (10 + count)))


class EpochMean(AveragedWeights):
    """Stochastic weight averaging (Izmailov et al. 2018, arXiv 1803.05407): the mean of the weights at epochs' ends.

    The averaged network gets its batch-norm statistics from a pass over the training set, as in the paper, after each of these
    epochs, so that validation sees what is kept.

    Args:
        start: share of the epochs after which averaging begins, in [0, 1).
    """

    def __init__(self, start: float) -> None:
        super().__init__(use_buffers=False)
        self.start = start

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ANN401 - Lightning's signature
        """Add an epoch's last weights to the mean, before they are validated."""
        epochs = trainer.max_epochs or 0
        if not trainer.is_last_batch or trainer.current_epoch < int(self.start * max(0, epochs)):
            return
        assert self._average_model is not None  # noqa: S101 - it exists while training
        self._average_model.update_parameters(pl_module)
        loader = cast(CellDataModule, trainer.datamodule).train_dataloader()  # type: ignore[attr-defined]
        cast(Any, loader.sampler).set_epoch(trainer.current_epoch)
        refresh_batch_norm(self._average_model.module, islice(loader, int(trainer.num_training_batches)))


@torch.no_grad()
def refresh_batch_norm(network: nn.Module, batches: Iterable[CellBatch]) -> None:
    """Measure batch-norm statistics anew: as `torch.optim.swa_utils.update_bn`, but those of frozen layers stay put.

    Args:
        network: takes images (B, 3, H, W) uint8; left in the mode it was in.
        batches: the training set.
    """
    mode = network.training
    network.train()
    layers = [layer for layer in network.modules() if isinstance(layer, _BatchNorm) and layer.training]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the plain mean of all batches
    device = next(network.parameters()).device
    for batch in batches if layers else ():
        network(batch.image.to(device))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    network.train(mode)


def averaging_callback(averaging: Averaging) -> AveragedWeights:
    """Build the callback that averages weights."""
    return MovingAverage(averaging.ema_decay) if averaging.average == "ema" else EpochMean(averaging.swa_start)
