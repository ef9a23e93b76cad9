"""Optimisers by name, with weight decay and learning rates that depend on the layer; averages of weights."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from timm.optim import create_optimizer_v2, param_groups_layer_decay, param_groups_weight_decay
from torch import nn
from torch.optim import Optimizer

from bcc_lightning.architectures.acceleration import FUSED_OPTIMIZERS
from bcc_lightning.argument_types import check_choice
from bcc_lightning.errors import UserError
from bcc_lightning.modules.recipe import OptimizerName

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
        """Return the function from a parameter's name to its block; those of no block, the head, come last."""
        return self.layer.__getitem__


def parameters_outside(network: nn.Module, blocks: Iterable[nn.Module]) -> list[nn.Parameter]:
    """List the parameters of a network that are in none of its blocks."""
    inside = {id(p) for block in blocks for p in block.parameters()}
    return [p for p in network.parameters() if id(p) not in inside]
