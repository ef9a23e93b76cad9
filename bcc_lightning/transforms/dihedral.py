"""The eight positions of a square image, drawn for each image of a batch, on the device. No pixel is interpolated."""

import torch
from torch import Tensor

POSITIONS = 8
"""Four quarter turns, each also mirrored."""


def turn(images: Tensor, position: Tensor) -> Tensor:
    """Bring each image into a position.

    Args:
        images: (B, 3, S, S).
        position: (B,) int64, 0 to 7: quarter turns modulo 4; from 4 on mirrored as well.

    Returns:
        (B, 3, S, S) of the same type.
    """
    turned = images.clone()
    for number in range(1, POSITIONS):
        chosen = position == number
        quarters = torch.rot90(images[chosen], number % 4, (2, 3))
        turned[chosen] = quarters.flip(3) if number >= POSITIONS // 2 else quarters
    return turned


def random_turn(images: Tensor) -> Tensor:
    """Bring each image (B, 3, S, S) into a position of its own, by torch's generator."""
    return turn(images, torch.randint(POSITIONS, (len(images),), device=images.device))
