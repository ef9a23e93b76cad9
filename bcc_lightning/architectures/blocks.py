"""The blocks of a network from input to output, and freezing them."""

from itertools import zip_longest
from typing import Any

from timm.models import group_parameters
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bcc_lightning.architectures.backbone import Backbone


def network_blocks(network: nn.Module) -> list[nn.Module]:
    """List the blocks of a network's backbones, from input to output; everything outside them is the head.

    The branches of a hybrid are aligned at their ends, so that its last block contains the last block of each branch. In a
    network without a timm backbone, every child is a block, except the last, which is the head.

    Args:
        network: the network of a module.
    """
    branches = [timm_blocks(part.network) for part in network.modules() if isinstance(part, Backbone)]
    if not branches:
        return [child for child in network.children() if next(child.parameters(), None) is not None][:-1]
    aligned = list(zip_longest(*(reversed(blocks) for blocks in branches)))
    return [nn.ModuleList([block for block in level if block is not None]) for level in reversed(aligned)]


def timm_blocks(network: Any) -> list[nn.Module]:  # noqa: ANN401 - timm's networks share methods that no common type declares
    """List the blocks of a timm network in timm's own order, stem first (its ``group_matcher``).

    Args:
        network: a network from ``timm.create_model``.

    Returns:
        One module per block. It holds the layers and individual parameters of the block, and is not part of the network.
    """
    groups = group_parameters(network, network.group_matcher(coarse=False))
    return [block_of(network, groups[number]) for number in sorted(groups)]


def block_of(network: nn.Module, names: list[str]) -> nn.Module:
    """Collect the layers that hold the named parameters; from a layer with layers inside, only the named parameters."""
    owners = {name: network.get_submodule(name.rpartition(".")[0]) for name in names}
    single = nn.ParameterList(network.get_parameter(name) for name, owner in owners.items() if next(owner.children(), None))
    layers = [owner for owner in dict.fromkeys(owners.values()) if next(owner.children(), None) is None]
    return nn.ModuleList([*layers, single] if len(single) else layers)


def freeze(part: nn.Module) -> None:
    """Exclude all parameters of a module from training."""
    part.requires_grad_(False)


def hold_statistics(part: nn.Module, trained: bool = False) -> None:
    """Put batch normalisation with frozen parameters into evaluation mode; other layers are not changed.

    In training mode its running mean and variance would change with each batch, although the layer is not trained.

    Args:
        part: a network.
        trained: also where the parameters are trained.
    """
    for layer in part.modules():
        if isinstance(layer, _BatchNorm) and (trained or not any(one.requires_grad for one in layer.parameters())):
            layer.eval()
