"""Any timm backbone as an experiment."""

from typing import Any, cast

from torch import Tensor, nn

from bcc_lightning.architectures.backbone import Backbone
from bcc_lightning.architectures.cam_target import CamTarget
from bcc_lightning.architectures.pretrained import load_backbone_weights
from bcc_lightning.architectures.transfer import TransferNet
from bcc_lightning.modules.base import CellClassifier


class TransferClassifier(CellClassifier):
    """One timm backbone, fine-tuned as a whole.

    Args:
        backbone: timm's name.
        **base: see `CellClassifier`.
    """

    def __init__(
        self,
        backbone: str = "efficientnet_b0",
        **base: Any,  # noqa: ANN401 - the base class's own arguments
    ) -> None:
        super().__init__(**base)

    def build_network(self) -> nn.Module:
        """Build the backbone for the image size."""
        h = self.hparams
        backbone = Backbone(h["backbone"], self.image_size, self.from_hub, precision=h["precision"])
        return TransferNet(backbone, len(self.class_names))

    def load_backbone(self, state: dict[str, Tensor], file: str) -> None:
        """Load timm's weights of the backbone; the head stays random."""
        load_backbone_weights(cast(TransferNet, self.network).backbone.network, state, file)

    def cam_targets(self) -> list[CamTarget]:
        """One map."""
        name = str(self.hparams["backbone"]).split("_")[0]
        return [cast(TransferNet, self.network).backbone.cam_target(name)]
