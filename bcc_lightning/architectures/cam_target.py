"""Where class activation maps read a network."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

SMALLEST_MAP = 7
"""Cells a side that a map needs to say where something is; deeper stages with fewer are not used.

Seven is what the last stage of common backbones has at 224 pixels. At 64 pixels, one stage deeper, an untrained EfficientNet's
map of 4x4 often changes elsewhere than the image did; ``tests/explain/test_maps.py`` holds each declared layer to that.
"""


@dataclass(frozen=True)
class CamTarget:
    """A layer whose activation can be drawn over the image.

    A transformer's activation lies as (B, H, W, C) or (B, N, C). Read in the wrong order it still gives a map of the right
    size, only a wrong one; so the order is declared and the shape checked.

    Attributes:
        name: what the map is called in figures, e.g. ``swin``.
        layer: the module whose output is read.
        channels: C of the activation.
        side: H and W of the activation.
        channels_last: whether the activation is (B, H, W, C) instead of (B, C, H, W).
        lost: cells a side by which convolutions without padding have made the map narrower than the image. Stretched over the
            whole image, it would show things up to half a cell per lost cell away from their place; so they are put back.
    """

    name: str
    layer: nn.Module
    channels: int
    side: int
    channels_last: bool = False
    lost: int = 0

    def as_nchw(self, activation: Tensor) -> Tensor:
        """Bring an activation, or its gradient, into (B, C, H, W), float32, with zeros where cells were lost.

        Raises:
            ValueError: the activation does not have the declared shape.
        """
        square = (self.side, self.side)
        expected = (*square, self.channels) if self.channels_last else (self.channels, *square)
        if tuple(activation.shape[1:]) != expected:
            raise ValueError(
                f"Grad-CAM target '{self.name}' gave {tuple(activation.shape)}, declared was (B, {expected}); "
                "correct the declaration of the architecture"
            )
        nchw = activation.permute(0, 3, 1, 2) if self.channels_last else activation
        before, after = self.lost // 2, self.lost - self.lost // 2
        return pad(nchw.to(torch.float32), (before, after, before, after))


def deepest_stage(stages: list[dict[str, object]], image_size: int) -> dict[str, object]:
    """Choose the deepest stage of a timm network whose map still has `SMALLEST_MAP` cells a side.

    Args:
        stages: timm's ``feature_info``: ``module``, ``reduction`` and ``num_chs`` of each stage, shallow to deep.
        image_size: side of the input in pixels.
    """
    wide = [s for s in stages if -(-image_size // int(str(s["reduction"]))) >= SMALLEST_MAP]
    return wide[-1] if wide else stages[0]
