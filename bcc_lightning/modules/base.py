"""The LightningModule that all architectures share: steps, metrics, loss, optimiser."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, Self, cast

import torch
from lightning import LightningModule
from lightning.pytorch.plugins.precision import MixedPrecision
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from bcc_lightning.architectures.acceleration import Precision
from bcc_lightning.architectures.backbone import Backbone
from bcc_lightning.architectures.blocks import hold_statistics, network_blocks
from bcc_lightning.architectures.cam_target import CamTarget
from bcc_lightning.architectures.image_input import scale_and_resize
from bcc_lightning.architectures.pretrained import Origin, load_strictly, read_state_dict
from bcc_lightning.argument_types import Range, check_ranges, check_types, chosen
from bcc_lightning.datasets.batches import CellBatch
from bcc_lightning.errors import NonFiniteLossError, UserError
from bcc_lightning.evaluation.hierarchy import hierarchy_metrics, nodes_of
from bcc_lightning.evaluation.metrics import TEST, PredictionGatherer, Predictions, final_metrics, metrics_of, validation_metrics
from bcc_lightning.modules.assumed_shares import (
    ClassShares,
    Shares,
    assume_blood,
    assumed_by,
    correct_answers,
    log_odds,
    refuse_unknown,
)
from bcc_lightning.modules.losses import consistency_loss, level_loss, weighted_loss
from bcc_lightning.modules.optimization import Recipe, make_optimizer, parameter_groups, parameters_outside
from bcc_lightning.modules.recipe import (
    AverageName,
    Averaging,
    Loss,
    LossName,
    Mode,
    Optimisation,
    OptimizerName,
    Schedule,
    ScheduleName,
)
from bcc_lightning.modules.schedules import Length, configure_schedule
from bcc_lightning.modules.test_time_augmentation import TestTime, describe_views, mean_log_probability
from bcc_lightning.modules.tuning import Tuning, apply_tuning

FROM_DATA: dict[str, Range] = {
    "class_names": ("two names or more, each once", lambda x: len(set(x)) == len(x) > 1),
    "image_size": ("1 or more", lambda x: x >= 1),
}

CLASS_PATH = "module_class"
"""Key of a checkpoint that names the module's class."""


class CellsToLearn(Protocol):
    """What a module takes from a data set."""

    @property
    def class_names(self) -> Sequence[str]:
        """Names of the C classes, in label order."""

    @property
    def image_size(self) -> int:
        """Side in pixels that the network sees."""


