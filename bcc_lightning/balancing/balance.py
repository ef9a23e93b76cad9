"""Balancing by name: how often a training cell is drawn, and how much it weighs in the loss."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from bcc_lightning.argument_types import check_choice
from bcc_lightning.balancing.draws import Draws, EqualClasses, EveryCell, Weighted
from bcc_lightning.errors import UserError

Balance = Literal["none", "class_weights", "weighted_sampler", "oversample", "undersample", "smote"]


@dataclass(frozen=True)
class Balancing:
    """What balancing does to the training cells.

    Attributes:
        weights: (N,) float32, weight of each cell in the loss.
        draws: which cells an epoch consists of.
    """

    weights: npt.NDArray[np.float32]
    draws: Draws


def balance_cells(
    labels: npt.NDArray[np.int64], num_classes: int, balance: Balance, class_names: Sequence[str] | None = None
) -> Balancing:
    """Work out the balancing of a training part.

    Under ``class_weights`` a cell of a class with n of the N cells weighs N / (C n), so that each class weighs the same; under
    ``weighted_sampler`` each class is drawn equally often on average, under ``oversample`` as often as the largest class has
    cells, under ``undersample`` as often as the smallest has. Under ``smote`` the labels are those of the part that
    `bcc_lightning.balancing.smote.synthesise` has filled up, and each cell is drawn once.

    Args:
        labels: (N,) labels of the training part, 0 to C-1.
        num_classes: number of classes C.
        balance: the name.
        class_names: names of the C classes, for messages.

    Raises:
        UserError: the name is unknown, or a class has no cell.
    """
    check_choice("data.balance", balance, Balance)
    equal = np.ones(len(labels), np.float32)
    if balance == "none":
        return Balancing(equal, EveryCell(len(labels)))
    counts = np.bincount(labels, minlength=num_classes)
    refuse_absent_classes(counts, balance, class_names)
    by_cell = (len(labels) / (num_classes * counts))[labels]
    if balance == "class_weights":
        return Balancing(by_cell.astype(np.float32), EveryCell(len(labels)))
    if balance == "weighted_sampler":
        return Balancing(equal, Weighted(by_cell / by_cell.sum()))
    if balance == "smote":
        return Balancing(equal, EveryCell(len(labels)))
    per_class = counts.max() if balance == "oversample" else counts.min()
    members = np.split(np.argsort(labels, kind="stable"), counts.cumsum()[:-1])
    return Balancing(equal, EqualClasses(tuple(members), int(per_class)))


def refuse_absent_classes(counts: npt.NDArray[np.int64], balance: str, class_names: Sequence[str] | None = None) -> None:
    """Refuse to balance classes of which there is nothing.

    Args:
        counts: (C,) cells of each class.
        balance: the name, for the message.
        class_names: names of the C classes; their numbers stand in for them.

    Raises:
        UserError: a class has no cell.
    """
    if (counts > 0).all():
        return
    empty = ", ".join(class_names[number] if class_names else str(number) for number in np.flatnonzero(counts == 0).tolist())
    raise UserError(
        f"--data.balance {balance} needs a training cell of every class, class {empty} has none; use --data.balance none"
    )
