"""Finding out before a run is opened whether anything would be trained, chosen and tested."""

from copy import deepcopy

import torch

from bcc_lightning.callbacks.stages import StagedFineTuning
from bcc_lightning.cli.experiment import ExperimentCLI
from bcc_lightning.datasets.batches import CellBatch
from bcc_lightning.errors import UserError
from bcc_lightning.modules.ensemble import Ensemble

NOTHING = {
    "max_epochs": "no epoch is finished",
    "max_steps": "no epoch is finished",
    "limit_train_batches": "no epoch is finished",
    "limit_val_batches": "no epoch can be chosen by validation; --selection.keep last and patience null do without",
    "limit_test_batches": "the chosen weights are not tested",
}
"""What is missing at the end of a training where an argument of the trainer is 0."""


def refuse_idle_training(cli: ExperimentCLI) -> None:
    """Refuse a training that leaves no weights, or none that are tested, and one on single images where that cannot work.

    Raises:
        UserError: with the flag to change.
    """
    if isinstance(cli.model, Ensemble):
        return
    trainer, selection = cli.config["trainer"], cli.selection
    needs_validation = selection.keep == "best" or selection.patience is not None or bool(cli.stages)
    for name, consequence in NOTHING.items():
        if trainer[name] == 0 and (name != "limit_val_batches" or needs_validation):
            raise UserError(f"with --trainer.{name} {trainer[name]} {consequence}; raise it")
    if trainer["fast_dev_run"]:
        raise UserError(
            "--trainer.fast_dev_run keeps no weights that could be tested; for a short trial of everything use "
            "--trainer.max_epochs 1 --trainer.limit_train_batches 1"
        )
    if cli.datamodule.has_batches_of_one:
        refuse_single_images(cli)


def refuse_single_images(cli: ExperimentCLI) -> None:
    """Try a training step on one image: batch normalisation over a map of one pixel needs two.

    The step is taken by a copy, so that neither weights nor random numbers of the training change.

    Raises:
        UserError: the network cannot be trained on single images.
    """
    module, data = deepcopy(cli.model), cli.datamodule
    image = torch.zeros(1, 3, data.image_size, data.image_size, dtype=torch.uint8)
    one = torch.zeros(1, dtype=torch.int64)
    batch = CellBatch(image, label=one, weight=torch.ones(1), position=one)
    stages = StagedFineTuning(cli.stages, cli.selection.monitor, cli.selection.mode)
    for number in range(max(1, len(cli.stages))):
        module.train()
        if cli.stages:
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
