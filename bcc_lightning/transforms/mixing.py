"""MixUp and CutMix on whole batches, on the device.

timm's Mixup draws from NumPy's global generator, needs an even batch size and cannot mix weights. torchvision's MixUp refuses
uint8, and its MixUp and CutMix draw from torch's global generator. The functions here draw their numbers from a given seed.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bcc_lightning.argument_types import check_choice
from bcc_lightning.errors import UserError

MixingName = Literal["none", "mixup", "cutmix", "mixup_cutmix"]


class Mixed(NamedTuple):
    """A mixed batch.

    Attributes:
        images: (B, 3, H, W) uint8.
        targets: (B, C) float32, shares of the classes; rows sum to 1 where the given rows do.
        weights: (B,) float32.
    """

    images: Tensor
    targets: Tensor
    weights: Tensor


class Box(NamedTuple):
    """A rectangle of pixels: rows top to bottom, columns left to right, ends excluded."""

    top: int
    bottom: int
    left: int
    right: int


def draw_box(height: int, width: int, share: float, rng: np.random.Generator) -> Box:
    """Draw a rectangle with the image's proportions, centred on any pixel and cut off at the border.

    Args:
        height: of the image in pixels.
        width: of the image in pixels.
        share: of the image's area before it is cut off, in [0, 1].
        rng: draws the centre.
    """
    half_height, half_width = height * share**0.5 / 2, width * share**0.5 / 2
    row, column = rng.uniform(0, height), rng.uniform(0, width)
    top, bottom = (int(np.clip(round(edge), 0, height)) for edge in (row - half_height, row + half_height))
    left, right = (int(np.clip(round(edge), 0, width)) for edge in (column - half_width, column + half_width))
    return Box(top, bottom, left, right)


def mixup(images: Tensor, partner: Tensor, share: float) -> Tensor:
    """Overlay each image with its partner (Zhang et al. 2018, arXiv 1710.09412).

    Args:
        images: (B, 3, H, W) uint8.
        partner: (B,) int64, index of each image's partner in the batch.
        share: of the image itself, lambda, in [0, 1].

    Returns:
        (B, 3, H, W) uint8, rounded.
    """
    pixels = images.float()
    return torch.lerp(pixels[partner], pixels, share).round_().to(images.dtype)


def cutmix(images: Tensor, partner: Tensor, box: Box) -> tuple[Tensor, float]:
    """Paste a rectangle of its partner into each image (Yun et al. 2019, arXiv 1905.04899).

    Args:
        images: (B, 3, H, W) uint8.
        partner: (B,) int64, index of each image's partner in the batch.
        box: the rectangle.

    Returns:
        (B, 3, H, W) uint8, and the share of pixels that are still the image's own.
    """
    rows, columns = slice(box.top, box.bottom), slice(box.left, box.right)
    mixed = images.clone()
    mixed[:, :, rows, columns] = images[partner][:, :, rows, columns]
    pasted = (box.bottom - box.top) * (box.right - box.left)
    return mixed, 1 - pasted / (images.shape[2] * images.shape[3])


@dataclass(frozen=True)
class Mixing:
    """Mixes a batch with a permutation of itself; one lambda for the whole batch, from Beta(alpha, alpha).

    Attributes:
        mixup_alpha: alpha of MixUp; 0 switches it off.
        cutmix_alpha: alpha of CutMix; 0 switches it off. With both on, each batch takes one of them, with equal probability.
    """

    mixup_alpha: float
    cutmix_alpha: float

    def __call__(self, images: Tensor, targets: Tensor, weights: Tensor, seed: int) -> Mixed:
        """Mix images, labels and weights with the same lambda.

        Args:
            images: (B, 3, H, W) uint8.
            targets: (B, C) float32, shares of the classes.
            weights: (B,) float32, weight of each cell in the loss.
            seed: 0 or more; the same seed draws the same partners and shares on any device.
        """
        rng = np.random.default_rng(seed)
        partner = torch.from_numpy(rng.permutation(len(images))).to(images.device)
        cuts = self.cutmix_alpha > 0 and (self.mixup_alpha == 0 or rng.random() < 0.5)  # noqa: PLR2004 - a coin
        alpha = self.cutmix_alpha if cuts else self.mixup_alpha
        share = float(rng.beta(alpha, alpha))
        if cuts:
            box = draw_box(images.shape[2], images.shape[3], 1 - share, rng)
            mixed, share = cutmix(images, partner, box)
        else:
            mixed = mixup(images, partner, share)
        return Mixed(mixed, torch.lerp(targets[partner], targets, share), torch.lerp(weights[partner], weights, share))


def make_mixing(name: MixingName, mixup_alpha: float = 0.2, cutmix_alpha: float = 1.0) -> Mixing | None:
    """Build a mixing by name.

    Args:
        name: `none`, `mixup`, `cutmix`, or `mixup_cutmix`, which takes one of the two for each batch.
        mixup_alpha: above 0; with small values one of the two images mostly dominates. The default is KerasCV's.
        cutmix_alpha: above 0; 1 makes all areas of the rectangle equally likely. The default is the paper's.

    Returns:
        The mixing, or None for `none`.

    Raises:
        UserError: the name is unknown, or an alpha is not above 0.
    """
    check_choice("data.mixing", name, MixingName)
    for parameter, alpha in (("mixup_alpha", mixup_alpha), ("cutmix_alpha", cutmix_alpha)):
        if not 0 < alpha < float("inf"):
            raise UserError(f"{parameter} is {alpha}, it must be above 0; usual values are 0.2 for MixUp and 1.0 for CutMix")
    if name == "none":
        return None
    return Mixing(mixup_alpha if "mixup" in name else 0.0, cutmix_alpha if "cutmix" in name else 0.0)
