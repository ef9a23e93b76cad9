"""Which weights a training changes: all of them, the head, the last blocks, the biases, or low-rank additions to attention."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bcc_lightning.architectures.blocks import freeze
from bcc_lightning.argument_types import NOT_NEGATIVE, check_ranges, check_types
from bcc_lightning.errors import UserError
from bcc_lightning.files import whole_file

ATTENTION = (".attn.qkv", ".attn.proj")
"""Ends of the names of the linear layers of attention in timm's ViT and Swin."""


@dataclass(frozen=True)
class Tuning:
    """Which weights are trained; the head always is.

    Attributes:
        tuning: ``full``; ``head``; ``last:N``, the backbone's last N blocks; ``bitfit``, all biases (Ben Zaken et al. 2022, arXiv
            2106.10199); ``lora``, low-rank additions to the attention layers of a ViT or Swin (Hu et al. 2021, arXiv 2106.09685),
            which are merged into the weights at the end.
        lora_rank: rank of the additions; 0 adds nothing.
        lora_alpha: the additions are multiplied by alpha / rank.
    """

    tuning: str = "full"
    lora_rank: int = 8
    lora_alpha: float = 16.0

    def __post_init__(self) -> None:
        """Refuse what does not exist or is out of range."""
        check_types("model", Tuning, vars(self))
        check_ranges("model", vars(self), {"lora_rank": NOT_NEGATIVE, "lora_alpha": NOT_NEGATIVE})
        if not re.fullmatch(r"full|head|bitfit|lora|last:[1-9]\d*", self.tuning):
            allowed = "full, head, bitfit, lora, or last:N with N from 1, e.g. last:3"
            raise UserError(f"--model.tuning is '{self.tuning}', it must be {allowed}")


class LowRank(nn.Module):
    """Adds a product of two narrow matrices to a weight; it begins at zero.

    Args:
        weight: (O, I).
        rank: R of the product.
        alpha: the product is multiplied by alpha / R.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        self.scale = alpha / rank
        self.down = nn.Parameter(torch.empty(rank, weight.shape[1]))
        self.up = nn.Parameter(torch.zeros(weight.shape[0], rank))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with the addition, in float32 also under autocast, so that merging changes no bit."""
        with torch.autocast(weight.device.type, enabled=False):
            return weight + self.scale * (self.up @ self.down)


def apply_tuning(network: nn.Module, blocks: list[nn.Module], chosen: Tuning) -> None:
    """Freeze what is not trained, and add low-rank matrices.

    Args:
        network: the network of a module.
        blocks: the backbone's blocks from input to output.
        chosen: what is trained.

    Raises:
        UserError: the network has fewer blocks, or no attention.
    """
    if chosen.tuning == "full":
        return
    kept = int(chosen.tuning.partition(":")[2] or 0)
    if kept > len(blocks):
        raise UserError(f"--model.tuning is {chosen.tuning}, but the backbone has {len(blocks)} blocks; use full, or fewer")
    for block in blocks[: len(blocks) - kept]:
        freeze(block)
    if chosen.tuning == "bitfit":
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(parameter.requires_grad or name.endswith("bias"))
    if chosen.tuning == "lora":
        add_low_rank(network, chosen.lora_rank, chosen.lora_alpha)


def add_low_rank(network: nn.Module, rank: int, alpha: float) -> None:
    """Add low-rank matrices to all attention layers; raises as `apply_tuning`."""
    layers = [part for name, part in network.named_modules() if name.endswith(ATTENTION) and isinstance(part, nn.Linear)]
    if not layers:
        raise UserError("--model.tuning lora needs a network with attention, such as a ViT or Swin; use bitfit or last:3")
    for layer in layers if rank else ():
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank, alpha))


def merge(network: nn.Module) -> bool:
    """Merge low-rank additions into the weights; tells whether there were any."""
    found = [part for part in network.modules() if has_low_rank(part)]
    for layer in found:
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return bool(found)


def has_low_rank(layer: Any) -> bool:  # noqa: ANN401 - what torch parametrizes gets attributes that no type declares
    """Check whether a layer's weight has a low-rank addition."""
    return parametrize.is_parametrized(layer, "weight") and isinstance(layer.parametrizations.weight[0], LowRank)


def merge_checkpoint(file: Path, merged: dict[str, Tensor]) -> None:
    """Write merged weights into a checkpoint, which from then on is that of a network that was tuned as a whole.

    Args:
        file: the checkpoint.
        merged: its state, merged.
    """
    content = torch.load(file, map_location="cpu", weights_only=True)
    content["state_dict"] = merged
    content["hyper_parameters"]["tuning"] = "full"
    with whole_file(file) as draft:
        torch.save(content, draft)
