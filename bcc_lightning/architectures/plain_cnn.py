"""A plain convolutional network: blocks of 3x3 convolutions, then a head. The sources' own networks are configurations of it.

Parameters, with a head of D inputs (a convolution from a to b channels has 9ab + b, a batch normalisation of b channels 2b):

- ``an2dl_cnn`` (NeuralNexus, AN2DL challenge 2024), 96 pixels, 8 classes: 2,458,376;
- ``raabin_cnn`` (WBC CNN vs MobileNetV2), 350 pixels, 5 classes: 86,981;
- ``pbc_unet`` (Decoding Cellular Complexity, 2025), 128 pixels, 8 classes: 34,704,456.

The source of the last one calls it U-Net; it is an encoder without a decoder.

``tests/architectures/test_plain_cnn.py`` has the sums.
"""

from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import Any, Literal

from torch import Tensor, nn

from bcc_lightning.architectures.acceleration import Precision, lay_out, suited_precision
from bcc_lightning.architectures.cam_target import SMALLEST_MAP, CamTarget
from bcc_lightning.architectures.head import KERAS_EPSILON, KERAS_MOMENTUM, ClassifierHead, Head
from bcc_lightning.architectures.image_input import InputNormalisation, refuse_smaller
from bcc_lightning.argument_types import check_types
from bcc_lightning.errors import UserError

LEAST_TO_HALVE = 2
"""Least side of a map that is halved: a convolution over a single place would see only its own padding."""


