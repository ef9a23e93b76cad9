"""Any timm backbone as an experiment."""

from typing import Any, Literal, Self, cast

from torch import Tensor, nn

from bcc_lightning.architectures.backbone import Backbone
from bcc_lightning.architectures.blocks import freeze, hold_statistics
from bcc_lightning.architectures.cam_target import CamTarget
from bcc_lightning.architectures.head import LINEAR, Head, as_head, head_arguments
from bcc_lightning.architectures.image_input import ChannelOrder, Statistic
from bcc_lightning.architectures.normalisation import Norm, change_norm
from bcc_lightning.architectures.pretrained import load_backbone_weights
from bcc_lightning.architectures.stain_normalisation import StainName
from bcc_lightning.architectures.transfer import TransferNet
from bcc_lightning.errors import UserError
from bcc_lightning.modules.base import CellClassifier


class TransferClassifier(CellClassifier):
    """One timm backbone with a head, fine-tuned as a whole or below a frozen backbone.

    Args:
        backbone: timm's name.
        variant: arguments of timm's network that make it another one, e.g. ``{channels: [32, 64, 128, 256]}`` for a narrow
            ResNet.
        head: what stands between backbone and logits.
        frozen: ``backbone`` trains the head only, from the start on.
        frozen_batch_norm: keep the running statistics of frozen layers where they are; false lets them follow the batches.
        norm: ``frozen`` keeps the backbone's batch statistics where the pretraining left them; ``group`` replaces them by group
            normalisation, so that an image is normalised by itself alone; ``own`` leaves both to the training.
        small_stem: for ResNets on images of 28 to 64 pixels, see `bcc_lightning.architectures.backbone`.
        input_mean: mean to subtract instead of the backbone's own, on the scale of pixels in [0, 1].
        input_std: standard deviation to divide by, likewise.
        input_order: order of the colours that the backbone sees.
        stain: ``reinhard`` or ``macenko`` first bring the colours of each image to those of a reference smear, in training as in
            use; see `bcc_lightning.architectures.stain_normalisation`.
        **base: see `CellClassifier`.
    """

    def __init__(
        self,
        backbone: str = "efficientnet_b0",
        variant: dict[str, Any] | None = None,
        head: Head = LINEAR,
        frozen: Literal["none", "backbone"] = "none",
        frozen_batch_norm: bool = True,
        norm: Norm = "own",
        small_stem: bool = False,
        input_mean: Statistic | None = None,
        input_std: Statistic | None = None,
        input_order: ChannelOrder = "rgb",
        stain: StainName = "as_is",
        **base: Any,  # noqa: ANN401 - the base class's own arguments
    ) -> None:
        head = cast(Head, head_arguments(head))  # checkpoints hold plain values only
        super().__init__(**base)
        if frozen == "backbone" and self.tuning.tuning != "full":
            raise UserError(f"--model.frozen backbone and --model.tuning {self.tuning.tuning} exclude one another; leave one out")
        if frozen == "backbone":
            freeze(cast(TransferNet, self.network).backbone)
        self.train()

    def build_network(self) -> nn.Module:
        """Build backbone and head for the image size."""
        head = as_head(self.hparams["head"])
        backbone = self._backbone(pooled=head.pooling == "backbone")
        change_norm(backbone.network, self.hparams["norm"], self.hparams["backbone"])
        return TransferNet(backbone, len(self.class_names), head)

    def train(self, mode: bool = True) -> Self:
        """Set the training mode; batch statistics that are to stay where they are stay there."""
        super().train(mode)
        if mode and self.hparams.get("norm") == "frozen":
            hold_statistics(cast(TransferNet, self.network).backbone, trained=True)
        return self

    def load_backbone(self, state: dict[str, Tensor], file: str) -> None:
        """Load timm's weights of the backbone; the head stays random."""
        load_backbone_weights(cast(TransferNet, self.network).backbone.network, state, file)

    def cam_targets(self) -> list[CamTarget]:
        """One map."""
        name = str(self.hparams["backbone"]).split("_")[0]
        return [cast(TransferNet, self.network).backbone.cam_target(name)]

    def _backbone(self, pooled: bool) -> Backbone:
        h = self.hparams
        return Backbone(
            h["backbone"],
            self.image_size,
            self.from_hub,
            mean=h["input_mean"],
            std=h["input_std"],
            precision=h["precision"],
            order=h["input_order"],
            stain=h["stain"],
            pooled=pooled,
            small_stem=h["small_stem"],
            **(h["variant"] or {}),
        )
