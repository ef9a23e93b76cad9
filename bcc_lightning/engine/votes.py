"""What each member of an ensemble answers for each cell, brought into one order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning import Trainer
from torch import Tensor

from bcc_lightning.datamodules import CellDataModule
from bcc_lightning.datasets.cells import CellImages
from bcc_lightning.engine.rebuild import build_data, data_config, refuse_other_data
from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.metrics import Predictions
from bcc_lightning.modules.base import CellClassifier
from bcc_lightning.tracking.trained_networks import TrainedNetwork

FROM_ENSEMBLE = ("root", "cache_dir", "batch_size", "num_workers", "augment", "balance", "mixing", "mixup_alpha", "cutmix_alpha")
"""Arguments of a member's data that its ensemble decides: where and how cells are read, and what concerns training only."""

TESTS = ("seed", "test_on", "class_map")
"""Likewise, also where the ensemble has none."""


@dataclass(frozen=True)
class NamedPredictions:
    """Predictions of some cells with their names.

    Attributes:
        ids: N names, in the order of the predictions.
        predictions: of these cells; their positions are those in the member's own data.
    """

    ids: list[str]
    predictions: Predictions


class Voter:
    """A member of an ensemble, which sees cells at its own image size.

    Args:
        network: where the member comes from.
        module: the member.
        config: configuration of the ensemble.
        data: data of the ensemble; used if the member's are the same.
        trainer: evaluates the member as `fit` does.

    Raises:
        UserError: the files on this machine are not those the member was trained on.
    """

    def __init__(
        self, network: TrainedNetwork, module: CellClassifier, config: dict[str, Any], data: CellDataModule, trainer: Trainer
    ) -> None:
        own = member_data(config, config, module.image_size)
        member = member_data(config, network.config, module.image_size)
        if member != own or data.image_size != module.image_size:
            data = build_data(member)
            refuse_other_data(network, data)
        data.trainer = trainer  # tells the loader which share of the cells is this process's
        self.module = module
        self.data = data
        self.trainer = trainer

    def answer(self, name: str) -> NamedPredictions:
        """Classify the cells of an evaluated set, as the test at the end of `fit` does."""
        self.trainer.test(self.module, self.data.evaluation_loader(name), verbose=False)
        predictions = self.module.test_predictions.pop(name)
        ids = self.data.evaluated_cells(name).ids
        return NamedPredictions([ids[row] for row in predictions.position.tolist()], predictions)


def member_data(ensemble: dict[str, Any], member: dict[str, Any] | None, image_size: int) -> dict[str, Any]:
    """Build the data section of a member's configuration; that of the ensemble if the member has none."""
    decided = data_config(ensemble)["init_args"]
    changes = {name: decided[name] for name in FROM_ENSEMBLE if decided.get(name) is not None}
    return data_config(member or ensemble, **changes, **{name: decided[name] for name in TESTS}, image_size=image_size)


def align(members: Sequence[NamedPredictions], cells: CellImages) -> tuple[Tensor, Predictions]:
    """Align the predictions of several members by the names of the cells.

    Args:
        members: predictions of M members.
        cells: the cells, as the ensemble reads them.

    Returns:
        Probabilities (M, N, C) float32; and position and label of the N cells, with the first member's probabilities.

    Raises:
        UserError: members know different cells, or a cell by different labels.
    """
    place = {name: row for row, name in enumerate(cells.ids)}
    ordered = [in_order(member, place) for member in members]
    first = ordered[0]
    label = torch.from_numpy(np.asarray(cells.labels[first.position.numpy()], np.int64))
    for number, predictions in enumerate(ordered, start=1):
        if not torch.equal(predictions.position, first.position):
            raise UserError(
                f"member {number} classified other cells than the first ({len(predictions.position)} and "
                f"{len(first.position)} of {len(cells)}); members must be tested on the same cells"
            )
        if not torch.equal(predictions.label, label):
            row = int(first.position[predictions.label != label][0])
            raise UserError(f"member {number} has another label for cell {cells.ids[row]}; compare its data with the others'")
    return torch.stack([p.probability for p in ordered]), Predictions(first.position, label, first.probability)


def in_order(member: NamedPredictions, place: dict[str, int]) -> Predictions:
    """Sort a member's predictions by the place of their cells; `place` maps a cell's name to its position."""
    if unknown := [name for name in member.ids if name not in place]:
        raise UserError(f"a member knows {len(unknown)} cells that the ensemble's data lack, the first is {unknown[0]}")
    position = torch.tensor([place[name] for name in member.ids], dtype=torch.int64)
    order = torch.argsort(position)
    found = member.predictions
    return Predictions(position[order], found.label[order], found.probability[order])
