"""A network whose right map is known: only darkness in the upper left quarter of the image speaks for its second class."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bcc_lightning.architectures.cam_target import CamTarget
from bcc_lightning.explanation.methods import Maps
from bcc_lightning.modules import CellClassifier

SIDE, PLACES = 32, 8


class QuadrantNet(nn.Module):
    """Mean darkness of each place, weighed by what the place counts, through two channels that are read alike."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.zeros(PLACES, PLACES))
        self.places.data[: PLACES // 2, : PLACES // 2] = 1
        self.read = nn.Identity()
        self.pool = nn.AvgPool2d(SIDE // PLACES)
        self.last = nn.Linear(2, 2)
        with torch.no_grad():
            self.last.weight.copy_(torch.tensor([[0.0, 0.0], [3.0, 3.0]]))
            self.last.bias.copy_(torch.tensor([0.0, -4.0]))

    def forward(self, images: Tensor) -> Tensor:
        """Classify (B, 3, 32, 32)."""
        darkness = self.pool(1 - images.mean(dim=1, keepdim=True)) * self.places
        channels = self.read(torch.cat([darkness, 0.5 * darkness], dim=1))
        logits: Tensor = self.last(channels.sum(dim=(2, 3)) / 4)
        return logits


class Quadrant(CellClassifier):
    """`QuadrantNet` as a module."""

    def __init__(self, **base: Any) -> None:
        super().__init__(class_names=["pale", "dark"], image_size=SIDE, pretrained=False, **base)

    def build_network(self) -> nn.Module:
        return QuadrantNet()

    def cam_targets(self) -> list[CamTarget]:
        return [CamTarget("places", self.network.get_submodule("read"), channels=2, side=PLACES)]


def quadrant() -> Quadrant:
    return Quadrant().eval()


def dark_spots(count: int) -> Tensor:
    """Draw images with dark and pale spots everywhere: (N, 3, 32, 32) uint8."""
    coarse = torch.rand((count, 1, PLACES, PLACES), generator=torch.Generator().manual_seed(3))
    spots = (200 * coarse).to(torch.uint8).repeat_interleave(SIDE // PLACES, 2).repeat_interleave(SIDE // PLACES, 3)
    return spots.repeat(1, 3, 1, 1)


def inside_quadrant(count: int) -> np.ndarray[Any, Any]:
    inside = np.zeros((count, SIDE, SIDE), bool)
    inside[:, : SIDE // 2, : SIDE // 2] = True
    return inside


def perfect(count: int) -> Maps:
    return inside_quadrant(count).astype(np.float32)
