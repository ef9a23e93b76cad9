"""How large nuclei are in the images of a data set, by which the magnifications of two laboratories can be compared."""

import cv2
import numpy as np
import numpy.typing as npt

from bcc_lightning.datasets.cells import CellImages
from bcc_lightning.transforms.stain import DENSITY, STAINS

UNMIX = np.linalg.inv(STAINS)[:, 0].astype(np.float32)
"""What optical densities in red, green and blue are multiplied by to get the amount of the blue stain."""

NUCLEUS = "data.nucleus_diameter"
"""Under which a run records `median_nucleus` of its training cells, a share of the side."""

MOST_CELLS = 500
"""Cells that are measured."""

LEVELS = 255


def nucleus_share(image: npt.NDArray[np.uint8]) -> float:
    """Estimate the diameter of a nucleus: that of a circle of the area with much of the blue stain, by Otsu's threshold.

    Args:
        image: (S, S, 3) uint8 RGB, a white cell in the middle.

    Returns:
        The diameter as a share of the side.
    """
    side = image.shape[0]
    blue = np.asarray(cv2.GaussianBlur(cv2.LUT(image, DENSITY) @ UNMIX, (0, 0), max(0.012 * side, 0.3)))
    low, high = np.quantile(blue, [0.02, 0.99])
    levels = np.clip((blue - low) / max(high - low, 1e-6) * LEVELS, 0, LEVELS).astype(np.uint8)
    threshold, _ = cv2.threshold(levels, 0, LEVELS, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return float(np.sqrt(4 * (levels > threshold).mean() / np.pi))


def median_nucleus(images: npt.NDArray[np.uint8]) -> float:
    """Return the median of `nucleus_share` over images (N, S, S, 3), at most `MOST_CELLS` of them, evenly spread."""
    return float(np.median([nucleus_share(image) for image in images[spread(len(images))]]))


def nucleus_of(cells: CellImages) -> float:
    """Return `median_nucleus` of cells, reading no more than are measured."""
    return median_nucleus(cells.take(spread(len(cells))))


def spread(count: int) -> npt.NDArray[np.int64]:
    """Choose at most `MOST_CELLS` of so many cells, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST_CELLS)).astype(np.int64))
