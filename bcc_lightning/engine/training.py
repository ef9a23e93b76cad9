"""A training: epochs until validation says stop, then the chosen weights are evaluated."""

from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import torch
from lightning import Trainer

from bcc_lightning.callbacks.checkpoints import keep_test_time, selection_callbacks
from bcc_lightning.callbacks.epochs import EpochSeeding
from bcc_lightning.callbacks.stages import StagedFineTuning
from bcc_lightning.cli.experiment import ExperimentCLI
from bcc_lightning.datasets.batches import CellBatch
from bcc_lightning.engine.recorder import Recorder
from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.metrics import Predictions
from bcc_lightning.modules.checkpoint import load_classifier
from bcc_lightning.modules.tuning import merge, merge_checkpoint
from bcc_lightning.tuning.channel import TrialChannel
from bcc_lightning.tuning.trial import TrialReport


class Learner(Protocol):
    """Finds weights, and evaluates them."""

    trainer: Trainer

    def train(self) -> None:
        """Find the weights that are evaluated."""

    def test(self, name: str) -> Predictions:
        """Evaluate the weights on a set: ``test``, ``validation`` or a further test set."""


class Training:
    """Trains a network, and evaluates the weights that validation chose.

    Args:
        experiment: the configured experiment.
        recorder: where it is recorded.
        trial: channel to the search whose trial this is.
    """

    def __init__(self, experiment: ExperimentCLI, recorder: Recorder, trial: TrialChannel | None = None) -> None:
        self.experiment = experiment
        self.recorder = recorder
        self.trial = trial
        folder, selection = recorder.folder, experiment.selection
        reports = [TrialReport(trial)] if trial and trial.greeting.by_epoch else []
        callbacks = [
            EpochSeeding(experiment.config["seed_everything"]),
            *experiment.training_callbacks(),
            *selection_callbacks(folder, **asdict(selection)),
            *recorder.callbacks(),
            *reports,
        ]
        self.trainer = experiment.build_trainer(callbacks, recorder.logger)
        self.chosen: str | None = None

    def train(self) -> None:
        """Train from the beginning, or from the state after the last finished epoch.

        Raises:
            UserError: no epoch was finished.
            Pruned: the search has seen enough.
        """
        experiment, trainer, resumed = self.experiment, self.trainer, self.experiment.resumed
        last = resumed.last_checkpoint if resumed and resumed.last_checkpoint.is_file() else None
        if last:  # its epoch has ended; with a limit of steps Lightning would repeat it, without a single batch
            trainer.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]
        trainer.fit(experiment.model, experiment.datamodule, ckpt_path=last, weights_only=True)
        if self.trial:
            self.trial.raise_if_pruned()
        self.chosen = getattr(trainer.checkpoint_callback, "best_model_path", "")
        if not self.chosen:
            raise UserError(
                "no epoch was finished, so there are no weights to test; raise --trainer.max_epochs or --trainer.max_time"
            )
        if merge(experiment.model.network) and self.recorder.folder:
            merge_checkpoint(Path(self.chosen), load_classifier(self.chosen).state_dict())
        trainer.strategy.barrier("merged")
        if self.recorder.folder and resumed:
            keep_test_time(Path(self.chosen), experiment.model)

    def test(self, name: str) -> Predictions:
        """Evaluate the chosen weights on a set; they are loaded before the first."""
        model, loader = self.experiment.model, self.experiment.datamodule.evaluation_loader(name)
        self.trainer.test(model, loader, ckpt_path=self.chosen, verbose=False, weights_only=True)
        self.chosen = None
        return model.test_predictions[name]


def refuse_idle_training(experiment: ExperimentCLI) -> None:
    """Refuse a training that leaves no weights, or none that are tested, and one on single images if that cannot work.

    Raises:
        UserError: with the flag to change.
    """
    if experiment.model.learns:
        experiment.refuse_idle_training()
        if experiment.datamodule.has_batches_of_one:
            refuse_single_images(experiment)


def refuse_single_images(experiment: ExperimentCLI) -> None:
    """Try a training step on one image: batch normalisation over a map of one pixel needs two.

    The step is taken by a copy, so that neither weights nor random numbers of the training change.

    Raises:
        UserError: the network cannot be trained on single images.
    """
    module, data = deepcopy(experiment.model), experiment.datamodule
    image = torch.zeros(1, 3, data.image_size, data.image_size, dtype=torch.uint8)
    one = torch.zeros(1, dtype=torch.int64)
    batch = CellBatch(image, label=one, weight=torch.ones(1), position=one)
    stages = StagedFineTuning(experiment.stages, experiment.selection.monitor, experiment.selection.mode)
    for number in range(max(1, len(experiment.stages))):
        module.train()
        if experiment.stages:
            stages.number = number
            stages.enter(module)
        try:
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                module.training_loss(batch)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise UserError(
                f"--data.batch_size {data.batch_size} with {len(data.training_cells)} training cells trains on single images, "
                f"which the batch normalisation of {type(module).__name__} cannot do at {data.image_size} pixels. Next step: "
                "--data.batch_size 2 or more, with two or more training cells, or a larger --data.image_size"
            ) from error
