"""Learning-rate schedules by name, stepped after each optimiser step or, on a plateau, after each validation."""

from dataclasses import dataclass
from functools import partial
from math import ceil, cos, inf, pi

from lightning import Trainer
from lightning.pytorch.utilities.types import LRSchedulerConfigType
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ChainedScheduler, LambdaLR, LinearLR, LRScheduler, MultiStepLR, OneCycleLR, ReduceLROnPlateau

from bcc_lightning.argument_types import check_choice
from bcc_lightning.errors import UserError
from bcc_lightning.modules.recipe import Mode, Schedule

ONE_CYCLE_RISE = 0.3
"""Share of a one-cycle schedule in which the learning rate rises where no warm-up is given; torch's default."""


@dataclass(frozen=True)
class Length:
    """How long a training is.

    Attributes:
        batches: batches of an epoch.
        epoch: optimiser steps of an epoch; batches whose gradients are accumulated make one.
        total: optimiser steps of the whole; infinite where neither epochs nor steps are limited.
    """

    batches: int
    epoch: int
    total: float

    @classmethod
    def of(cls, trainer: Trainer, epochs: int | None = None) -> "Length":
        """Measure a training, or `epochs` epochs of it.

        Time is not used for it, so that a schedule does not depend on how busy the machine is: if ``max_time`` ends a
        training early, the schedule is cut off.
        """
        trainer.fit_loop.setup_data()
        batches = int(trainer.num_training_batches)
        epoch = ceil(batches / trainer.accumulate_grad_batches)
        return cls(batches, epoch, epochs * epoch if epochs else trainer.estimated_stepping_batches)


def configure_schedule(
    optimizer: Optimizer, schedule: Schedule, length: Length, monitor: str, mode: Mode
) -> LRSchedulerConfigType:
    """Build a schedule as Lightning takes it from ``configure_optimizers``.

    Args:
        optimizer: whose learning rates are moved.
        schedule: which one.
        length: of the training, or of its stage.
        monitor: metric that a plateau is found in.
        mode: whether ``max`` or ``min`` of it is better.
    """
    check_choice("selection.mode", mode, Mode)
    if schedule.schedule == "plateau":
        # torch counts the epochs that it still tolerates; early stopping, and Keras, those before it acts.
        plateau = ReduceLROnPlateau(optimizer, mode, schedule.lr_factor, schedule.plateau_patience - 1, threshold=0)
        # Stepped by the epoch, Lightning would do so only after the checkpoint is written, and a resumed run would miss it.
        # Stepped by an epoch's number of batches, it does so right after validation.
        return {"scheduler": plateau, "interval": "step", "frequency": length.batches, "monitor": monitor}
    return {"scheduler": make_schedule(optimizer, schedule, length), "interval": "step"}


def make_schedule(optimizer: Optimizer, schedule: Schedule, length: Length) -> LRScheduler:
    """Build a schedule that is stepped after each optimiser step; arguments as `configure_schedule`.

    Raises:
        UserError: it has to know the end of the training, and there is none.
    """
    warmup = round(schedule.warmup_epochs * length.epoch)
    if schedule.schedule == "step":
        steps = MultiStepLR(optimizer, [epoch * length.epoch for epoch in schedule.milestones or []], schedule.lr_factor)
        rise = [LinearLR(optimizer, 1 / warmup, total_iters=warmup - 1)] if warmup > 1 else []
        return ChainedScheduler([*rise, steps])
    if schedule.schedule == "constant":
        return LambdaLR(optimizer, partial(warm, warmup_steps=warmup))
    if length.total == inf:
        raise UserError(f"--model.schedule {schedule.schedule} ends with the training; give --trainer.max_epochs or max_steps")
    if schedule.schedule == "one_cycle":
        return one_cycle(optimizer, warmup / length.total or ONE_CYCLE_RISE, int(length.total))
    return LambdaLR(optimizer, partial(warm_cosine, warmup_steps=warmup, total_steps=int(length.total)))


def one_cycle(optimizer: Optimizer, rise: float, total_steps: int) -> OneCycleLR:
    """Build torch's one-cycle schedule; momentum, or Adam's and Lion's first beta, moves against the learning rate."""
    largest = [float(group["lr"]) for group in optimizer.param_groups]
    moves_momentum = "betas" in optimizer.defaults or optimizer.defaults.get("momentum", 0) > 0
    return OneCycleLR(optimizer, largest, total_steps, pct_start=rise, cycle_momentum=moves_momentum)


def warm(step: int, warmup_steps: int) -> float:
    """Compute the share of the full learning rate that a linear warm-up has reached at a step, in (0, 1]."""
    return min(1.0, (step + 1) / max(1, warmup_steps))


def warm_cosine(step: int, warmup_steps: int, total_steps: int) -> float:
    """Compute the share of the full learning rate at a step of a cosine after a warm-up, in [0, 1]."""
    if step < warmup_steps:
        return warm(step, warmup_steps)
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return 0.5 * (1 + cos(pi * min(1.0, progress)))
