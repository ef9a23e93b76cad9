"""Which shares of the classes a network assumes: those of its training cells, or those in the blood of healthy adults.

A network that was trained on many eosinophils finds them in every smear. By Bayes' rule, adding log(assumed / trained) to its
logits corrects for it (Saerens, Latinne and Decaestecker, Neural Computation 14 (2002) 21; Menon et al., ICLR 2021). The network
itself adds it, so that test, export, explanation and ensembles see the same answers; while it is trained, nothing is added.
"""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bcc_lightning.balancing.balance import Balancing
from bcc_lightning.datasets.cells import CellImages
from bcc_lightning.datasets.classes import canonical
from bcc_lightning.errors import UserError

ClassShares = Literal["training", "blood"]

Shares = npt.NDArray[np.float64]

IN_BLOOD = {"neutrophil": (40, 80), "lymphocyte": (20, 40), "monocyte": (2, 10), "eosinophil": (1, 6), "basophil": (0, 2)}
"""Per cent of the leukocytes in the blood of healthy adults, from and to: Dacie and Lewis, Practical Haematology."""

BUFFER = "class_shares"
"""Name of a network's buffer (2, C) float32: the shares that it assumes, and those of its training cells."""

ASSUMES_BLOOD = (
    "The network assumes the shares of the classes in the blood of healthy adults. It recognises classes that are rare there "
    "less readily, and where they are frequent, it gives them too low a probability; --adapt equal treats all classes alike."
)


def refuse_unknown(class_names: Sequence[str], option: str, instead: str) -> None:
    """Refuse classes whose shares in blood are not known.

    Args:
        class_names: names of the C classes.
        option: what asks for them, for the message.
        instead: what to do instead.

    Raises:
        UserError: fewer than two of the classes have a reference range.
    """
    if sum(canonical(name) in IN_BLOOD for name in class_names) <= 1:
        raise UserError(
            f"{option}: reference ranges are known for {', '.join(IN_BLOOD)}, and this network has fewer than two of these "
            f"classes; {instead}"
        )


def blood_shares(class_names: Sequence[str], trained: Shares) -> Shares:
    """Divide the leukocytes among their classes as in the blood of healthy adults: the middle of each reference range.

    Args:
        class_names: names of the C classes, of which `refuse_unknown` knows two; those without a reference range keep their
            shares.
        trained: (C,) shares for which the probabilities of the network are right.

    Returns:
        (C,) shares that add up to 1.
    """
    shares = trained / trained.sum()
    middle = np.array([sum(IN_BLOOD.get(canonical(name), (0, 0))) / 2 for name in class_names])
    known = middle > 0
    return np.asarray(np.where(known, shares[known].sum() * middle / middle.sum(), shares))


class TrainingCells(Protocol):
    """What is asked of a data module."""

    @property
    def training_cells(self) -> CellImages:
        """The training set."""

    @property
    def balancing(self) -> Balancing:
        """Weights and draws of its cells."""


def trained_shares(data: TrainingCells, num_classes: int) -> Shares:
    """Add up what the loss sees of each class in an epoch on average: (C,) shares that add up to 1.

    A class without a cell counts as one: a network that starts from other weights may know it, and nothing is divided by 0.
    """
    cells, balancing = data.training_cells, data.balancing
    seen = balancing.weights * balancing.draws.frequencies
    if cells.weights is not None:
        seen = seen * cells.weights
    totals = np.bincount(np.asarray(cells.labels), seen, minlength=num_classes)
    totals = np.where(totals > 0, totals, 1.0)
    return np.asarray(totals / totals.sum())


def correct_answers(network: nn.Module, class_names: Sequence[str]) -> None:
    """Let a network correct its logits (B, C) in evaluation mode; until `assume_blood` as if it was trained on equal shares."""
    equal = np.full(len(class_names), 1 / len(class_names))
    network.register_buffer(BUFFER, torch.tensor(np.stack([blood_shares(class_names, equal), equal]), dtype=torch.float32))
    network.register_forward_hook(corrected)


def assume_blood(network: nn.Module, class_names: Sequence[str], data: TrainingCells | None) -> None:
    """Set the shares of the classes among the cells that a network is trained on.

    Raises:
        UserError: there is no data module that knows them.
    """
    if data is None:
        raise UserError("--model.class_shares blood needs to know the training cells; pass a data module to the trainer")
    trained = trained_shares(data, len(class_names))
    network.get_buffer(BUFFER).copy_(torch.from_numpy(np.stack([blood_shares(class_names, trained), trained])))


def assumed_by(network: nn.Module) -> Shares | None:
    """Return the shares (C,) that a network corrects its answers for; None where it corrects nothing."""
    shares = getattr(network, BUFFER, None)
    return None if shares is None else shares[0].cpu().double().numpy()


def corrected(network: nn.Module, images: tuple[Any, ...], logits: Tensor) -> Tensor:
    """Correct logits (B, C) of a network in evaluation mode."""
    return logits + log_odds(network)


def log_odds(network: nn.Module) -> Tensor:
    """Return what a network adds to the logit of each class, (C,); () 0 while it is trained, and where it corrects nothing."""
    shares: Tensor | None = getattr(network, BUFFER, None)
    return torch.zeros(()) if shares is None or network.training else (shares[0] / shares[1]).log()
