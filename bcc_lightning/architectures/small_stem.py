"""A residual network for images of 28 to 64 pixels: a 3x3 convolution without stride instead of 7x7 and pooling.

He et al. 2016 (arXiv 1512.03385, section 4.2) begin so on CIFAR-10's 32 pixels; MedMNIST v2's ResNet-18 does on 28 (Yang et al.,
Sci Data 10 (2023) 41). The usual stem would leave a 7x7 map of 28 pixels before the first block. With 8 classes ResNet-18 has
11,176,512 - 64 x 3 x (49 - 9) + (512 x 8 + 8) = 11,172,936 parameters.
"""

from typing import Any

from timm.models.resnet import ResNet
from torch import nn

from bcc_lightning.errors import UserError

STEM_REDUCTION = 4
"""How much the usual stem shrinks: a stride of 2, then a pooling of 2."""


def put_small_stem(network: nn.Module, name: str) -> None:
    """Replace the stem of a timm ResNet in place; the new convolution is random.

    Args:
        network: the network.
        name: timm's name, for the message.

    Raises:
        UserError: the network is no ResNet, or its stem is not one convolution.
    """
    resnet: Any = network
    if not isinstance(network, ResNet) or not isinstance(network.conv1, nn.Conv2d):
        raise UserError(f"--model.small_stem replaces a ResNet's 7x7 convolution, {name} has none; use false, or resnet18")
    resnet.conv1 = nn.Conv2d(3, network.conv1.out_channels, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(resnet.conv1.weight, mode="fan_out", nonlinearity="relu")
    resnet.maxpool = nn.Identity()


def stages_behind_small_stem(stages: list[dict[str, object]]) -> list[dict[str, object]]:
    """Correct timm's ``feature_info``: its reductions count the stem that was replaced."""
    return [{**stage, "reduction": max(1, int(str(stage["reduction"])) // STEM_REDUCTION)} for stage in stages]
