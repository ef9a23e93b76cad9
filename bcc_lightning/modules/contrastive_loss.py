"""The loss of supervised contrastive learning."""

import torch
from torch import Tensor

from bcc_lightning.errors import UserError


def supervised_contrastive_loss(points: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Compute for each point how badly its own class stands out from all other points.

    For the point i, with P(i) the other points of its class and A(i) all other points, Khosla et al. 2020 (arXiv 2004.11362,
    equation 2) take the mean over p in P(i) of ``-log(exp(z_i z_p / t) / sum over a in A(i) of exp(z_i z_a / t))``.

    Args:
        points: (N, D) float32 on the unit sphere.
        labels: (N,) int64.
        temperature: t, above 0; small values look at the nearest points only.

    Returns:
        (N,) float32; 0 for a point that is alone in its class.

    Raises:
        UserError: the temperature is not above 0.
    """
    if not temperature > 0:
        raise UserError(f"temperature of the contrastive loss is {temperature}, it must be above 0; 0.05 to 0.5 are usual")
    itself = torch.eye(len(points), dtype=torch.bool, device=points.device)
    similarity = (points @ points.T / temperature).masked_fill(itself, float("-inf"))
    log_share = similarity.log_softmax(dim=1).masked_fill(itself, 0.0)
    positive = (labels[:, None] == labels[None, :]) & ~itself
    return -(log_share * positive).sum(dim=1) / positive.sum(dim=1).clamp_min(1)
