"""EfficientSwin as an experiment."""

from typing import Any, cast

from torch import nn

from bcc_lightning.architectures.backbone import Backbone
from bcc_lightning.architectures.cam_target import CamTarget
from bcc_lightning.architectures.efficient_swin import EfficientSwinNet
from bcc_lightning.modules.base import CellClassifier


class EfficientSwin(CellClassifier):
    """Swin transformer and EfficientNet side by side; see `bcc_lightning.architectures.efficient_swin`.

    Args:
        swin: timm's name of the transformer.
        cnn: timm's name of the convolutional network.
        swin_pretrained: whether the transformer starts from published weights where `pretrained` is true.
        swin_weights: what the transformer starts from: a timm file, or ``best.ckpt`` of a `TransferClassifier`.
        cnn_weights: likewise of the convolutional network.
        input_mean: mean to subtract in both branches instead of each backbone's own, in [0, 1].
        input_std: standard deviation to divide by, likewise.
        **base: see `CellClassifier`.
    """

    def __init__(
        self,
        swin: str = "swin_tiny_patch4_window7_224",
        cnn: str = "efficientnet_b0",
        swin_pretrained: bool = True,
        swin_weights: str | None = None,
        cnn_weights: str | None = None,
        input_mean: tuple[float, float, float] | None = None,
        input_std: tuple[float, float, float] | None = None,
        **base: Any,  # noqa: ANN401 - the base class's own arguments
    ) -> None:
        super().__init__(**base)

    def build_network(self) -> nn.Module:
        """Build both branches for the image size."""
        return EfficientSwinNet(self._branch("swin"), self._branch("cnn"), len(self.class_names))

    def _branch(self, branch: str) -> Backbone:
        h = self.hparams
        return Backbone(
            h[branch],
            self.image_size,
            self.from_hub and (branch == "cnn" or h["swin_pretrained"]),
            weights=h[f"{branch}_weights"],
            mean=h["input_mean"],
            std=h["input_std"],
            precision=h["precision"],
        )

    def cam_targets(self) -> list[CamTarget]:
        """One map per branch."""
        network = cast(EfficientSwinNet, self.network)
        return [network.swin.cam_target("Swin"), network.cnn.cam_target("EfficientNet")]
