"""Several trained networks that vote."""

from collections.abc import Mapping
from contextvars import Context
from dataclasses import replace
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from bcc_lightning.architectures.cam_target import CamTarget
from bcc_lightning.architectures.image_input import scale
from bcc_lightning.architectures.soft_voting import TINY, SoftVoting, pool
from bcc_lightning.datasets.classes import class_key
from bcc_lightning.errors import UserError
from bcc_lightning.modules.assumed_shares import Shares
from bcc_lightning.modules.base import CellClassifier
from bcc_lightning.modules.checkpoint import build_classifier, describe_classifier, load_classifier

Weighting = Literal["equal", "fitted"]


class Ensemble(CellClassifier):
    """Soft voting of trained members. Nothing is trained; each member keeps its own image size and normalisation.

    Its checkpoint holds the members whole, so their own files are not needed any more.

    Args:
        members: checkpoint files. On the command line and in experiment files also run ids, names of experiments, which mean
            their newest finished run, and registered models, ``models:/NAME/VERSION``.
        weighting: ``equal``, or ``fitted`` on the validation set.
        **base: see `CellClassifier`.
    """

    learns = False

    def __init__(
        self,
        members: list[str | dict[str, Any]],
        weighting: Weighting = "equal",
        **base: Any,  # noqa: ANN401 - the base class's own arguments
    ) -> None:
        super().__init__(**base)
        if self.hparams["class_shares"] != "training":
            raise UserError("an ensemble takes the class shares of its members; leave --model.class_shares out")
        self.requires_grad_(False)
        self.train(False)

    def build_network(self) -> nn.Module:
        """Load the members from their files, or build them from what a checkpoint of an ensemble says of them.

        Raises:
            UserError: there are none, or one of them knows other classes or is an ensemble itself.
        """
        members = self.hparams["members"]
        if not members:
            raise UserError("--model.members is empty; name runs, checkpoints or experiments")
        # A fresh context, since LightningCLI leaves the ensemble's hyper-parameters in this one, where members would find them.
        modules = [Context().run(member_module, member) for member in members]
        for module in modules:
            self._refuse(module)
        if len({module.assumed_shares is None for module in modules}) > 1:
            raise UserError(
                "some members assume the shares of the classes in blood, others those of their training cells; "
                "name members that were trained with the same --model.class_shares"
            )
        self.hparams["members"] = [describe_classifier(module) for module in modules]
        self.members = modules  # a list is not registered: the networks belong to `SoftVoting`
        return SoftVoting([module.network for module in modules], [module.image_size for module in modules])

    def forward_views(self, images: Tensor) -> Tensor:
        """Classify images as in the test: each member by its own views; (B, C), whose softmax is the mean."""
        return self.probabilities(images).clamp_min(TINY).log()

    def probabilities(self, images: Tensor) -> Tensor:
        """Average what the members answer, each by its own views: (B, 3, H, W) uint8 to (B, C) float32."""
        return pool(torch.stack([member.probabilities(images) for member in self.members]), self.shares)

    def probabilities_at(self, images: Mapping[int, Tensor]) -> Tensor:
        """Average what the members answer for cells at several sizes.

        Args:
            images: side S to the cells at that side, (B, 3, S, S) uint8; each member takes that of its own image size, or the
                largest there is.

        Returns:
            (B, C) float32.
        """
        largest = max(images)
        votes = [member.probabilities(images[min(member.image_size, largest)]) for member in self.members]
        return pool(torch.stack(votes), self.shares)

    @property
    def shares(self) -> Tensor:
        """(M,) float32, weight of each member, sum 1."""
        return cast(SoftVoting, self.network).shares

    @property
    def assumed_shares(self) -> Shares | None:
        """Shares of the classes (C,) that the members assume on average; None where these are those of their training cells."""
        known = [shares for member in self.members if (shares := member.assumed_shares) is not None]
        return np.average(known, axis=0, weights=self.shares.cpu()) if known else None

    def prepare(self, images: Tensor) -> Tensor:
        """Scale images to [0, 1] only: each member brings them to its own size."""
        return scale(images)

    def train(self, mode: bool = True) -> "Ensemble":
        """Stay in evaluation mode: the members are finished."""
        super().train(False)
        return self

    def cam_targets(self) -> list[CamTarget]:
        """The maps of all members, each with the member's number before its name."""
        return [
            replace(target, name=f"{number} {target.name}")
            for number, module in enumerate(self.members, start=1)
            for target in module.cam_targets()
        ]

    def _refuse(self, module: CellClassifier) -> None:
        if isinstance(module, Ensemble):
            raise UserError("a member is an ensemble itself; name its members instead")
        if list(map(class_key, module.class_names)) != list(map(class_key, self.class_names)):
            raise UserError(
                f"a member knows the classes {', '.join(module.class_names)}, the data have {', '.join(self.class_names)}; "
                "all must have the same in the same order"
            )


def member_module(member: str | dict[str, Any]) -> CellClassifier:
    """Load a member from its file, or build it from its description."""
    return build_classifier(member) if isinstance(member, dict) else load_classifier(member)
