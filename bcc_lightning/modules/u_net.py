"""U-Net as an experiment."""

from typing import Any, cast

from torch import nn

from bcc_lightning.architectures.cam_target import CamTarget
from bcc_lightning.architectures.head import AVERAGE, Head, as_head, head_arguments
from bcc_lightning.architectures.image_input import InputNormalisation, Statistic
from bcc_lightning.architectures.u_net import UNet
from bcc_lightning.modules.base import CellClassifier


class UNetClassifier(CellClassifier):
    """A whole U-Net used for classification, from random weights; see `bcc_lightning.architectures.u_net`.

    Args:
        channels: channels of each level, from the input's size to the smallest map; by default 64, 128, 256, 512.
        head: the head; it pools.
        input_mean: mean to subtract from pixels in [0, 1].
        input_std: standard deviation to divide by.
        **base: see `CellClassifier`; `pretrained` has no effect.
    """

    def __init__(
        self,
        channels: list[int] | None = None,
        head: Head = AVERAGE,
        input_mean: Statistic = (0.0, 0.0, 0.0),
        input_std: Statistic = (1.0, 1.0, 1.0),
        **base: Any,  # noqa: ANN401 - the base class's own arguments
    ) -> None:
        head = cast(Head, head_arguments(head))  # checkpoints hold plain values only
        super().__init__(**base)

    def build_network(self) -> nn.Module:
        """Build the network for the image size."""
        h = self.hparams
        channels = h["channels"] or [64, 128, 256, 512]
        normalise = InputNormalisation(h["input_mean"], h["input_std"])
        return UNet(self.image_size, len(self.class_names), channels, as_head(h["head"]), normalise, h["precision"])

    def cam_targets(self) -> list[CamTarget]:
        """One map."""
        return [cast(UNet, self.network).cam_target("U-Net")]

    def backbone_blocks(self) -> list[nn.Module]:
        """List the levels, down the encoder and up the decoder."""
        network = cast(UNet, self.network)
        upwards = (nn.ModuleList(pair) for pair in zip(network.up, network.decoder, strict=True))
        return [*network.encoder, *upwards]
