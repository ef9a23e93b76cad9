"""Operations of RandAugment and AugMix that no library has with the same meaning, or only much slower.

All take uint8 RGB images (H, W, 3) and return new ones of the same shape. An operation on single levels is a table of 256 levels.
Equalising and fading are functions of Albumentations, see `rand_augment.py`. Shearing, shifting and turning use OpenCV's warp
with a mirrored border, which torchvision and Pillow lack; Albumentations' `warp_affine` makes the same call.
"""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
LEVELS = np.arange(256, dtype=np.float32)


def apply_levels(image: Pixels, levels: npt.NDArray[np.float32]) -> Pixels:
    """Replace each level by another.

    Args:
        image: (H, W, 3) uint8.
        levels: (256,) for all channels or (256, 3), rounded and clipped to 0 to 255.
    """
    table = np.rint(levels).clip(0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, np.ascontiguousarray(table.reshape(1, 256, -1))), np.uint8)


def auto_contrast(image: Pixels) -> Pixels:
    """Stretch each channel from its darkest to its brightest pixel over 0 to 255; a channel of one level is kept.

    Levels are rounded to the nearest. Pillow and torchvision cut fractions off; Albumentations' differ by up to 3 levels.
    """
    low, high = np.array([cv2.minMaxLoc(channel)[:2] for channel in cv2.split(image)], np.float32).T
    stretched = (LEVELS[:, None] - low) * (255 / np.maximum(high - low, 1))
    return apply_levels(image, np.where(high > low, stretched, LEVELS[:, None]))


def posterize(image: Pixels, bits: int) -> Pixels:
    """Keep the highest bits, 1 to 8, of each level.

    The result is Pillow's, torchvision's and Albumentations'; theirs take at least five times as long at 28 pixels.
    """
    return image & np.uint8(256 - 2 ** (8 - bits))


def solarize(image: Pixels, threshold: float, addition: float = 0.0) -> Pixels:
    """Add to all levels, then invert those of at least the threshold.

    Libraries invert without adding, and take more than twice as long at 28 pixels.
    """
    raised = (LEVELS + np.float32(addition)).clip(0, 255)
    return apply_levels(image, np.where(raised < threshold, raised, 255 - raised))


def contrast(image: Pixels, factor: float) -> Pixels:
    """Multiply the distance of each level from its channel's mean; libraries use the mean of the grey image for all channels."""
    mean = np.array(cv2.mean(image)[:3], np.float32)
    return apply_levels(image, (LEVELS[:, None] - mean) * np.float32(factor) + mean)


def brightness(image: Pixels, change: float) -> Pixels:
    """Add to all levels; `change` is a share of 255.

    torchvision and Pillow multiply instead; Albumentations' `add` cuts the fraction of the change off.
    """
    return apply_levels(image, LEVELS + np.float32(255 * change))


def shear(image: Pixels, along_x: float, along_y: float) -> Pixels:
    """Shift rows or columns in proportion to their distance from the centre; both arguments are tangents of angles."""
    height, width = image.shape[:2]
    offset = -along_x * (height - 1) / 2, -along_y * (width - 1) / 2
    return _warp(image, np.array([[1, along_x, offset[0]], [along_y, 1, offset[1]]]))


def translate(image: Pixels, along_x: float, along_y: float) -> Pixels:
    """Shift right and down by shares of width and height."""
    height, width = image.shape[:2]
    return _warp(image, np.array([[1, 0, along_x * width], [0, 1, along_y * height]]))


def rotate(image: Pixels, degrees: float) -> Pixels:
    """Turn counter-clockwise about the centre."""
    height, width = image.shape[:2]
    return _warp(image, cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0))


def _warp(image: Pixels, matrix: npt.NDArray[Any]) -> Pixels:
    size = image.shape[1], image.shape[0]
    return np.asarray(cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.uint8)
