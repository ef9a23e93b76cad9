"""How much of an image file is shown: its central square, or as many micrometres of the smear as the training images show.

Two laboratories photograph a cell at different magnifications, and a detector cuts small cells out more tightly than large ones.
Where the size of a pixel is known, every image shows the same field of view, so that a lymphocyte is smaller than a monocyte and
as large as it was in training.
"""

import hashlib
import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from bcc_lightning.datasets.decoding import LARGEST
from bcc_lightning.errors import UserError

Pixels = npt.NDArray[np.uint8]

FIELD_OF_VIEW = "data.field_of_view"
"""Under which a run records the side of the field of view in micrometres."""

MOST_ACROSS = math.isqrt(LARGEST)
"""Pixels that a field of view has across at most: as many as the largest image that is read."""


ODD = 4
"""Where the field of view and an image differ by such a factor, the size of the pixels is doubted. Crops that fit a cell tightly
rightly show a third of what others show."""


def fit_square(image: Pixels, side: int, crop: int | None = None) -> Pixels:
    """Crop the central square and resize it.

    Args:
        image: (H, W, 3) uint8.
        side: S in pixels; larger images are shrunk by area averaging, smaller ones enlarged bilinearly.
        crop: side of the square in pixels, at most the image's short side, which is the default.

    Returns:
        (S, S, 3) uint8.
    """
    image = central_square(image, crop)
    square = len(image)
    if square == side:
        return image
    method = cv2.INTER_AREA if square > side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (side, side), interpolation=method), np.uint8)


def central_square(image: Pixels, crop: int | None = None) -> Pixels:
    """Crop the central square of an image (H, W, 3), or of a mask (H, W); `crop` as in `fit_square`."""
    height, width = image.shape[:2]
    square = min(height, width, crop or height)
    top, left = (height - square) // 2, (width - square) // 2
    return image[top : top + square, left : left + square]


def mirrored(image: Pixels, side: int) -> Pixels:
    """Continue an image (H, W, 3) beyond its borders by its mirror image, until both sides have so many pixels."""
    tall, wide = (max(side - length, 0) for length in image.shape[:2])
    if not tall and not wide:
        return image
    borders = (tall // 2, tall - tall // 2, wide // 2, wide - wide // 2)
    return np.asarray(cv2.copyMakeBorder(image, *borders, borderType=cv2.BORDER_REFLECT_101), np.uint8)


def show_field(image: Pixels, side: int, field: int) -> Pixels:
    """Show the central square of so many pixels, mirrored where the image is smaller, at a side: (S, S, 3)."""
    return fit_square(mirrored(image, field), side, field)


@dataclass(frozen=True)
class Magnification:
    """How large the pixels of images are, and how much of the smear each image shows.

    Attributes:
        pixel_sizes: (N,) float64, micrometres that a pixel of each file covers.
        field: side in micrometres of the square that is shown; None for that of the file that shows most.
    """

    pixel_sizes: npt.NDArray[np.float64]
    field: float | None = None

    def field_of(self, sides: npt.NDArray[np.int64]) -> float:
        """Return the side in micrometres of the square that is shown, given the sides of the files in pixels, (N,)."""
        return self.field or float((sides * self.pixel_sizes).max())

    def crops(self, sides: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the side in pixels of the square that is shown of each file: (N,); `sides` as in `field_of`."""
        field = self.field_of(sides)
        sizes, which = np.unique(self.pixel_sizes, return_inverse=True)
        return np.array([pixels_across(field, size) for size in sizes.tolist()], np.int64)[which]

    def __str__(self) -> str:
        """Identify it, for the key of a cache."""
        return f"{hashlib.sha256(self.pixel_sizes.tobytes()).hexdigest()} {self.field}"


def odd_frames(crops: npt.NDArray[np.int64], sides: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Find the images that are far smaller or far larger than the square that is shown of them.

    Args:
        crops: (N,) side of the square in pixels.
        sides: (N,) short side of the image in pixels.
    """
    return (crops > ODD * sides) | (ODD * crops < sides)


def odd_notice(odd: int, images: int, field: float) -> str:
    """Doubt the size of the pixels where most images are odd; empty if they are not."""
    if 2 * odd <= images:
        return ""
    return (
        f"{odd:,} of {images:,} images are far smaller or far larger than the field of view of the training, {field:.4g} "
        "micrometres, so that they are mainly mirrored or mainly cut off: is the size of their pixels right?"
    )


def pixels_across(field: float, pixel_size: float) -> int:
    """Return how many pixels a field of view has across, at least 1; both in micrometres.

    Raises:
        UserError: there are more than a single cell can have.
    """
    across = max(round(field / pixel_size), 1)
    if across > MOST_ACROSS:
        raise UserError(
            f"pixels of {pixel_size:g} micrometres make the field of view of the training, {field:g} micrometres, {across:,} "
            f"pixels wide, more than {MOST_ACROSS:,}; correct the size of the pixels, here or in the training"
        )
    return across
