"""Focal loss against torch's cross-entropy, torchvision's sigmoid form and arithmetic by hand."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot
from torchvision.ops import sigmoid_focal_loss

from bcc_lightning.errors import UserError
from bcc_lightning.modules.losses import focal_loss


def cells(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, labels and soft labels of 50 cells of 8 classes."""
    generator = torch.Generator().manual_seed(3)
    logits = 4 * torch.randn(50, 8, generator=generator, dtype=dtype)
    label = torch.randint(0, 8, (50,), generator=generator)
    soft = torch.rand(50, 8, generator=generator, dtype=dtype).softmax(dim=1)
    return logits, label, soft


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("soft", [False, True])
def test_gamma_zero_is_cross_entropy(soft: bool, label_smoothing: float) -> None:
    logits, label, shares = cells()
    target = shares if soft else label
    logits.requires_grad_()
    expected = cross_entropy(logits, target, reduction="none", label_smoothing=label_smoothing)
    loss = focal_loss(logits, target, gamma=0, label_smoothing=label_smoothing)
    torch.testing.assert_close(loss, expected)
    (slope,), (expected_slope,) = (torch.autograd.grad(value.sum(), logits) for value in (loss, expected))
    torch.testing.assert_close(slope, expected_slope)


def test_by_hand() -> None:
    # p = (3/4, 1/4): the loss of class 0 is (1/4)^2 * -ln(3/4), of class 1 (3/4)^2 * -ln(1/4).
    logits = torch.tensor([[math.log(3.0), 0.0]]).repeat(3, 1)
    right, wrong = 0.0625 * math.log(4 / 3), 0.5625 * math.log(4)
    assert focal_loss(logits[:2], torch.tensor([0, 1]), gamma=2).tolist() == pytest.approx([right, wrong])
    mixed = torch.tensor([[0.3, 0.7]])
    assert focal_loss(logits[:1], mixed, gamma=2).item() == pytest.approx(0.3 * right + 0.7 * wrong)
    # Smoothing by 0.2 over two classes leaves 0.9 and 0.1.
    smoothed = focal_loss(logits[:1], torch.tensor([0]), gamma=2, label_smoothing=0.2)
    assert smoothed.item() == pytest.approx(0.9 * right + 0.1 * wrong)


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
def test_two_classes_agree_with_torchvision(gamma: float) -> None:
    # A softmax over the logits (0, z) gives class 1 the probability sigmoid(z).
    z = torch.linspace(-9, 9, 37, dtype=torch.float64)
    for label in (0, 1):
        target = torch.full((37,), label)
        expected = sigmoid_focal_loss(z, target.double(), alpha=-1, gamma=gamma)
        torch.testing.assert_close(focal_loss(torch.stack([0 * z, z], dim=1), target, gamma), expected)


def test_hard_labels_are_soft_labels_of_one_class() -> None:
    logits, label, _ = cells()
    torch.testing.assert_close(focal_loss(logits, label), focal_loss(logits, one_hot(label, 8).double()))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("size", [1e2, 1e4, 1e30])
def test_extreme_logits_stay_finite(gamma: float, size: float) -> None:
    logits = torch.tensor([[size, -size, 0.0], [-size, size, 0.0], [0.0, 0.0, 0.0]], requires_grad=True)
    loss = focal_loss(logits, torch.tensor([0, 0, 0]), gamma)
    assert loss.tolist() == pytest.approx([0, 2 * size, (2 / 3) ** gamma * math.log(3)])
    loss.sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[1].tolist() == pytest.approx([-1, 1, 0])  # a wrong cell pulls as in cross-entropy


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    logits, label, _ = cells(torch.float32)
    loss = focal_loss(logits.to(dtype), label)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, focal_loss(logits.to(dtype).float(), label))


def test_negative_gamma_is_refused() -> None:
    with pytest.raises(UserError, match="gamma of the focal loss is -1, it must be 0 or more"):
        focal_loss(*cells()[:2], gamma=-1)
