"""Comparison of small images in all eight orientations that rotations by 90 degrees and flips produce."""

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt
from scipy.fft import dctn

from bcc_lightning.transforms.square import WAYS, lay

SIDE = 32
"""Side in pixels for comparisons: at smaller sides different cells look alike, at larger ones recompression matters."""

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
"""Orientation of the second image of a pair, rotations counter-clockwise; in the order of `oriented`."""

FLATTEST = 2.0
"""Contrast in grey levels below which an image counts as a uniform area, whose noise is not compared."""

FARTHEST_COLOUR = 10.0
"""Grey levels by which the mean colours of two copies may differ; recompression changes them by less than 2."""

BATCH = 2048

Images = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float32]


def reduce(thumbnails: Images) -> Images:
    """Resize (N, S, S, 3) uint8 to (N, SIDE, SIDE, 3)."""
    small = np.empty((len(thumbnails), SIDE, SIDE, 3), np.uint8)
    for position, image in enumerate(thumbnails):
        small[position] = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return small


def invariants(images: Images) -> Values:
    """Describe images by features that no rotation or flip changes.

    A flip changes only signs of the cosine transform's coefficients; a rotation by 90 degrees also swaps rows and columns. So the
    larger and the smaller absolute value of each pair (u, v), (v, u) are invariant.

    Args:
        images: (N, SIDE, SIDE, 3) uint8.

    Returns:
        (N, 126) float32 of length 1; zeros for a uniform area.
    """
    rows, columns = np.triu_indices(FREQUENCIES)
    parts = []
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH].astype(np.float32)
        waves = np.abs(dctn(batch, axes=(1, 2), norm="ortho")[:, :FREQUENCIES, :FREQUENCIES])
        waves[:, 0, 0] = 0
        upper, lower = waves[:, rows, columns], waves[:, columns, rows]
        parts.append(np.concatenate([np.maximum(upper, lower), np.minimum(upper, lower)], axis=1).reshape(len(batch), -1))
    features = np.concatenate(parts).astype(np.float32)
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(length, FLATTEST * SIDE), np.float32)


def oriented(images: Images) -> Iterator[Images]:
    """Yield images (N, S, S, 3) in the eight ways of `lay`, which `ORIENTATIONS` describes."""
    return (lay(images, way) for way in range(WAYS))


def similarity(first: Images, second: Images) -> tuple[Values, npt.NDArray[np.int64]]:
    """Compare images pair by pair at pixel level, in the best of the eight orientations.

    Args:
        first: (N, SIDE, SIDE, 3) uint8.
        second: likewise.

    Returns:
        (N,) float32 correlation of the pixels of all colours, 0 if the mean colours differ; and (N,) int64, index into
        `ORIENTATIONS`: the change from the first image to the second.
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


def unit(images: Images) -> Values:
    """Subtract the mean and scale to length 1: (N, S * S * 3) float32; uniform areas stay near 0."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    shortest = np.float32(FLATTEST * np.sqrt(flat.shape[1]))
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), shortest), np.float32)


def even(images: Images) -> npt.NDArray[np.bool_]:
    """Return which images are a uniform area: (N,) bool."""
    return np.asarray(images.std(axis=(1, 2)).max(axis=1) < FLATTEST)


def same_colour(first: Images, second: Images) -> npt.NDArray[np.bool_]:
    """Return which pairs agree in mean colour: (N,) bool."""
    difference = first.mean(axis=(1, 2)) - second.mean(axis=(1, 2))
    return np.asarray(np.abs(difference).max(axis=1) <= FARTHEST_COLOUR)