@dataclass(frozen=True)
class ConvBlocks:
    """The convolutional blocks before the head.

    Attributes:
        channels: channels of each block.
        convolutions: 3x3 convolutions in a block, each with its activation.
        stride: of a block's first convolution, 1 or 2.
        pooled: how many blocks, from the first, end with 2x2 max pooling; by default all.
        batch_norm: normalise each convolution ``before`` or ``after`` its ReLU.
        initialisation: of the convolutions; Keras' default, or the one for ReLU of He et al. 2015 (arXiv 1502.01852).
        norm_momentum: share of each batch in the running statistics; the default is Keras'.
        norm_epsilon: added to the variance; likewise.

    Raises:
        UserError: there is no block, or a number is out of range.
    """

    channels: list[int] = field(default_factory=lambda: [16, 32, 64, 128])
    convolutions: int = 1
    stride: int = 1
    pooled: int | None = None
    batch_norm: Literal["none", "before", "after"] = "before"
    initialisation: Literal["glorot_uniform", "he_normal"] = "glorot_uniform"
    norm_momentum: float = KERAS_MOMENTUM
    norm_epsilon: float = KERAS_EPSILON

    def __post_init__(self) -> None:
        check_types("model.blocks", ConvBlocks, vars(self))
        if not self.channels or min(self.channels) < 1 or self.convolutions < 1 or self.stride not in (1, 2):
            raise UserError(
                f"--model.blocks has channels {self.channels}, convolutions {self.convolutions}, stride {self.stride}; it needs "
                "at least one block, 1 or more channels and convolutions, and a stride of 1 or 2"
            )
        if self.pooled is not None and not 0 <= self.pooled <= len(self.channels):
            raise UserError(f"--model.blocks.pooled is {self.pooled}, it must be from 0 to {len(self.channels)} (blocks)")

    def is_pooled(self, block: int) -> bool:
        """Check whether a block ends with pooling."""
        return self.pooled is None or block < self.pooled

    def sides(self, image_size: int) -> list[int]:
        """Compute the side of the map after each block: strides round up, pooling rounds down."""
        sides = [image_size]
        for block in range(len(self.channels)):
            side = -(-sides[-1] // self.stride)
            sides.append(side // 2 if self.is_pooled(block) else side)
        return sides[1:]

    def smallest_input(self) -> int:
        """Return the smallest side in pixels for which every halved map has a side of at least `LEAST_TO_HALVE`."""
        return next(size for size in count(1) if self._halves(size))

    def _halves(self, side: int) -> bool:
        for block in range(len(self.channels)):
            if self.stride > 1:
                if side < LEAST_TO_HALVE:
                    return False
                side = -(-side // self.stride)
            if self.is_pooled(block):
                if side < LEAST_TO_HALVE:
                    return False
                side //= 2
        return True


class ConvBlock(nn.Module):
    """Convolutions with their activations, then optional pooling.

    Args:
        inputs: input channels.
        channels: output channels.
        blocks: description of the blocks.
        pool: whether pooling follows.
    """

    def __init__(self, inputs: int, channels: int, blocks: ConvBlocks, pool: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for place in range(blocks.convolutions):
            stride = blocks.stride if place == 0 else 1
            layers += self._convolution(inputs if place == 0 else channels, channels, stride, blocks)
        self.layers = nn.Sequential(*layers)
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        """Compute (B, channels, h, w) from (B, inputs, H, W)."""
        result: Tensor = self.pool(self.layers(maps))
        return result

    @staticmethod
    def _convolution(inputs: int, channels: int, stride: int, blocks: ConvBlocks) -> list[nn.Module]:
        convolution = nn.Conv2d(inputs, channels, kernel_size=3, stride=stride, padding=1)
        initialise(convolution, blocks.initialisation)
        norm = nn.BatchNorm2d(channels, blocks.norm_epsilon, blocks.norm_momentum)
        orders: dict[str, list[nn.Module]] = {
            "none": [nn.ReLU()],
            "before": [norm, nn.ReLU()],
            "after": [nn.ReLU(), norm],
        }
        return [convolution, *orders[blocks.batch_norm]]


def initialise(convolution: nn.Module, name: Literal["glorot_uniform", "he_normal"]) -> None:
    """Draw the weights of a convolution; its biases are 0."""
    layer: Any = convolution
    if name == "he_normal":
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    else:
        nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)


class PlainNet(nn.Module):
    """Blocks of convolutions and a head.

    Args:
        name: name of the network in messages.
        image_size: side of the input in pixels.
        num_classes: number of classes C.
        blocks: the blocks before the head.
        head: the head; it pools or flattens.
        normalise: normalises pixels in [0, 1] for the convolutions.
        precision: see `bcc_lightning.architectures.acceleration`.

    Raises:
        UserError: the image size is too small for the blocks, or the head leaves pooling to a backbone.
    """

    def __init__(
        self,
        name: str,
        image_size: int,
        num_classes: int,
        blocks: ConvBlocks,
        head: Head,
        normalise: InputNormalisation,
        precision: Precision = "auto",
    ) -> None:
        super().__init__()
        refuse_smaller(name, image_size, blocks.smallest_input())
        refuse_no_pooling(name, head)
        self.plan, self.image_size, self.precision = blocks, image_size, precision
        self.normalise = normalise
        widths = [3, *blocks.channels]
        pairs = enumerate(pairwise(widths))
        self.blocks = nn.Sequential(*(ConvBlock(a, b, blocks, blocks.is_pooled(place)) for place, (a, b) in pairs))
        lay_out(self.blocks)
        self.head = ClassifierHead(head, widths[-1], num_classes, blocks.sides(image_size)[-1])

    def forward(self, images: Tensor) -> Tensor:
        """Classify images: (B, 3, S, S) float32 in [0, 1] to logits (B, C) float32."""
        with suited_precision(self.blocks, images.device, self.precision):
            maps = self.blocks(self.normalise(images)).float()
        logits: Tensor = self.head(maps)
        return logits

    def cam_target(self, name: str) -> CamTarget:
        """Return the layer that Grad-CAM reads: the deepest block, before its pooling, whose map is still wide enough.

        Args:
            name: name of the map in figures.
        """
        before_pooling = [self.image_size, *self.plan.sides(self.image_size)[:-1]]
        sides = [-(-side // self.plan.stride) for side in before_pooling]
        block = max((place for place, side in enumerate(sides) if side >= SMALLEST_MAP), default=0)
        layer = self.blocks.get_submodule(f"{block}.layers")
        return CamTarget(name, layer, self.plan.channels[block], sides[block])


def refuse_no_pooling(name: str, head: Head) -> None:
    """Refuse a head without pooling after a network that does not pool.

    Raises:
        UserError: the head does not pool; the message names the allowed kinds of pooling.
    """
    if head.pooling == "backbone":
        raise UserError(f"{name} does not pool by itself; use --model.head.pooling avg or flatten")
