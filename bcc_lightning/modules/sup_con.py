"""Supervised contrastive pre-training and a classifier on the frozen encoder, in one run."""

from typing import Any, cast

import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor, nn

from bcc_lightning.architectures.blocks import freeze
from bcc_lightning.architectures.head import Head, as_head, head_arguments
from bcc_lightning.architectures.transfer import SupConNet
from bcc_lightning.argument_types import check_types
from bcc_lightning.datasets.batches import CellBatch
from bcc_lightning.errors import UserError
from bcc_lightning.modules.losses import supervised_contrastive_loss
from bcc_lightning.modules.transfer_classifier import TransferClassifier
from bcc_lightning.transforms.square import random_turn

CLASSIFIER = Head(input_dropout=0.5, hidden=[512], dropout=0.5)


class SupConClassifier(TransferClassifier):
    """Supervised contrastive learning (Khosla et al. 2020, arXiv 2004.11362).

    In the first epochs encoder and projection learn to bring cells of a class together; then both are frozen and the
    classifier is trained. One optimiser serves both, since what has no gradient is not moved.

    The two views of a cell are two of its eight positions, drawn on the device from the one augmented image of the loader. Two
    draws of the whole pipeline would double the loader's work, which costs most on a CPU; turns cost nothing, lose nothing, and
    the other cells of its class are views of every other kind.

    Args:
        contrastive_epochs: epochs of pre-training, below ``--trainer.max_epochs``.
        projection: units of the projection.
        temperature: of the loss, above 0.
        head: the classifier.
        **transfer: see `TransferClassifier` and `CellClassifier`.
    """

    def __init__(
        self,
        contrastive_epochs: int = 20,
        projection: int = 128,
        temperature: float = 0.05,
        head: Head = CLASSIFIER,
        **transfer: Any,  # noqa: ANN401 - the base classes' own arguments
    ) -> None:
        check_types("model", SupConClassifier, locals())
        if contrastive_epochs < 0 or projection < 1 or temperature <= 0:
            raise UserError(
                f"--model.contrastive_epochs {contrastive_epochs} must be 0 or more, --model.projection {projection} 1 or more, "
                f"--model.temperature {temperature} above 0"
            )
        head = cast(Head, head_arguments(head))  # checkpoints hold plain values only
        super().__init__(head=head, **transfer)

    @property
    def is_contrastive(self) -> bool:
        """Whether this epoch belongs to the pre-training."""
        return bool(self.current_epoch < self.hparams["contrastive_epochs"])

    def build_network(self) -> nn.Module:
        """Build encoder, projection and classifier for the image size."""
        h = self.hparams
        head = as_head(h["head"])
        if head.pooling != "backbone":
            raise UserError(f"--model.head.pooling is {head.pooling}; contrastive learning takes pooled features, use backbone")
        return SupConNet(self._backbone(pooled=True), len(self.class_names), head, h["projection"])

    def on_fit_start(self) -> None:
        """Refuse a training that ends within the pre-training, while the classifier is still random.

        Raises:
            UserError: by its number of epochs, or by early stopping.
        """
        epochs, last = self.hparams["contrastive_epochs"], self.trainer.max_epochs
        if last is not None and 0 < last <= epochs:
            raise UserError(
                f"--trainer.max_epochs {last} leaves the classifier no epoch after --model.contrastive_epochs {epochs}; raise it"
            )
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, EarlyStopping) and callback.patience <= epochs:
                raise UserError(
                    f"--selection.patience {callback.patience} would stop within the {epochs} epochs of pre-training, in which "
                    "validation says nothing; use --selection.patience null"
                )

    def on_train_batch_start(self, batch: CellBatch, batch_idx: int) -> None:
        """Freeze encoder and projection after the pre-training; after resuming, an epoch begins with this hook only."""
        if batch_idx == 0 and not self.is_contrastive:
            network = cast(SupConNet, self.network)
            freeze(network.backbone)
            freeze(network.projection)
            self.train()

    def training_loss(self, batch: CellBatch) -> tuple[Tensor, Tensor]:
        """Compute the contrastive loss, later the classifier's; until then the logits are those of a random classifier."""
        if not self.is_contrastive:
            return super().training_loss(batch)
        if batch.target is not None:
            raise UserError("contrastive learning takes cells of one class each; use --data.mixing none")
        network = cast(SupConNet, self.network)
        pixels = self.prepare(batch.image)
        features = network.backbone(torch.cat([random_turn(pixels), random_turn(pixels)]))
        losses = supervised_contrastive_loss(network.project(features), batch.label.repeat(2), self.hparams["temperature"])
        weight = batch.weight.repeat(2)
        with torch.no_grad():
            logits = network.head(features[: len(batch.label)])
        return logits, (losses * weight).sum() / weight.sum()
