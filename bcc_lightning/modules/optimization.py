"""Optimisers and learning-rate schedules by name."""

from functools import partial
from math import cos, pi
from typing import Any, Literal

from timm.optim import create_optimizer_v2
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from bcc_lightning.architectures.acceleration import FUSED_OPTIMIZERS

OptimizerName = Literal["adam", "adamw", "sgd", "rmsprop", "lion"]
ScheduleName = Literal["constant", "cosine"]


def make_optimizer(network: nn.Module, name: OptimizerName, lr: float, weight_decay: float) -> Optimizer:
    """Build an optimiser by timm's factory, fused where torch can.

    Args:
        network: what to train; biases and normalisation layers are not decayed.
        name: the optimiser; ``sgd`` has momentum 0.9.
        lr: learning rate.
        weight_decay: weight decay.
    """
    fused: dict[str, Any] = {"fused": True} if name in FUSED_OPTIMIZERS else {}
    return create_optimizer_v2(network, opt=name, lr=lr, weight_decay=weight_decay, **fused)


def make_schedule(optimizer: Optimizer, name: ScheduleName, warmup_steps: int, total_steps: int) -> LambdaLR:
    """Build a schedule that is stepped after each optimiser step.

    Args:
        optimizer: whose learning rate is scaled.
        name: ``constant``, or ``cosine`` down to 0 at the last step.
        warmup_steps: steps over which the learning rate rises linearly to its full value.
        total_steps: optimiser steps of the whole training.
    """
    return LambdaLR(optimizer, partial(lr_scale, name=name, warmup_steps=warmup_steps, total_steps=total_steps))


def lr_scale(step: int, name: ScheduleName, warmup_steps: int, total_steps: int) -> float:
    """Compute the share of the full learning rate at a step, in [0, 1]; arguments as `make_schedule`."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if name == "constant":
        return 1.0
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return 0.5 * (1 + cos(pi * min(1.0, progress)))
