"""Bringing images to the scale and the size that a network sees."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

CHANNELS, DIMENSIONS = 3, 4


def scale_and_resize(images: Tensor, image_size: int) -> Tensor:
    """Scale images to [0, 1] and bring them to a size; arguments as `scale` and `resize`."""
    return resize(scale(images), image_size)


def scale(images: Tensor) -> Tensor:
    """Scale images to [0, 1].

    Whoever calls a network from Python may have scaled them already; divided once more, all would be nearly black and get nearly
    the same logits. A wrong type is a mistake in a program, hence no `UserError`.

    Args:
        images: (B, 3, H, H) uint8 in 0 to 255.

    Returns:
        (B, 3, H, H) float32 in [0, 1].

    Raises:
        TypeError: the images are no tensor of uint8.
        ValueError: they do not have this shape.
    """
    if not isinstance(images, Tensor) or images.dtype != torch.uint8:
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(
            f"images are {kind}, they must be a torch tensor of uint8 (B, 3, H, H) with pixels from 0 to 255, not scaled and not "
            "normalised; convert floats in [0, 1] with (images * 255).round().to(torch.uint8), arrays with torch.from_numpy"
        )
    if images.ndim != DIMENSIONS or images.shape[1] != CHANNELS or images.shape[2] != images.shape[3]:
        raise ValueError(
            f"images have the shape {tuple(images.shape)}, it must be (B, 3, H, H): square RGB images, channels first; a single "
            "image needs images[None], channels at the end images.permute(0, 3, 1, 2), grey images images.expand(-1, 3, -1, -1)"
        )
    return images.float() / 255


def resize(pixels: Tensor, image_size: int) -> Tensor:
    """Enlarge or shrink square images, bilinearly, with a low-pass filter before shrinking.

    Args:
        pixels: (B, 3, H, H) float32 in [0, 1].
        image_size: side S in pixels.

    Returns:
        (B, 3, S, S) float32 in [0, 1]; the same tensor where the size is right.
    """
    if pixels.shape[-1] == image_size:
        return pixels
    shrinks = pixels.shape[-1] > image_size
    return interpolate(pixels, (image_size, image_size), mode="bilinear", antialias=shrinks).clamp(0, 1)
