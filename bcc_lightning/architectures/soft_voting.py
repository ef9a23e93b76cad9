"""Soft voting: several networks, whose class probabilities are averaged.

Linear opinion pool: Stone, Ann. Math. Statist. 32 (1961) 1339; with neural networks: Hansen and Salamon, IEEE TPAMI 12 (1990)
993.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bcc_lightning.architectures.image_input import resize

TINY = 1e-12
"""Smaller probabilities are raised to this, so that their logarithm is finite."""


class SoftVoting(nn.Module):
    """Weighted mean of the probabilities of several networks, each of which gets the images at its own size.

    Args:
        networks: M networks, each from images in [0, 1] to logits.
        image_sizes: input side of each network in pixels.

    Attributes:
        shares: (M,) float32, weight of each network, sum 1; equal at the beginning.
    """

    shares: Tensor

    def __init__(self, networks: Sequence[nn.Module], image_sizes: Sequence[int]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.image_sizes = tuple(image_sizes)
        self.register_buffer("shares", torch.full((len(networks),), 1 / len(networks)))

    def forward(self, images: Tensor) -> Tensor:
        """Classify images.

        Args:
            images: (B, 3, H, H) float32 in [0, 1].

        Returns:
            (B, C) float32, logarithms of the mean probabilities: logits whose softmax is the mean.
        """
        pairs = zip(self.networks, self.image_sizes, strict=True)
        votes = torch.stack([network(resize(images, size)).float().softmax(dim=1) for network, size in pairs])
        return pool(votes, self.shares).clamp_min(TINY).log()


def pool(votes: Tensor, shares: Tensor) -> Tensor:
    """Average probabilities (M, N, C) with weights (M,): (N, C); unlike a matrix product, equal bits for any number of cells."""
    return (votes * shares.to(votes)[:, None, None]).sum(dim=0)
