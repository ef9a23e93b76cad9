"""The hybrid of Inception-v3 and Xception as an experiment."""

from typing import Any, Literal, cast

from torch import nn

from bcc_lightning.architectures.backbone import Backbone
from bcc_lightning.architectures.blocks import freeze
from bcc_lightning.architectures.cam_target import CamTarget
from bcc_lightning.architectures.head import Head, as_head, head_arguments
from bcc_lightning.architectures.image_input import ChannelOrder, Statistic
from bcc_lightning.architectures.inception_xception import InceptionXceptionNet, load_branch
from bcc_lightning.architectures.pretrained import read_state_dict
from bcc_lightning.architectures.transfer import TransferNet
from bcc_lightning.modules.base import CellClassifier

BRANCH = Head(pooling="avg", hidden=[1024], dropout=0.5)
JOINT = Head(hidden=[512], dropout=0.5)


class InceptionXception(CellClassifier):
    """Two branches side by side; see `bcc_lightning.architectures.inception_xception`.

    Args:
        inception: timm's name of the first branch.
        xception: timm's name of the second branch.
        inception_weights: what the first branch starts from: ``best.ckpt`` of a `TransferClassifier` with the branch's head, or
            a timm file.
        xception_weights: likewise of the second branch.
        branch_head: head of each branch, of which the last layer is left out.
        head: head of the joined features.
        frozen: ``branches`` trains the joint head only.
        frozen_batch_norm: keep the running statistics of frozen layers where they are.
        input_mean: mean to subtract in both branches instead of each backbone's own, in [0, 1].
        input_std: standard deviation to divide by, likewise.
        input_order: order of the colours that both branches see.
        **base: see `CellClassifier`.
    """

    def __init__(
        self,
        inception: str = "inception_v3",
        xception: str = "legacy_xception",
        inception_weights: str | None = None,
        xception_weights: str | None = None,
        branch_head: Head = BRANCH,
        head: Head = JOINT,
        frozen: Literal["none", "branches"] = "none",
        frozen_batch_norm: bool = True,
        input_mean: Statistic | None = None,
        input_std: Statistic | None = None,
        input_order: ChannelOrder = "rgb",
        **base: Any,  # noqa: ANN401 - the base class's own arguments
    ) -> None:
        # Checkpoints hold plain values only.
        branch_head, head = cast(Head, head_arguments(branch_head)), cast(Head, head_arguments(head))
        super().__init__(**base)
        if frozen == "branches":
            network = cast(InceptionXceptionNet, self.network)
            freeze(network.inception)
            freeze(network.xception)
        self.train()

    def build_network(self) -> nn.Module:
        """Build both branches for the image size."""
        head = as_head(self.hparams["head"])
        return InceptionXceptionNet(self._branch("inception"), self._branch("xception"), head, len(self.class_names))

    def cam_targets(self) -> list[CamTarget]:
        """One map per branch."""
        network = cast(InceptionXceptionNet, self.network)
        return [network.inception.backbone.cam_target("Inception"), network.xception.backbone.cam_target("Xception")]

    def _branch(self, name: str) -> TransferNet:
        h = self.hparams
        weights = h[f"{name}_weights"]
        head = as_head(h["branch_head"])
        backbone = Backbone(
            h[name],
            self.image_size,
            self.from_hub and weights is None,
            mean=h["input_mean"],
            std=h["input_std"],
            precision=h["precision"],
            order=h["input_order"],
            pooled=head.pooling == "backbone",
        )
        branch = TransferNet(backbone, num_classes=0, head=head)
        if weights is not None:
            load_branch(branch, read_state_dict(weights), weights)
        return branch
