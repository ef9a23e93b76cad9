"""Balancing by name: how often a training cell is drawn, and how much it weighs in the loss."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from bcc_lightning.errors import UserError

Balance = Literal["none", "class_weights", "weighted_sampler"]


@dataclass(frozen=True)
class Balancing:
    """What balancing does to the training cells.

    Attributes:
        weights: (N,) float32, weight of each cell in the loss.
        probabilities: (N,) float64 that sum to 1, how likely each cell is drawn; None draws each once an epoch.
    """

    weights: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float64] | None = None


def balance_cells(labels: npt.NDArray[np.int64], num_classes: int, balance: Balance) -> Balancing:
    """Work out the balancing of a training part.

    Under ``class_weights`` a cell of a class with n of the N cells weighs N / (C n), so that each class weighs the same; under
    ``weighted_sampler`` each class is drawn equally often.

    Args:
        labels: (N,) labels of the training part.
        num_classes: number of classes C.
        balance: the name.

    Raises:
        UserError: a class to be weighted has no cell.
    """
    if balance == "none":
        return Balancing(np.ones(len(labels), np.float32))
    counts = np.bincount(labels, minlength=num_classes)
    if (counts == 0).any():
        empty = ", ".join(map(str, np.flatnonzero(counts == 0)))
        raise UserError(
            f"--data.balance {balance} needs a training cell of every class, class {empty} has none; use --data.balance none"
        )
    per_cell = (len(labels) / (num_classes * counts))[labels]
    if balance == "class_weights":
        return Balancing(per_cell.astype(np.float32))
    return Balancing(np.ones(len(labels), np.float32), per_cell / per_cell.sum())
