"""Differences between smears that come from staining and from the microscope: amounts of the two stains, and focus.

Each unit of stain weakens the transmitted light by the same factor (Beer and Lambert). Optical density, the negative logarithm
of the transmitted light, is therefore a sum over stains. Albumentations' HEStain also works with optical density, but with the
stains of tissue sections (haematoxylin and eosin), and takes more than twenty times as long.
"""

import math
from typing import Any

import albumentations as A  # noqa: N812 - the library's own spelling
import cv2
import numpy as np
import numpy.typing as npt

from bcc_lightning.transforms.operations import Pixels
from bcc_lightning.transforms.parameters import ordered_pair, refuse_outside

GIEMSA = np.array([[0.834750, 0.513556, 0.196330], [0.092789, 0.954111, 0.283111]])
"""Optical density in red, green and blue light of one unit of methylene blue (its azures stain nuclei) and of eosin (granules,
red cells): G. Landini's Giemsa vectors for Ruifrok's colour deconvolution. The pixels of PBC's smears lie between these two."""

DENSITY = -np.log(np.maximum(np.arange(256), 1) / 255).astype(np.float32)
"""Optical density of each level; black counts as level 1."""

Matrix = npt.NDArray[np.float64]


def stain_matrix() -> Matrix:
    """Return the densities of blue, red and a residual at right angles to both: (3, 3), rows of length 1."""
    blue, red = GIEMSA / np.linalg.norm(GIEMSA, axis=1, keepdims=True)
    residual = np.cross(blue, red)
    return np.stack([blue, red, residual / np.linalg.norm(residual)])


STAINS = stain_matrix()


def change_stains(image: Pixels, blue: float, red: float) -> Pixels:
    """Multiply the amounts of the two stains; white stays white, and factors of 1 change no level by more than 1.

    Args:
        image: (H, W, 3) uint8 RGB.
        blue: factor of methylene blue and its azures.
        red: factor of eosin.
    """
    # OpenCV multiplies columns of densities: unmix, scale, mix again.
    change = (np.linalg.inv(STAINS) @ np.diag([blue, red, 1.0]) @ STAINS).T
    density = cv2.transform(cv2.LUT(image, DENSITY), change)
    light = cv2.exp(-density)
    return np.asarray(cv2.convertScaleAbs(light, alpha=255), np.uint8)


class StainJitter(A.ImageOnlyTransform):  # type: ignore[misc] # Albumentations has no types
    """Stain more or less strongly, independently for each of the two stains.

    Args:
        blue: smallest and largest factor of the blue stain (nuclei), in [0.1, 10].
        red: smallest and largest factor of the red stain (granules, red cells), in [0.1, 10].
        p: share of images to which it is applied.
    """

    def __init__(self, blue: tuple[float, float] = (0.7, 1.4), red: tuple[float, float] = (0.7, 1.4), p: float = 0.5) -> None:
        refuse_outside(0, 1, p=p)
        super().__init__(p=p)
        self.blue = ordered_pair("blue", blue, 0.1, 10)
        self.red = ordered_pair("red", red, 0.1, 10)

    def get_params(self) -> dict[str, Any]:
        """Draw the two factors, uniformly in their logarithm: halving is as frequent as doubling."""
        return {name: math.exp(self.py_random.uniform(*map(math.log, getattr(self, name)))) for name in ("blue", "red")}

    def apply(self, img: Pixels, blue: float, red: float, **params: Any) -> Pixels:  # noqa: ANN401
        """Change the amounts of stain."""
        return change_stains(img, blue, red)


class SlightDefocus(A.ImageOnlyTransform):  # type: ignore[misc] # Albumentations has no types
    """Blur like a slide that is slightly out of focus, in proportion to the image: the same at 28 and at 224 pixels.

    Args:
        radius: smallest and largest standard deviation of the blur, as shares of the shorter side, in [0, 0.1].
        p: share of images to which it is applied.
    """

    def __init__(self, radius: tuple[float, float] = (0.0, 0.012), p: float = 0.5) -> None:
        refuse_outside(0, 1, p=p)
        super().__init__(p=p)
        self.radius = ordered_pair("radius", radius, 0, 0.1)

    def get_params(self) -> dict[str, Any]:
        """Draw the standard deviation of the blur."""
        return {"radius": self.py_random.uniform(*self.radius)}

    def apply(self, img: Pixels, radius: float, **params: Any) -> Pixels:  # noqa: ANN401
        """Blur the image."""
        sigma = max(radius * min(img.shape[:2]), 1e-3)
        return np.asarray(cv2.GaussianBlur(img, (0, 0), sigma, borderType=cv2.BORDER_REFLECT), np.uint8)
