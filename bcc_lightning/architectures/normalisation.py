"""What a network is fed with: pixels in [0, 1], shifted, scaled, and in the order of colours that it was trained on."""

from typing import Literal

import torch
from torch import Tensor, nn

from bcc_lightning.argument_types import check_choice

ChannelOrder = Literal["rgb", "bgr"]

Statistic = tuple[float, float, float]
"""One value per channel of the order that the network sees, on the scale of pixels in [0, 1]."""


class InputNormalisation(nn.Module):
    """Subtracts a mean and divides by a standard deviation.

    A mean of 0 and a deviation of 1/255 give the raw values 0 to 255 that some published systems feed; a mean of 0 and a
    deviation of 255 divide by 255 a second time.

    Args:
        mean: mean to subtract.
        std: standard deviation to divide by, above 0.
        order: ``bgr`` exchanges red and blue first, as OpenCV reads files.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Statistic = (0.0, 0.0, 0.0), std: Statistic = (1.0, 1.0, 1.0), order: ChannelOrder = "rgb") -> None:
        super().__init__()
        check_choice("model.input_order", order, ChannelOrder)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.order = order

    def forward(self, images: Tensor) -> Tensor:
        """Normalise: (B, 3, S, S) float32 RGB in [0, 1] to the same shape in channels_last."""
        ordered = images.flip(1) if self.order == "bgr" else images
        return ((ordered - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
