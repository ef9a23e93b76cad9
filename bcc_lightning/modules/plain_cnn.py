"""The sources' own convolutional networks as experiments."""

from dataclasses import asdict
from typing import Any, cast

from torch import nn

from bcc_lightning.architectures.cam_target import CamTarget
from bcc_lightning.architectures.head import AVERAGE, Head, as_head, head_arguments
from bcc_lightning.architectures.image_input import ChannelOrder, InputNormalisation, Statistic
from bcc_lightning.architectures.plain_cnn import ConvBlocks, PlainNet
from bcc_lightning.argument_types import built_from
from bcc_lightning.modules.base import CellClassifier

FOUR_BLOCKS = ConvBlocks()


class PlainCNN(CellClassifier):
    """Blocks of convolutions and a head, trained from random weights; see `bcc_lightning.architectures.plain_cnn`.

    Args:
        blocks: what stands before the head.
        head: the head; it pools or flattens.
        input_mean: mean to subtract from pixels in [0, 1].
        input_std: standard deviation to divide by.
        input_order: order of the colours that the network sees.
        **base: see `CellClassifier`; `pretrained` has no effect, for nobody has trained these networks.
    """

    def __init__(
        self,
        blocks: ConvBlocks = FOUR_BLOCKS,
        head: Head = AVERAGE,
        input_mean: Statistic = (0.0, 0.0, 0.0),
        input_std: Statistic = (1.0, 1.0, 1.0),
        input_order: ChannelOrder = "rgb",
        **base: Any,  # noqa: ANN401 - the base class's own arguments
    ) -> None:
        # The hyper-parameters are read from these names and go into checkpoints, which hold plain values only.
        blocks, head = cast(ConvBlocks, block_arguments(blocks)), cast(Head, head_arguments(head))
        super().__init__(**base)

    def build_network(self) -> nn.Module:
        """Build the network for the image size."""
        h = self.hparams
        blocks, head = built_from(ConvBlocks, h["blocks"], "--model.blocks"), as_head(h["head"])
        normalise = InputNormalisation(h["input_mean"], h["input_std"], h["input_order"])
        name = type(self).__name__
        return PlainNet(name, self.image_size, len(self.class_names), blocks, head, normalise, h["precision"])

    def cam_targets(self) -> list[CamTarget]:
        """One map."""
        return [cast(PlainNet, self.network).cam_target("CNN")]

    def backbone_blocks(self) -> list[nn.Module]:
        """List the blocks, from input to output."""
        return list(cast(PlainNet, self.network).blocks)


def block_arguments(blocks: ConvBlocks | dict[str, Any]) -> dict[str, Any]:
    """Write blocks as a plain dict."""
    return asdict(blocks) if isinstance(blocks, ConvBlocks) else blocks
