"""Optimisers and learning-rate schedules by name."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from math import ceil, cos, inf, pi
from typing import Any, Literal

from lightning import Trainer
from lightning.pytorch.utilities.types import LRSchedulerConfigType
from timm.optim import create_optimizer_v2, param_groups_layer_decay, param_groups_weight_decay
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ChainedScheduler, LambdaLR, LinearLR, LRScheduler, MultiStepLR, OneCycleLR, ReduceLROnPlateau

from bcc_lightning.architectures.acceleration import FUSED_OPTIMIZERS
from bcc_lightning.argument_types import check_choice, check_types
from bcc_lightning.errors import UserError

OptimizerName = Literal["adam", "adamw", "sgd", "rmsprop", "lion"]
ParameterGroups = list[dict[str, Any]]


@dataclass(frozen=True)
class Recipe:
    """What may change from stage to stage of a training.

    Attributes:
        lr: learning rate.
        weight_decay: weight decay.
        epochs: epochs that the schedule is laid over; None takes all of the training.
    """

    lr: float
    weight_decay: float = 0.0
    epochs: int | None = None


def make_optimizer(
    groups: ParameterGroups, name: OptimizerName, recipe: Recipe, momentum: float = 0.9, fused: bool = True
) -> Optimizer:
    """Build an optimiser by timm's factory.

    Args:
        groups: what to train, see `parameter_groups`.
        name: the optimiser.
        recipe: its learning rate.
        momentum: of ``sgd`` (Nesterov's) and ``rmsprop``; 0 is plain. The others have their own.
        fused: take torch's fused implementation where there is one.

    Raises:
        UserError: the name is unknown, or there is nothing to train.
    """
    check_choice("model.optimizer", name, OptimizerName)
    if not groups:
        raise UserError("all parameters are frozen, so there is nothing to train; free some of them")
    options: dict[str, Any] = {"fused": True} if fused and name in FUSED_OPTIMIZERS else {}
    # Nesterov's formula needs some momentum; timm's name of SGD without it is `momentum`.
    opt = "momentum" if name == "sgd" and momentum == 0 else name
    return create_optimizer_v2(groups, opt=opt, lr=recipe.lr, momentum=momentum, **options)


def parameter_groups(network: nn.Module, recipe: Recipe, layer_decay: float, blocks: list[nn.Module]) -> ParameterGroups:
    """Divide the parameters that are not frozen by weight decay and, with layer-wise decay, by learning rate.

    Biases and normalisation layers are not decayed.

    Args:
        network: what to train.
        recipe: learning rate of the head, and weight decay.
        layer_decay: factor of the learning rate from a block to the one before it; 1 gives all the same.
        blocks: the blocks of the network from input to output; what is in none of them is the head.
    """
    if layer_decay == 1:
        return list(param_groups_weight_decay(network, recipe.weight_decay))
    layered = LayeredParameters(network, blocks)
    groups = param_groups_layer_decay(layered, recipe.weight_decay, layer_decay=layer_decay)  # type: ignore[arg-type]
    # timm leaves applying the scale to its own schedules; torch's start from the group's learning rate.
    return [{**group, "lr": recipe.lr * group.pop("lr_scale")} for group in groups]


class LayeredParameters:
    """Parameters with the number of the block that they belong to, as timm's layer-wise decay asks a network for them.

    Args:
        network: the network.
        blocks: its blocks from input to output.
    """

    def __init__(self, network: nn.Module, blocks: list[nn.Module]) -> None:
        self.network = network
        self.block = {id(p): number for number, block in enumerate(blocks) for p in block.parameters()}
        self.layer = {name: self.block.get(id(p), len(blocks)) for name, p in network.named_parameters()}

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Name all parameters."""
        return self.network.named_parameters()

    def group_matcher(self, coarse: bool) -> Any:  # noqa: ANN401 - timm's word for a function from name to number
        """Give the function from a parameter's name to its block; those of no block, the head, come last."""
        return self.layer.__getitem__


def parameters_outside(network: nn.Module, blocks: Iterable[nn.Module]) -> list[nn.Parameter]:
    """List the parameters of a network that are in none of its blocks."""
    inside = {id(p) for block in blocks for p in block.parameters()}
    return [p for p in network.parameters() if id(p) not in inside]


ScheduleName = Literal["constant", "cosine", "one_cycle", "plateau", "step"]
Mode = Literal["max", "min"]

ONE_CYCLE_RISE = 0.3
"""Share of a one-cycle schedule in which the learning rate rises where no warm-up is given; torch's default."""


@dataclass(frozen=True)
class Schedule:
    """A learning-rate schedule.

    Attributes:
        name: ``constant``; ``cosine`` down to 0 at the last step; ``one_cycle`` up and down to almost 0, with the momentum
            against it; ``plateau`` lower by `factor` where validation has not become better for `patience` epochs; ``step``
            lower by `factor` at each of the `milestones`.
        warmup_epochs: epochs over which the learning rate rises linearly to its full value; ``one_cycle`` rises over them,
            ``plateau`` takes none.
        milestones: epochs, from 0, before which ``step`` lowers it.
        factor: what ``step`` and ``plateau`` multiply it by.
        patience: epochs without a better value before ``plateau`` lowers it.
    """

    name: ScheduleName = "constant"
    warmup_epochs: float = 0.0
    milestones: list[int] = field(default_factory=list)
    factor: float = 0.1
    patience: int = 2

    def __post_init__(self) -> None:
        """Refuse a name that does not exist, and numbers that are none."""
        check_types("schedule", Schedule, vars(self))


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

        Time has no say in it, so that a schedule does not depend on how busy the machine is: where ``max_time`` ends a
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
    if schedule.name == "plateau":
        # torch counts the epochs that it still tolerates; early stopping, and Keras, those before it acts.
        plateau = ReduceLROnPlateau(optimizer, mode, schedule.factor, schedule.patience - 1, threshold=0)
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
    if schedule.name == "step":
        steps = MultiStepLR(optimizer, [epoch * length.epoch for epoch in schedule.milestones], schedule.factor)
        rise = [LinearLR(optimizer, 1 / warmup, total_iters=warmup - 1)] if warmup > 1 else []
        return ChainedScheduler([*rise, steps])
    if schedule.name == "constant":
        return LambdaLR(optimizer, partial(warm, warmup_steps=warmup))
    if length.total == inf:
        raise UserError(f"--model.schedule {schedule.name} ends with the training; give --trainer.max_epochs or max_steps")
    if schedule.name == "one_cycle":
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
