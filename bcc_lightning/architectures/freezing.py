"""Frozen layers: no gradient, and on request no moving statistics."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def freeze(part: nn.Module) -> None:
    """Exclude all parameters of a part from training."""
    part.requires_grad_(False)


def hold_statistics(part: nn.Module) -> None:
    """Put batch normalisation whose own parameters are frozen into evaluation mode; the rest stays as it is.

    In training mode its running mean and variance would follow each batch, although nothing of the layer is trained.
    """
    for layer in part.modules():
        if isinstance(layer, _BatchNorm) and not any(parameter.requires_grad for parameter in layer.parameters()):
            layer.eval()
