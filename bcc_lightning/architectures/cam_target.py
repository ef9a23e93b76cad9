"""The layer from which class activation maps are computed."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

SMALLEST_MAP = 7
"""Least number of places per side for a map to show where something is; deeper stages with fewer are not used.

Seven is the side of the last stage of common backbones at 224 pixels. At 64 pixels, one stage deeper, an untrained EfficientNet's
map of 4x4 often changes elsewhere than the image did; ``tests/explanation/test_maps.py`` checks each declared layer.
"""


@dataclass(frozen=True)
class CamTarget:
    """A layer whose activation can be drawn over the image.

    A transformer's activation is (B, H, W, C) or (B, N, C). Read in the wrong order it would give a wrong map of the right size;
    therefore the order is declared and the shape checked.

    Attributes:
        name: name of the map in figures, e.g. ``swin``.
        layer: the module whose output is read.
        channels: C of the activation.
        side: H and W of the activation.
        channels_last: whether the activation is (B, H, W, C) instead of (B, C, H, W).
        prefix_tokens: number of tokens, such as the class token, before those of the image in an activation (B, N, C); None where
            it is a map.
        lost: places per side that convolutions without padding have removed from the map. Stretched over the whole image, the
            map would be shifted by up to half a place for each lost one; therefore zeros are added in their stead.
    """

    name: str
    layer: nn.Module
    channels: int
    side: int
    channels_last: bool = False
    lost: int = 0
    prefix_tokens: int | None = None

    def as_nchw(self, activation: Tensor) -> Tensor:
        """Return an activation, or its gradient, as (B, C, H, W), float32, with zeros at lost places.

        Raises:
            ValueError: the activation does not have the declared shape.
        """
        square = (self.side, self.side)
        if self.prefix_tokens is not None:
            return self._tokens_as_nchw(activation)
        expected = (*square, self.channels) if self.channels_last else (self.channels, *square)
        if tuple(activation.shape[1:]) != expected:
            raise ValueError(
                f"Grad-CAM target '{self.name}' returned {tuple(activation.shape)}, but (B, {expected}) was declared; "
                "correct the declaration of the architecture"
            )
        nchw = activation.permute(0, 3, 1, 2) if self.channels_last else activation
        before, after = self.lost // 2, self.lost - self.lost // 2
        return pad(nchw.to(torch.float32), (before, after, before, after))

    def _tokens_as_nchw(self, activation: Tensor) -> Tensor:
        """Return tokens (B, P + H * W, C) as (B, C, H, W)."""
        expected = (self.side**2 + (self.prefix_tokens or 0), self.channels)
        if tuple(activation.shape[1:]) != expected:
            raise ValueError(f"Grad-CAM target '{self.name}' returned {tuple(activation.shape)}, not (B, {expected})")
        image = activation[:, self.prefix_tokens :].reshape(-1, self.side, self.side, self.channels)
        return image.permute(0, 3, 1, 2).to(torch.float32)


def deepest_stage(stages: list[dict[str, object]], image_size: int) -> dict[str, object]:
    """Return the deepest stage of a timm network whose map has at least `SMALLEST_MAP` places per side.

    Args:
        stages: timm's ``feature_info``: ``module``, ``reduction`` and ``num_chs`` of each stage, shallow to deep.
        image_size: side of the input in pixels.
    """
    wide = [s for s in stages if -(-image_size // int(str(s["reduction"]))) >= SMALLEST_MAP]
    return wide[-1] if wide else stages[0]
