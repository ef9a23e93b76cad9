"""Losses: cross-entropy and focal loss per cell, averaged by weight; the supervised contrastive loss."""

from math import inf, log

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax, one_hot

from bcc_lightning.datasets.batches import CellBatch
from bcc_lightning.errors import UserError
from bcc_lightning.modules.recipe import Loss


def weighted_loss(logits: Tensor, batch: CellBatch, loss: Loss) -> Tensor:
    """Compute the loss of a batch, averaged with the weights of its cells.

    Args:
        logits: (B, C).
        batch: labels, or soft labels if there are any, and weights.
        loss: which loss.
    """
    target = batch.label if batch.target is None else batch.target
    if loss.loss == "focal":
        per_cell = focal_loss(logits, target, loss.focal_gamma, loss.label_smoothing)
    else:
        per_cell = cross_entropy(logits, target, reduction="none", label_smoothing=loss.label_smoothing)
    return (per_cell * batch.weight).sum() / batch.weight.sum()


def consistency_loss(logits: Tensor, position: Tensor) -> Tensor:
    """Compute how far two views of the same cells are apart: the mean of both Kullback-Leibler divergences from their mean.

    Args:
        logits: (2 B, C), the first views of all cells, then the second.
        position: (2 B,) which cell each is of.

    Raises:
        UserError: these are not two views of each cell.
    """
    if len(position) % 2 or not torch.equal(*position.chunk(2)):
        raise UserError(
            "--model.consistency compares two views of each cell; add --data.laboratory all --data.views 2, or set it to 0"
        )
    first, second = (half.log_softmax(dim=1) for half in logits.chunk(2))
    mean = torch.stack([first, second]).logsumexp(dim=0) - log(2)
    return (
        sum((kl_div(mean, view, reduction="batchmean", log_target=True) for view in (first, second)), start=mean.new_zeros(()))
        / 2
    )


def level_loss(logits: Tensor, batch: CellBatch, loss: Loss, nodes: Tensor) -> Tensor:
    """Compute the loss at a level of a tree: a node is as probable as all its classes together.

    Args:
        logits: (B, C) of the classes.
        batch: as in `weighted_loss`.
        loss: which loss.
        nodes: (C,) int64, node of each class; each from 0 to K-1 occurs.
    """
    place = nodes.to(logits.device)
    member = one_hot(place).to(logits.dtype)  # (C, K)
    log_p = log_softmax(logits, dim=1)
    together = torch.logsumexp(log_p[:, :, None] + member.log()[None], dim=1)
    target = None if batch.target is None else batch.target @ member.to(batch.target.dtype)
    return weighted_loss(together, batch._replace(label=place[batch.label], target=target), loss)


def focal_loss(logits: Tensor, target: Tensor, gamma: float = 2.0, label_smoothing: float = 0.0) -> Tensor:
    """Compute the focal loss of each cell: cross-entropy in which confidently classified cells count less.

    A cell with the true class t costs ``-(1 - p_t)^gamma log p_t`` (Lin et al., Focal Loss for Dense Object Detection, 2017,
    arXiv 1708.02002). For soft labels t_c, as mixing and smoothing make them, it is ``sum_c t_c (1 - p_c)^gamma (-log p_c)``;
    this is the same where one t_c is 1, and cross-entropy with soft labels where gamma is 0.

    Args:
        logits: (B, C), any finite floating-point numbers; half precision is computed in float32.
        target: (B,) int64 labels 0 to C-1, or (B, C) shares of the classes whose rows sum to 1.
        gamma: how much less confidently classified cells count, 0 or more; 2 is the paper's.
        label_smoothing: share of the target that is spread over all classes, in [0, 1).

    Returns:
        (B,) float32, or float64 where the logits are.

    Raises:
        UserError: gamma is below 0, or as `soft_labels`.
    """
    if not 0 <= gamma < inf:
        raise UserError(f"gamma of the focal loss is {gamma}, it must be 0 or more; 2 is the paper's, 0 is cross-entropy")
    log_p = log_softmax(logits, dim=1, dtype=torch.promote_types(logits.dtype, torch.float32))
    share = soft_labels(target, logits.shape[1], label_smoothing, log_p.dtype)
    # 1 - p, without rounding p first. Where it is exactly 0, a gamma below 1 would have an infinite slope.
    doubt = (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).tiny)
    return -(share * doubt**gamma * log_p).sum(dim=1)


def soft_labels(target: Tensor, num_classes: int, label_smoothing: float = 0.0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Turn labels into shares of the classes, smoothed as `torch.nn.functional.cross_entropy` does.

    Args:
        target: (B,) int64 labels 0 to C-1, or (B, C) shares of the classes.
        num_classes: number of classes C.
        label_smoothing: share that is spread over all classes, in [0, 1).
        dtype: of the result.

    Returns:
        (B, C) of `dtype`; rows sum to 1 where those given do, which is not checked, since a GPU would have to be waited for.

    Raises:
        UserError: shares have another number of classes, or the smoothing is out of range.
    """
    if not 0 <= label_smoothing < 1:
        raise UserError(f"label_smoothing is {label_smoothing}, it must be from 0 to below 1")
    if target.ndim > 1 and target.shape[1] != num_classes:
        raise UserError(f"soft labels have the shape {tuple(target.shape)}, the logits have {num_classes} classes")
    share = (one_hot(target, num_classes) if target.ndim == 1 else target).to(dtype)
    return share * (1 - label_smoothing) + label_smoothing / num_classes


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
