"""The losses of JPEG for whole batches: blocks of 8x8 pixels, their cosine transform, quantisation and back (ITU-T T.81).

Nothing is encoded to bytes, so that a batch stays on its device. Every image has a quality of its own, and the colours keep their
resolution (4:4:4).
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

BLOCK = 8

LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""Steps of the brightness at quality 50, from the standard's annex K."""

CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * BLOCK,) * 4,
)
"""Steps of the two colours at quality 50."""

TO_YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
"""Brightness and two colours of red, green and blue, as JFIF defines them."""


def compress(images: Tensor, quality: Tensor) -> Tensor:
    """Lose what JPEG loses.

    Args:
        images: (B, 3, H, W) float32 in [0, 1], RGB.
        quality: (B,) 1 to 100, as libjpeg counts it.

    Returns:
        (B, 3, H, W) float32 in [0, 1].
    """
    count, _, height, width = images.shape
    colours = torch.tensor(TO_YCBCR, device=images.device)
    whole = pad(images * 255, (0, -width % BLOCK, 0, -height % BLOCK), mode="replicate")
    centred = torch.einsum("bchw,dc->bdhw", whole, colours)
    centred = torch.cat([centred[:, :1] - 128, centred[:, 1:]], dim=1).round()  # levels of eight bits
    rows, columns = whole.shape[2] // BLOCK, whole.shape[3] // BLOCK
    blocks = centred.reshape(count, 3, rows, BLOCK, columns, BLOCK)
    basis = cosines(images.device)
    frequencies = torch.einsum("ui,bcrixj,vj->bcruxv", basis, blocks, basis)
    steps = steps_at(quality).to(images.device)[:, :, None, :, None, :]
    frequencies = (frequencies / steps).round() * steps
    blocks = torch.einsum("ui,bcruxv,vj->bcrixj", basis, frequencies, basis).round()
    centred = blocks.reshape(count, 3, *whole.shape[2:])
    centred = torch.cat([(centred[:, :1] + 128).clamp(0, 255), centred[:, 1:].clamp(-128, 127)], dim=1)
    return torch.einsum("bchw,dc->bdhw", centred, torch.linalg.inv(colours))[..., :height, :width].div(255).clamp(0, 1)


def cosines(device: torch.device) -> Tensor:
    """Return the orthonormal cosine transform of 8 values: (8, 8), a frequency per row."""
    frequency, place = torch.arange(BLOCK, device=device)[:, None], torch.arange(BLOCK, device=device)[None]
    basis = torch.cos((2 * place + 1) * frequency * math.pi / (2 * BLOCK)) * math.sqrt(2 / BLOCK)
    basis[0] /= math.sqrt(2)
    return basis


def steps_at(quality: Tensor) -> Tensor:
    """Return the steps of quantisation at a quality, as libjpeg computes them: (B,) to (B, 3, 8, 8)."""
    quality = quality.float().clamp(1, 100)
    percent = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)[:, None, None, None]  # noqa: PLR2004 - where libjpeg changes the rule
    tables = torch.tensor([LUMINANCE, CHROMINANCE, CHROMINANCE], device=quality.device, dtype=torch.float32)
    return ((tables * percent + 50) / 100).floor().clamp(1, 255)