class CellClassifier(LightningModule):
    """Base of all modules.

    An architecture fills in `build_network` and `cam_targets`; its own arguments are in ``self.hparams``.

    Args:
        class_names: names of the C classes, in label order; follow the data.
        image_size: side in pixels that the network sees; follows the data.
        pretrained: start from timm's weights, from the cache or the hub.
        weights: start from the weights in this file instead: a checkpoint of the same experiment, or a timm file where the
            architecture is a single backbone.
        lr: learning rate.
        optimizer: name of the optimiser.
        momentum: of ``sgd`` and ``rmsprop``, in [0, 1).
        weight_decay: weight decay.
        layer_decay: factor of the learning rate from a block of the backbone to the one before it, in (0, 1].
        schedule: name of the learning-rate schedule.
        warmup_epochs: epochs over which the learning rate rises to `lr`.
        milestones: epochs before which ``step`` lowers the learning rate.
        lr_factor: what ``step`` and ``plateau`` multiply the learning rate by, in (0, 1).
        plateau_patience: epochs without a better value of the monitored metric before ``plateau`` lowers it.
        average: weights that are validated and kept: those of the last step, their exponential moving average (``ema``), or
            the mean of epochs' ends (``swa``).
        ema_decay: how slowly ``ema`` forgets, in [0, 1).
        swa_start: share of the epochs after which ``swa`` begins, in [0, 1).
        test_time: views over which the probabilities of a test cell are averaged. Validation looks once, so that choosing an
            epoch stays cheap.
        label_smoothing: share of the target spread over all classes, in [0, 1).
        loss: ``focal`` makes confidently classified cells count less, which favours rare and difficult ones.
        focal_gamma: how much less.
        consistency: weight of the difference between the answers for two views of a cell, see `Loss`.
        tuning: which weights are trained: ``full``, ``head``, ``last:N``, ``bitfit`` or ``lora``, see
            `bcc_lightning.modules.tuning.Tuning`.
        lora_rank: rank of what ``lora`` adds to each attention layer.
        lora_alpha: what is added is multiplied by alpha / rank.
        class_shares: how frequent the network assumes the classes to be in what it classifies: as in its training cells, or as
            in the ``blood`` of healthy adults.
        levels: levels above the classes where these stand in a tree, from the lowest: its name, and the node of each class; they
            follow the data. The loss is then the mean over the classes and all levels.
        precision: ``auto`` runs each branch in bfloat16 where that is faster.
    """

    network: nn.Module

    learns = True
    """Whether `fit` trains it; an ensemble only weighs members that are trained already."""

    def __init__(
        self,
        class_names: list[str],
        image_size: int,
        pretrained: bool = True,
        weights: str | None = None,
        lr: float = 1e-3,
        optimizer: OptimizerName = "adam",
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        layer_decay: float = 1.0,
        schedule: ScheduleName = "constant",
        warmup_epochs: float = 0.0,
        milestones: list[int] | None = None,
        lr_factor: float = 0.1,
        plateau_patience: int = 3,
        average: AverageName = "none",
        ema_decay: float = 0.999,
        swa_start: float = 0.75,
        test_time: TestTime = "none",
        label_smoothing: float = 0.0,
        loss: LossName = "cross_entropy",
        focal_gamma: float = 2.0,
        consistency: float = 0.0,
        tuning: str = "full",
        lora_rank: int = 8,
        lora_alpha: float = 16.0,
        class_shares: ClassShares = "training",
        levels: dict[str, list[str]] | None = None,
        precision: Precision = "auto",
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_types("model", type(self), self.hparams)
        check_ranges("model", self.hparams, FROM_DATA)
        self.optimisation, self.schedule = chosen(Optimisation, self.hparams), chosen(Schedule, self.hparams)
        self.averaging, self.criterion = chosen(Averaging, self.hparams), chosen(Loss, self.hparams)
        self.tuning = chosen(Tuning, self.hparams)
        if len(class_names) <= 1:
            raise UserError(f"a classifier needs two classes or more; the data have {', '.join(class_names) or 'none'}")
        if class_shares == "blood":
            refuse_unknown(class_names, "--model.class_shares blood", "use --model.class_shares training")
        self.class_names = list(class_names)
        self.image_size = image_size
        self.levels = levels or {}
        self.nodes = [torch.from_numpy(nodes_of(level)[1]) for level in self.levels.values()]  # (C,) node of each class, by level
        self.recipe = Recipe(lr, weight_decay)  # staged fine-tuning replaces it
        self.monitor = "val/accuracy"  # what ``plateau`` looks at
        self.monitor_mode: Mode = "max"
        self.kept_weights: Callable[[], dict[str, Tensor]] | None = None  # averages, for a checkpoint instead of the last ones
        self.network = self.build_network()
        if weights is not None:
            self._load_weights(weights)
        if self.tuning.tuning != "full":
            apply_tuning(self.network, self.backbone_blocks(), self.tuning)
        num_classes = len(class_names)
        if class_shares == "blood":
            correct_answers(self.network, self.class_names)
        # By default MeanMetric leaves out what is not a number, and with it the sign that training has failed.
        self.train_loss, self.val_loss, self.test_loss = (MeanMetric(nan_strategy="disable") for _ in range(3))
        self.train_accuracy = MulticlassAccuracy(num_classes, average="micro")
        self.gatherer = PredictionGatherer()
        self.test_predictions: dict[str, Predictions] = {}  # by name of the evaluated set
        self.unjudged: frozenset[str] = frozenset()  # sets whose answers are kept, while no figure is logged of them

    @classmethod
    def for_data(cls, data: CellsToLearn, **arguments: Any) -> Self:  # noqa: ANN401 - the class's own arguments
        """Build a module for a data set, which gives class names and image size.

        Args:
            data: a data module, such as ``BloodMNIST()``.
            **arguments: all other arguments of the module.
        """
        levels = getattr(data, "levels", None)
        own = {"class_names": list(data.class_names), "image_size": data.image_size, **({"levels": levels} if levels else {})}
        return cls(**{**own, **arguments})

    @property
    def from_hub(self) -> bool:
        """Whether backbones take timm's weights: not where a file replaces them."""
        return bool(self.hparams["pretrained"]) and self.hparams["weights"] is None

    def weight_origins(self) -> dict[str, str]:
        """Return the origin of the initial weights, with the SHA-256 of the file that they are from.

        Returns:
            Origin by backbone, such as ``cnn``, or of the whole ``network``; ``random`` where they are from nowhere.
        """
        if file := self.hparams["weights"]:
            return {"network": str(Origin(Path(file).name, str(file)))}
        backbones = {name: module for name, module in self.network.named_modules() if isinstance(module, Backbone)}
        return {name: str(module.origin or "random") for name, module in backbones.items()} or {"network": "random"}

    def build_network(self) -> nn.Module:
        """Build the network: images (B, 3, S, S) float32 in [0, 1] to logits (B, C)."""
        raise NotImplementedError

    def cam_targets(self) -> list[CamTarget]:
        """Declare the layers that class activation maps read, one per branch."""
        raise NotImplementedError

    def backbone_blocks(self) -> list[nn.Module]:
        """List the backbone's blocks from input to output; ``last:N`` of a stage and `layer_decay` count them."""
        return network_blocks(self.network)

    def head_parameters(self) -> list[nn.Parameter]:
        """List the parameters that are in no block of the backbone."""
        return parameters_outside(self.network, self.backbone_blocks())

    def train(self, mode: bool = True) -> Self:
        """Set the training mode; the batch-norm statistics of frozen layers stay put."""
        super().train(mode)
        if mode and self.hparams.get("frozen_batch_norm", True):
            hold_statistics(self.network)
        return self

    def load_backbone(self, state: dict[str, Tensor], file: str) -> None:
        """Load a weights file that is no checkpoint of this project; a module with one backbone takes timm's files."""
        load_strictly(self.network, state, file)

    def prepare(self, images: Tensor) -> Tensor:
        """Resize images to what the network takes, and scale them to [0, 1].

        Args:
            images: (B, 3, H, W) uint8 in 0 to 255.

        Returns:
            (B, 3, S, S) float32 in [0, 1].

        Raises:
            TypeError: the images are not uint8.
            ValueError: they do not have this shape.
        """
        return scale_and_resize(images, self.image_size)

    def forward(self, images: Tensor) -> Tensor:
        """Classify images: (B, 3, H, W) uint8 to logits (B, C) float32; raises as `prepare`."""
        return cast(Tensor, self.network(self.prepare(images)))

    def forward_views(self, images: Tensor) -> Tensor:
        """Classify images as in the test: (B, 3, H, W) uint8 to (B, C), whose softmax is the mean over all views."""
        if self.test_views is None:
            return cast(Tensor, self(images))
        # The mean over the views is what is known of a cell, and is corrected once.
        odds = log_odds(self.network)
        return mean_log_probability(lambda view: self(view) - odds, images, self.hparams["test_time"]) + odds

    def probabilities(self, images: Tensor) -> Tensor:
        """Classify images as in the test: (B, 3, H, W) uint8 to probabilities (B, C) float32."""
        return self.forward_views(images).softmax(dim=1)

    @property
    def assumed_shares(self) -> Shares | None:
        """Shares of the classes (C,) that answers are corrected for; None where they are those of the training cells."""
        return assumed_by(self.network)

    @property
    def test_views(self) -> str | None:
        """Which views of a test cell are averaged, in words; None where each is looked at once."""
        return None if self.hparams["test_time"] == "none" else describe_views(self.hparams["test_time"])

    def loss(self, logits: Tensor, batch: CellBatch) -> Tensor:
        """Compute cross-entropy or the focal loss, averaged with the weights of the cells, and over the levels of a tree."""
        loss = weighted_loss(logits, batch, self.criterion)
        if not self.nodes:
            return loss
        return torch.stack([loss, *(level_loss(logits, batch, self.criterion, nodes) for nodes in self.nodes)]).mean()

    def training_loss(self, batch: CellBatch) -> tuple[Tensor, Tensor]:
        """Compute logits (B, C) and what is minimised; a module that learns from something else than labels replaces it."""
        logits = self(batch.image)
        loss = self.loss(logits, batch)
        if self.criterion.consistency:
            loss = loss + self.criterion.consistency * consistency_loss(logits, batch.position)
        return logits, loss

    def setup(self, stage: str) -> None:
        """Set the shares of the training cells, where answers are corrected for others."""
        if stage == "fit" and self.hparams["class_shares"] == "blood":
            assume_blood(self.network, self.class_names, getattr(self.trainer, "datamodule", None))

    def training_step(self, batch: CellBatch, batch_idx: int) -> Tensor:
        """Compute the loss of a training batch; metrics are added up on the device and read once an epoch."""
        logits, loss = self.training_loss(batch)
        self.train_loss.update(loss.detach(), len(batch.label))
        self.train_accuracy.update(logits.detach(), batch.label)
        if batch_idx == 0 or (self.global_step + 1) % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._refuse_non_finite(loss.detach())
            self.log("train/loss_step", loss.detach(), prog_bar=True)
        return loss

    def on_train_epoch_end(self) -> None:
        """Log loss and accuracy of the epoch, and the learning rate at its end, the largest where layers differ."""
        loss = self.train_loss.compute()
        self._refuse_non_finite(loss)
        rate = max(group["lr"] for optimizer in self.trainer.optimizers for group in optimizer.param_groups)
        self.log_dict({"train/loss": loss, "train/accuracy": self.train_accuracy.compute(), "train/lr": rate})
        self.train_loss.reset()
        self.train_accuracy.reset()

    def validation_step(self, batch: CellBatch, batch_idx: int) -> None:
        """Predict a validation batch as in training: its cells have the shares of the training cells."""
        self._predict(batch, self(batch.image) - log_odds(self.network), self.val_loss)

    def test_step(self, batch: CellBatch, batch_idx: int) -> None:
        """Predict a test batch, from all views of its cells."""
        self._predict(batch, self.forward_views(batch.image), self.test_loss)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of the validation set."""
        values = validation_metrics(self.gatherer.gather())
        self.log("val/most_frequent", values.pop("val/most_frequent"))
        self.log_dict({"val/loss": self.val_loss.compute(), **values}, prog_bar=True)
        self.val_loss.reset()

    def on_test_epoch_end(self) -> None:
        """Log the metrics of the evaluated set, and keep its predictions for figures; the loader's data set names it."""
        name = getattr(getattr(self.trainer.test_dataloaders, "dataset", None), "name", "") or TEST
        predictions = self.gatherer.gather()
        values = final_metrics(predictions, self.class_names)
        if self.levels:
            values |= hierarchy_metrics(predictions, self.levels)
        self.test_predictions[name] = predictions
        loss = {"test/loss": float(self.test_loss.compute())} if name == TEST else {}
        if name not in self.unjudged:  # without the index, since Lightning refuses some class names with one
            self.log_dict({**loss, **metrics_of(name, values)}, add_dataloader_idx=False)
        self.test_loss.reset()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build optimiser and schedule from the configuration."""
        chosen, recipe = self.optimisation, self.recipe
        blocks = self.backbone_blocks() if chosen.layer_decay < 1 else []
        groups = parameter_groups(self.network, recipe, chosen.layer_decay, blocks)
        # Lightning's mixed precision does not clip the gradients of torch's fused optimisers.
        clips = self.trainer.gradient_clip_val and isinstance(self.trainer.precision_plugin, MixedPrecision)
        optimizer = make_optimizer(groups, chosen.optimizer, recipe, chosen.momentum, fused=not clips)
        if self.schedule.is_constant:
            return optimizer
        length = Length.of(self.trainer, recipe.epochs)
        configured = configure_schedule(optimizer, self.schedule, length, self.monitor, self.monitor_mode)
        return {"optimizer": optimizer, "lr_scheduler": configured}

    def _load_weights(self, file: str) -> None:
        state = read_state_dict(file)
        own = {key.removeprefix("network."): value for key, value in state.items() if key.startswith("network.")}
        if own:
            load_strictly(self.network, own, file)
        else:
            self.load_backbone(state, file)

    def _predict(self, batch: CellBatch, logits: Tensor, mean_loss: MeanMetric) -> None:
        mean_loss.update(self.loss(logits, batch), len(batch.label))
        self.gatherer.update(batch.position, batch.label, logits.softmax(dim=1))

    def _refuse_non_finite(self, loss: Tensor) -> None:
        if torch.isfinite(loss):
            return
        raise NonFiniteLossError(
            f"the training loss became {loss.item()} in epoch {self.current_epoch}, step {self.global_step}; "
            "training has stopped. "
            "Next step: lower --model.lr, or clip gradients with --trainer.gradient_clip_val 1.0"
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store which class to build when the checkpoint is loaded, and averaged weights where they are the ones to keep."""
        checkpoint[CLASS_PATH] = f"{type(self).__module__}.{type(self).__qualname__}"
        if self.kept_weights is not None:
            checkpoint["state_dict"] = self.kept_weights()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint that was trained on other classes."""
        trained_on = checkpoint["hyper_parameters"]["class_names"]
        if list(trained_on) != self.class_names:
            raise UserError(f"the checkpoint knows the classes {trained_on}, this data set has {self.class_names}")
