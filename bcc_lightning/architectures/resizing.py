"""Bringing images to the size that a network sees."""

from torch import Tensor
from torch.nn.functional import interpolate


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
