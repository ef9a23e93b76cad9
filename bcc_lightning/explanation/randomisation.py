"""Sanity check by randomised weights: a map that stays the same when the network forgets everything does not explain it.

Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018 (arXiv 1810.03292): all layers are drawn anew.
"""

from copy import deepcopy
from typing import cast

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn
from torchmetrics.functional.image import structural_similarity_index_measure

from bcc_lightning.explanation.methods import Maps
from bcc_lightning.explanation.perturbation import Scores
from bcc_lightning.modules.base import CellClassifier


def randomised(module: CellClassifier, seed: int) -> CellClassifier:
    """Copy a module and draw all its weights anew, each layer as torch initialises it.

    Args:
        module: a trained module, which stays as it is.
        seed: of the draws.
    """
    copy = deepcopy(module).cpu()  # where the draws are the same for all devices
    with torch.random.fork_rng(devices=[]):
        # Not the seed itself: a network that began with it would be drawn again as it was before its training.
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
        drawn: set[int] = set()
        for part in copy.network.modules():
            if callable(reset := getattr(part, "reset_parameters", None)):
                reset()
                drawn |= {id(parameter) for parameter in part.parameters(recurse=False)}
        for parameter in copy.network.parameters():
            if id(parameter) not in drawn:  # such as the position biases of transformers
                draw_alike(parameter)
    return copy.to(module.device)


@torch.no_grad()
def draw_alike(parameter: nn.Parameter) -> None:
    """Draw a parameter from a normal distribution with the mean and the standard deviation of its values."""
    spread = float(parameter.std()) if parameter.numel() > 1 else 0.0
    parameter.copy_(torch.randn(parameter.shape) * spread + float(parameter.mean()))


def rank_correlation(first: Maps, second: Maps) -> Scores:
    """Compute Spearman's rank correlation of each pair of maps.

    Args:
        first: (N, S, S) float32.
        second: likewise.

    Returns:
        (N,) in [-1, 1]; 0 where a map has one value only.
    """
    ranks = [rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (first, second)]
    a, b = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    size = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    found: Scores = np.divide((a * b).sum(axis=1), size, out=np.zeros(len(first)), where=size > 0)
    return found


def structural_similarity(first: Maps, second: Maps) -> Scores:
    """Compute the structural similarity (SSIM) of each pair of maps (N, S, S) in [0, 1]: (N,), 1 for equal maps."""
    one, other = (torch.from_numpy(maps)[:, None] for maps in (first, second))
    found = cast(Tensor, structural_similarity_index_measure(one, other, data_range=1.0, reduction="none"))
    return np.asarray(found.reshape(-1).double().numpy())
