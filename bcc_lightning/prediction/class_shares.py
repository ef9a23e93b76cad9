"""The shares of the classes among cells, estimated from the answers of a network.

Saerens, Latinne and Decaestecker, Neural Computation 14 (2002) 21.
"""

import numpy as np
import torch
from torch import Tensor

from bcc_lightning.modules.assumed_shares import Shares

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


def reweighted(probability: Tensor, odds: Shares) -> Tensor:
    """Multiply the probabilities (N, C) of the classes by odds (C,), and let each row add up to 1 again."""
    weighed = probability.double() * torch.from_numpy(odds)
    return (weighed / weighed.sum(dim=1, keepdim=True)).to(probability.dtype)
