"""Other normalisation layers for a timm network: batch statistics carry the laboratory they were taken in."""

from typing import Any, Literal, cast

from timm.layers import BatchNormAct2d, GroupNormAct
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bcc_lightning.errors import UserError

Norm = Literal["own", "frozen", "group"]

GROUP = 8
"""Channels of a group, or the whole layer where they are fewer."""


def change_norm(network: nn.Module, norm: Norm, name: str) -> None:
    """Change the batch normalisation of a network, in place; gains and offsets are kept.

    Args:
        network: a timm network.
        norm: ``own`` leaves it, and so does ``frozen``, whose statistics the module holds where the pretraining left them;
            ``group`` normalises each image by itself, over groups of channels (Wu and He 2018).
        name: of the network, for the message.

    Raises:
        UserError: the network has no batch normalisation, or ``group`` cannot replace it.
    """
    if norm == "own":
        return
    layers = {path: layer for path, layer in network.named_modules() if isinstance(layer, _BatchNorm)}
    if not layers:
        raise UserError(f"--model.norm {norm}: {name} has no batch normalisation; leave --model.norm out")
    for path, layer in layers.items():
        parent, _, own = path.rpartition(".")
        if norm == "group":
            setattr(network.get_submodule(parent), own, grouped(layer, name))


def grouped(layer: Any, name: str) -> nn.Module:  # noqa: ANN401 - timm's layers share no type
    """Return group normalisation with the same gains, offsets and activation."""
    channels = layer.num_features
    size = next((size for size in range(min(GROUP, channels), 0, -1) if channels % size == 0), 1)
    if isinstance(layer, BatchNormAct2d):
        new: Any = GroupNormAct(channels, num_groups=channels // size, eps=layer.eps)
        new.drop, new.act = layer.drop, layer.act
    elif type(layer) is nn.BatchNorm2d:
        new = nn.GroupNorm(channels // size, channels, eps=layer.eps)
    else:
        raise UserError(f"--model.norm group: {name} has {type(layer).__name__}, which it cannot replace; use frozen, or own")
    if layer.affine:
        new.weight, new.bias = layer.weight, layer.bias
    return cast(nn.Module, new)
