"""U-Net with decoder and skip connections, used for classification: the mean of the decoder's last map is classified.

Ronneberger, Fischer, Brox 2015, arXiv 1505.04597. Here: padded convolutions, so that maps keep their size; batch normalisation;
three halvings. With 64 to 512 channels and 8 classes 7,703,432 parameters, summed in ``tests/architectures/test_u_net.py``.
"""

import torch
from torch import Tensor, nn

from bcc_lightning.architectures.acceleration import Precision, lay_out, suited_precision
from bcc_lightning.architectures.cam_target import CamTarget
from bcc_lightning.architectures.head import ClassifierHead, Head
from bcc_lightning.architectures.image_input import InputNormalisation, refuse_smaller
from bcc_lightning.architectures.plain_cnn import ConvBlock, ConvBlocks, refuse_no_pooling

DOUBLE_CONVOLUTION = ConvBlocks(convolutions=2, initialisation="he_normal")


class UNet(nn.Module):
    """Encoder, decoder, and a skip connection from each encoder map to the decoder map of the same size.

    Args:
        image_size: side of the input in pixels.
        num_classes: number of classes C.
        channels: channels of each level, from the input's size to the smallest map.
        head: the head; it pools.
        normalise: normalises pixels in [0, 1] for the convolutions.
        precision: see `bcc_lightning.architectures.acceleration`.

    Raises:
        UserError: the image size is too small, or the head leaves pooling to a backbone.
    """

    def __init__(
        self,
        image_size: int,
        num_classes: int,
        channels: list[int],
        head: Head,
        normalise: InputNormalisation,
        precision: Precision = "auto",
    ) -> None:
        super().__init__()
        refuse_smaller("U-Net", image_size, 1 << (len(channels) - 1))
        refuse_no_pooling("U-Net", head)
        self.image_size, self.precision = image_size, precision
        self.normalise = normalise
        self.encoder = nn.ModuleList(double_convolution(a, b) for a, b in zip([3, *channels[:-1]], channels, strict=True))
        # Rounding up keeps the border pixels of an odd map; the decoder crops the extra ones.
        self.halve = nn.MaxPool2d(2, ceil_mode=True)
        upwards = list(zip(reversed(channels[1:]), reversed(channels[:-1]), strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(deep, flat, kernel_size=2, stride=2) for deep, flat in upwards)
        self.decoder = nn.ModuleList(double_convolution(2 * flat, flat) for _, flat in upwards)
        for part in (self.encoder, self.up, self.decoder):
            lay_out(part)
        self.channels = channels[0]
        self.head = ClassifierHead(head, channels[0], num_classes, image_size)

    def forward(self, images: Tensor) -> Tensor:
        """Classify images: (B, 3, S, S) float32 in [0, 1] to logits (B, C) float32."""
        with suited_precision(self, images.device, self.precision):
            maps = self._decode(self._encode(self.normalise(images))).float()
        logits: Tensor = self.head(maps)
        return logits

    def cam_target(self, name: str) -> CamTarget:
        """Return the decoder's last map, which the head averages and Grad-CAM reads; it has the size of the input.

        Args:
            name: name of the map in figures.
        """
        return CamTarget(name, self.decoder[-1], self.channels, self.image_size)

    def _encode(self, maps: Tensor) -> list[Tensor]:
        levels = [self.encoder[0](maps)]
        for block in list(self.encoder)[1:]:
            levels.append(block(self.halve(levels[-1])))
        return levels

    def _decode(self, levels: list[Tensor]) -> Tensor:
        maps = levels.pop()
        for up, block in zip(self.up, self.decoder, strict=True):
            shortcut = levels.pop()
            height, width = shortcut.shape[-2:]
            maps = block(torch.cat([shortcut, up(maps)[:, :, :height, :width]], dim=1))
        return maps


def double_convolution(inputs: int, channels: int) -> ConvBlock:
    """Build two convolutions with batch normalisation and ReLU."""
    return ConvBlock(inputs, channels, DOUBLE_CONVOLUTION, pool=False)
