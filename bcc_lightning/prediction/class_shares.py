"""The shares of the classes among cells, estimated from the answers of a network or known from the blood of healthy adults.

Saerens, Latinne and Decaestecker, Neural Computation 14 (2002) 21.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bcc_lightning.datasets.classes import canonical
from bcc_lightning.errors import UserError

Shares = npt.NDArray[np.float64]

IN_BLOOD = {"neutrophil": (40, 80), "lymphocyte": (20, 40), "monocyte": (2, 10), "eosinophil": (1, 6), "basophil": (0, 2)}
"""Per cent of the leukocytes in the blood of healthy adults, from and to: Dacie and Lewis, Practical Haematology."""

STEPS, CONVERGED = 1000, 1e-7
"""EM ends when no share changes by more in a step, or after so many steps."""


def estimated_shares(probability: Shares, trained: Shares) -> Shares:
    """Estimate the shares of the classes among cells by EM.

    Args:
        probability: (N, C) what a network answers for them.
        trained: (C,) shares for which its probabilities are right, such as those of its validation set.

    Returns:
        (C,) shares that add up to 1.
    """
    shares = trained / trained.sum()
    for _ in range(STEPS):
        updated = (
            reweighted(torch.from_numpy(probability), shares / np.maximum(trained, np.finfo(np.float64).tiny)).numpy().mean(0)
        )
        done = np.abs(updated - shares).max() < CONVERGED
        shares = updated
        if done:
            break
    return np.asarray(shares)


def blood_shares(class_names: Sequence[str], trained: Shares) -> Shares:
    """Divide the leukocytes among their classes as in the blood of healthy adults: the middle of each reference range.

    Args:
        class_names: names of the C classes; those that are in no reference range keep their shares.
        trained: (C,) shares for which the probabilities of the network are right.

    Returns:
        (C,) shares that add up to 1.

    Raises:
        UserError: fewer than two of the classes have a reference range.
    """
    shares = trained / trained.sum()
    middle = np.array([sum(IN_BLOOD.get(canonical(name), (0, 0))) / 2 for name in class_names])
    known = middle > 0
    if known.sum() <= 1:
        raise UserError(
            f"--adapt blood knows how frequent {', '.join(IN_BLOOD)} are, and this network tells fewer than two of them apart; "
            "leave blood out"
        )
    return np.asarray(np.where(known, shares[known].sum() * middle / middle.sum(), shares))


def reweighted(probability: Tensor, odds: Shares) -> Tensor:
    """Multiply the probabilities (N, C) of the classes by odds (C,), and let each row add up to 1 again."""
    weighed = probability.double() * torch.from_numpy(odds)
    return (weighed / weighed.sum(dim=1, keepdim=True)).to(probability.dtype)
