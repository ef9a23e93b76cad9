"""Staged fine-tuning: head first, then more and more of the backbone, each stage with a recipe and a patience of its own.

Lightning's ``BaseFinetuning`` adds parameter groups to one optimiser: moments and schedule of the first stage run on, nothing
takes the network back to its best weights, after resuming what had been freed is frozen again, and in training its frozen batch
normalisation goes by the batch. The package finetuning-scheduler takes the best weights, but with checkpoints, early stopping
and schedule files of its own beside those of this project. Here a stage begins as a training does, with fresh optimiser and
schedule, from the best weights of the stage before.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, cast

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn

from bcc_lightning.argument_types import check_types
from bcc_lightning.callbacks.averaging import AveragedWeights
from bcc_lightning.datasets.batches import CellBatch
from bcc_lightning.errors import UserError
from bcc_lightning.modules.base import CellClassifier
from bcc_lightning.modules.optimization import Recipe
from bcc_lightning.modules.recipe import Mode


@dataclass(frozen=True)
class Stage:
    """A stage of fine-tuning.

    Args:
        train: what is trained: the ``head``, ``all``, or ``last:N``, the head and the backbone's last N blocks.
        lr: learning rate.
        weight_decay: weight decay.
        epochs: most epochs of the stage; the schedule is laid over them.
        patience: epochs without a better value of the monitored metric before the stage ends; null uses all epochs.
    """

    train: str = "all"
    lr: float = 1e-3
    weight_decay: float = 0.0
    epochs: int = 10
    patience: int | None = None

    def __post_init__(self) -> None:
        check_types("stages", Stage, vars(self))
        if not re.fullmatch(r"head|all|last:[1-9]\d*", self.train):
            raise UserError(f"stages: train is '{self.train}', it must be head, all or last:N with N from 1, e.g. last:3")
        if self.lr < 0 or self.weight_decay < 0:
            raise UserError(f"stages: lr {self.lr} and weight_decay {self.weight_decay} must be 0 or more")
        if self.epochs < 1 or (self.patience is not None and self.patience < 1):
            raise UserError(f"stages: epochs {self.epochs} and patience {self.patience} must be 1 or more")


class StagedFineTuning(Callback):
    """Leads a training through its stages.

    Its state says which stage it is in and holds the best weights so far, so that a resumed run goes on in the middle of it.

    Args:
        stages: in their order.
        monitor: metric of the validation set by which patience and the best weights are judged.
        mode: whether ``max`` or ``min`` of it is better.
        averaging: the callback that averages the weights, if any; a stage averages its own.
    """

    def __init__(self, stages: list[Stage], monitor: str, mode: Mode, averaging: AveragedWeights | None = None) -> None:
        self.stages = stages
        self.monitor = monitor
        self.sign = 1 if mode == "max" else -1
        self.averaging = averaging
        self.number = 0
        self.best = BestOfStage()

    @property
    def stage(self) -> Stage:
        """The present stage."""
        return self.stages[self.number]

    @property
    def is_last(self) -> bool:
        """Whether no stage follows."""
        return self.number == len(self.stages) - 1

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Prepare the first stage, before Lightning asks for the optimiser."""
        if stage != "fit":
            return
        for each in self.stages:
            parameters_to_train(cast(CellClassifier, pl_module), each.train)
        self.enter(pl_module)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Prepare the stage that a stopped run was in, before its optimiser is restored."""
        if state := checkpoint.get("callbacks", {}).get(self.state_key):
            self.load_state_dict(state)
            self.enter(pl_module)

    def enter(self, pl_module: LightningModule) -> None:
        """Free what the present stage trains, freeze the rest, and give the module its recipe."""
        module = cast(CellClassifier, pl_module)
        module.network.requires_grad_(False)
        for parameter in parameters_to_train(module, self.stage.train):
            parameter.requires_grad_(True)
        module.recipe = Recipe(self.stage.lr, self.stage.weight_decay, self.stage.epochs)
        module.train()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop at once where the stopped run had finished its last stage."""
        trainer.should_stop = trainer.should_stop or (self.is_last and self.best.ends(self.stage))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: CellBatch, batch_idx: int) -> None:
        """Begin the next stage where the last epoch has ended one.

        Here and not at the end of an epoch, so that checkpoints of that epoch hold its own weights; and not at the start of an
        epoch, whose hook Lightning leaves out after resuming.
        """
        if batch_idx > 0 or self.is_last or not self.best.ends(self.stage):
            return
        pl_module.load_state_dict(cast(dict[str, Tensor], self.best.weights))
        if self.averaging:
            self.averaging.restart(pl_module)
        self.number, self.best = self.number + 1, BestOfStage()
        self.enter(pl_module)
        if isinstance(trainer.strategy, DDPStrategy):  # what was frozen when it wrapped the module, it would not keep in step
            trainer.strategy.model = pl_module
            trainer.strategy.configure_ddp()
        trainer.strategy.setup_optimizers(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge the epoch, log its stage, counted from 1, and stop after the last stage."""
        pl_module.log("stage", float(self.number + 1))
        weights = self.averaging.weights(pl_module) if self.averaging else pl_module.state_dict()
        self.best.judge(self.sign * self.value(trainer.callback_metrics), weights)
        trainer.should_stop = trainer.should_stop or (self.is_last and self.best.ends(self.stage))

    def value(self, metrics: Mapping[str, Tensor]) -> float:
        """Look up the monitored metric.

        Raises:
            UserError: validation gives none of this name.
        """
        if self.monitor not in metrics:
            raise UserError(f"--selection.monitor '{self.monitor}' is no metric; there are: {', '.join(sorted(metrics))}")
        return float(metrics[self.monitor])

    def state_dict(self) -> dict[str, Any]:
        """Keep the stage and how far it has come."""
        return {"number": self.number, "best": vars(self.best)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the stopped run was."""
        self.number, self.best = state_dict["number"], BestOfStage(**state_dict["best"])


@dataclass
class BestOfStage:
    """How far a stage has come.

    Attributes:
        epochs: finished epochs.
        waited: epochs since the best one.
        value: the best value; larger is better.
        weights: state dict of the best epoch, on the CPU; None before the first.
    """

    epochs: int = 0
    waited: int = 0
    value: float = -inf
    weights: dict[str, Tensor] | None = None

    def judge(self, value: float, weights: dict[str, Tensor]) -> None:
        """Count an epoch, and keep its weights if it is the best, or the first."""
        self.epochs += 1
        self.waited += 1
        if value > self.value or self.weights is None:
            self.value, self.waited = value, 0
            self.weights = {name: tensor.detach().to("cpu", copy=True) for name, tensor in weights.items()}

    def ends(self, stage: Stage) -> bool:
        """Check whether a stage is over."""
        return self.epochs >= stage.epochs or (stage.patience is not None and self.waited >= stage.patience)


def parameters_to_train(module: CellClassifier, train: str) -> Iterable[nn.Parameter]:
    """List what a stage trains.

    Args:
        module: the module.
        train: see `Stage`.

    Raises:
        UserError: the backbone has fewer blocks.
    """
    if train == "all":
        return list(module.network.parameters())
    wanted = int(train.removeprefix("last:")) if train != "head" else 0
    blocks = module.backbone_blocks()
    if wanted > len(blocks):
        raise UserError(f"stages: train is '{train}', but the backbone has {len(blocks)} blocks; use fewer, or all")
    last = nn.ModuleList(blocks[len(blocks) - wanted :])
    return [*last.parameters(), *module.head_parameters()]
