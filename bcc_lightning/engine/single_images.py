"""Batch normalisation on single images: found out before a run is opened."""

from copy import deepcopy

import torch

from bcc_lightning.callbacks.stages import StagedFineTuning
from bcc_lightning.cli.experiment import ExperimentCLI
from bcc_lightning.datasets.batches import CellBatch
from bcc_lightning.errors import UserError


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
