"""Comparing small pictures in all eight orientations that a turn by 90 degrees or a flip can give them."""

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt
from scipy.fft import dctn

from bcc_lightning.transforms.square import WAYS, lay

SIDE = 32
"""Side at which pictures are compared: below it, cells begin to look alike; above it, recompression begins to matter."""

FREQUENCIES = 6
ORIENTATIONS = (
    "as it is",
    "turned by 90°",
    "turned by 180°",
    "turned by 270°",
    "flipped left to right",
    "flipped left to right and turned by 90°",
    "flipped top to bottom",
    "flipped left to right and turned by 270°",
)
"""What was done to the second picture of a pair, counter-clockwise; in the order of `oriented`."""

FLATTEST = 2.0
"""Contrast in grey levels below which a picture is taken for an even area, whose noise is not compared."""

FARTHEST_COLOUR = 10.0
"""Grey levels by which the mean colours of two copies may differ; recompression changes them by less than 2."""

BATCH = 2048

Pictures = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float32]


def reduce(thumbnails: Pictures) -> Pictures:
    """Bring (N, S, S, 3) uint8 to (N, SIDE, SIDE, 3)."""
    small = np.empty((len(thumbnails), SIDE, SIDE, 3), np.uint8)
    for position, picture in enumerate(thumbnails):
        small[position] = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return small


def invariants(pictures: Pictures) -> Values:
    """Describe pictures by numbers that no turn or flip changes.

    A flip changes only signs of the cosine transform's coefficients, a turn by 90 degrees also swaps rows with columns. So the
    larger and the smaller absolute value of each pair (u, v), (v, u) stay as they are.

    Args:
        pictures: (N, SIDE, SIDE, 3) uint8.

    Returns:
        (N, 126) float32 of length 1; zeros for an even area.
    """
    rows, columns = np.triu_indices(FREQUENCIES)
    parts = []
    for start in range(0, len(pictures), BATCH):
        batch = pictures[start : start + BATCH].astype(np.float32)
        waves = np.abs(dctn(batch, axes=(1, 2), norm="ortho")[:, :FREQUENCIES, :FREQUENCIES])
        waves[:, 0, 0] = 0
        upper, lower = waves[:, rows, columns], waves[:, columns, rows]
        parts.append(np.concatenate([np.maximum(upper, lower), np.minimum(upper, lower)], axis=1).reshape(len(batch), -1))
    features = np.concatenate(parts).astype(np.float32)
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(length, FLATTEST * SIDE), np.float32)


def oriented(pictures: Pictures) -> Iterator[Pictures]:
    """Yield images (N, S, S, 3) in the eight ways of `lay`, which `ORIENTATIONS` describes."""
    return (lay(pictures, way) for way in range(WAYS))


def similarity(first: Pictures, second: Pictures) -> tuple[Values, npt.NDArray[np.int64]]:
    """Compare pictures pair by pair at pixel level, in the best of the eight orientations.

    Args:
        first: (N, SIDE, SIDE, 3) uint8.
        second: likewise.

    Returns:
        (N,) float32 correlation of the pixels of all colours, 0 where the mean colours differ; and (N,) int64, index into
        `ORIENTATIONS`: what turns the first picture into the second.
    """
    best, which = np.zeros(len(first), np.float32), np.zeros(len(first), np.int64)
    for start in range(0, len(first), BATCH):
        part = slice(start, start + BATCH)
        target = unit(second[part])
        scores = np.stack([np.einsum("ij,ij->i", unit(turned), target) for turned in oriented(first[part])])
        which[part] = scores.argmax(axis=0)
        best[part] = scores.max(axis=0) * same_colour(first[part], second[part])
    best[np.all([even(first), even(second)], axis=0) & same_colour(first, second)] = 1.0
    return best, which


def unit(pictures: Pictures) -> Values:
    """Remove the mean and scale to length 1: (N, S * S * 3) float32; even areas stay near 0."""
    flat = pictures.reshape(len(pictures), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    shortest = np.float32(FLATTEST * np.sqrt(flat.shape[1]))
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), shortest), np.float32)


def even(pictures: Pictures) -> npt.NDArray[np.bool_]:
    """Tell which pictures are one even area: (N,) bool."""
    return np.asarray(pictures.std(axis=(1, 2)).max(axis=1) < FLATTEST)


def same_colour(first: Pictures, second: Pictures) -> npt.NDArray[np.bool_]:
    """Tell which pairs agree in mean colour: (N,) bool."""
    difference = first.mean(axis=(1, 2)) - second.mean(axis=(1, 2))
    return np.asarray(np.abs(difference).max(axis=1) <= FARTHEST_COLOUR)
