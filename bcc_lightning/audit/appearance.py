"""Cheap features of single cells: small patterns at two scales and colours, counted in rings around the centre.

The patterns are learnt without labels: patches of the images are whitened and clustered (Coates, Ng and Lee, An analysis of
single-layer networks in unsupervised feature learning, AISTATS 2011). Counting in rings, not in quadrants, makes the features
nearly independent of how the cell is rotated.
"""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt
import torch
from sklearn.decomposition import PCA
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

from bcc_lightning.audit.orientation import Images

Features = npt.NDArray[np.float32]

PATCH = 7
FINE, COARSE = (48, 320, 2), (24, 240, 1)
"""Side of the image, number of patterns, step between patches. The fine scale covers granules, the coarse one the nucleus."""

RINGS = (0.0, 0.3, 0.6, 0.9, 2.0)
COLOUR_RINGS = (0.0, 0.35, 0.7, 2.0)
"""Bounds of the rings as shares of half a side: nucleus, cytoplasm, rim, surroundings."""

LEVELS = 6
"""Levels per channel of the colour counts."""

SAMPLED_PATCHES = 40_000
CONTRAST_FLOOR = 10.0
WHITENING_FLOOR = 0.02
ROUNDS = 10
QUIETEST = 1.0
"""Response below which a pattern counts as absent."""

BATCH = 32


@dataclass(frozen=True)
class Patterns:
    """A dictionary of K patterns at one scale.

    Attributes:
        side: side of the image in which they are searched.
        step: step between patches.
        weight: (K, 3, PATCH, PATCH) float32.
        offset: (K,) float32.
    """

    side: int
    step: int
    weight: Tensor
    offset: Tensor


def describe(thumbnails: Images, seed: int = 0) -> Features:
    """Describe cells by the patterns and colours found in them.

    Args:
        thumbnails: (N, S, S, 3) uint8, with the side of `FINE`.
        seed: seed of the patches from which the patterns are made.

    Returns:
        (N, F) float32, square roots of densities, 0 or more.
    """
    rng = np.random.default_rng(seed)
    fine, coarse = (scale[1] * (len(RINGS) - 1) for scale in (FINE, COARSE))
    colours = LEVELS**3 * (len(COLOUR_RINGS) - 1)
    features = np.empty((len(thumbnails), fine + coarse + colours), np.float32)
    small = resized(thumbnails, COARSE[0])
    answer(thumbnails, find_patterns(thumbnails, *FINE[1:], rng), out=features[:, :fine])
    answer(small, find_patterns(small, *COARSE[1:], rng), out=features[:, fine : fine + coarse])
    count_colours(small, out=features[:, fine + coarse :])
    return np.asarray(np.sqrt(features, out=features))


def resized(images: Images, side: int) -> Images:
    """Shrink (N, S, S, 3) to (N, side, side, 3)."""
    return np.stack([np.asarray(cv2.resize(p, (side, side), interpolation=cv2.INTER_AREA), np.uint8) for p in images])


def find_patterns(images: Images, count: int, step: int, rng: np.random.Generator) -> Patterns:
    """Build a dictionary from random patches: contrast-normalised, whitened, clustered on the sphere."""
    patches = sample_patches(images, rng)
    centred = patches - patches.mean(axis=1, keepdims=True)
    normal = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + CONTRAST_FLOOR**2)
    mean = normal.mean(axis=0)
    spread, axes = np.linalg.eigh(np.cov(normal.T))
    whitening = ((axes / np.sqrt(np.maximum(spread, 0) + WHITENING_FLOOR)) @ axes.T).astype(np.float32)
    centres = spherical_means((normal - mean) @ whitening, count, rng)
    weight = (centres @ whitening).astype(np.float32)
    return Patterns(
        images.shape[1], step, torch.from_numpy(weight.reshape(count, 3, PATCH, PATCH)), torch.from_numpy(weight @ mean)
    )


def sample_patches(images: Images, rng: np.random.Generator) -> Features:
    """Cut random patches out of random images: (SAMPLED_PATCHES, 3 * PATCH * PATCH) float32."""
    side, reach = images.shape[1], np.arange(PATCH)
    image = rng.integers(0, len(images), (SAMPLED_PATCHES, 1, 1))
    row, column = rng.integers(0, side - PATCH + 1, (2, SAMPLED_PATCHES, 1, 1))
    patches = images[image, row + reach[:, None], column + reach]
    return np.asarray(patches.transpose(0, 3, 1, 2).reshape(SAMPLED_PATCHES, -1), np.float32)


def spherical_means(points: Features, count: int, rng: np.random.Generator) -> Features:
    """Cluster directions: (N, D) points to (count, D) centres of length 1."""
    points = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), np.float32(1e-6))
    centres = points[rng.choice(len(points), count, replace=False)]
    for _ in range(ROUNDS):
        nearest = (points @ centres.T).argmax(axis=1)
        total = np.zeros_like(centres)
        np.add.at(total, nearest, points)
        length = np.linalg.norm(total, axis=1, keepdims=True)
        centres = np.where(length > 0, total / np.maximum(length, np.float32(1e-6)), centres)
    return np.asarray(centres, np.float32)


@torch.inference_mode()
def answer(images: Images, patterns: Patterns, out: Features) -> None:
    """Write how much of each pattern is in each ring into `out`, (N, K * rings) float32.

    Normalising each patch before the product would take twenty times as long, so the product comes first and is corrected.
    """
    pooling = torch.from_numpy(ring_weights((patterns.side - PATCH) // patterns.step + 1, RINGS))
    weight = patterns.weight.contiguous(memory_format=torch.channels_last)
    total, offset = weight.sum((1, 2, 3)).view(1, -1, 1), (patterns.offset + QUIETEST).view(1, -1, 1)
    for start in range(0, len(images), BATCH):
        pixels = torch.from_numpy(images[start : start + BATCH]).permute(0, 3, 1, 2).float()
        mean = avg_pool2d(pixels.mean(1, keepdim=True), PATCH, patterns.step)
        square = avg_pool2d(pixels.square().mean(1, keepdim=True), PATCH, patterns.step)
        scale = torch.rsqrt((square - mean.square()).clamp_min(0) + CONTRAST_FLOOR**2).flatten(2)
        found = conv2d(pixels.contiguous(memory_format=torch.channels_last), weight, stride=patterns.step).flatten(2)
        found.addcmul_(mean.flatten(2), total, value=-1).mul_(scale).sub_(offset).relu_()
        out[start : start + BATCH] = (found @ pooling).flatten(1).numpy()


def ring_weights(side: int, bounds: tuple[float, ...]) -> Features:
    """Return the weights of a square's pixels in each ring: (side * side, rings) float32, columns sum to 1."""
    axis = (np.arange(side) - (side - 1) / 2) / (side / 2)
    radius = np.hypot(axis[:, None], axis).ravel()
    inside = [(radius >= low) & (radius < high) for low, high in pairwise(bounds)]
    weights = np.stack(inside, axis=1).astype(np.float32)
    return np.asarray(weights / weights.sum(axis=0), np.float32)


def count_colours(images: Images, out: Features) -> None:
    """Write the share of each colour in each ring into `out`, (N, rings * LEVELS ** 3) float32."""
    level = (images.astype(np.uint16) * LEVELS) >> 8
    code = (level @ np.array([LEVELS**2, LEVELS, 1], np.uint16)).reshape(len(images), -1)
    pooling = ring_weights(images.shape[1], COLOUR_RINGS)
    bins = LEVELS**3
    for position, colours in enumerate(code):
        for ring, weights in enumerate(pooling.T):
            out[position, ring * bins : (ring + 1) * bins] = np.bincount(colours, weights, minlength=bins)


FEWEST = 20
"""With fewer cells nothing can be called unusual."""

COMPONENTS = 40
KEPT = 0.85
"""Share of the cells that the components are fitted to; the rest may be anything without disturbing the fit."""

FITTING_ROUNDS = 3
SAMPLE = 6000
STEP = 1024
MAD_OF_A_NORMAL = 0.6745


def oddness(features: Features, seed: int = 0) -> npt.NDArray[np.float32]:
    """Measure how far each image is from what most images have in common.

    The images are described by their principal components; an image is odd if the components cannot express it, or only with
    extreme values. The components are fitted again to the least odd images, so that many copies of an image that is not a cell do
    not count as usual. The distance is logarithmic, in robust standard deviations.

    Args:
        features: (N, F) of cells without copies.
        seed: seed of the choice of cells for the fit.

    Returns:
        (N,) float32: 0 for a typical cell; a few of ten thousand real cells exceed 4. All zeros if there are too few cells.
    """
    if len(features) < FEWEST:
        return np.zeros(len(features), np.float32)
    rng = np.random.default_rng(seed)
    kept = np.arange(len(features))
    distance = np.zeros(len(features), np.float32)
    for _ in range(FITTING_ROUNDS):
        sample = rng.choice(kept, min(SAMPLE, len(kept)), replace=False)
        components = PCA(min(COMPONENTS, len(sample) // 4), random_state=seed).fit(features[sample])
        scores = components.transform(features)
        # Components are orthogonal: the squared residual is the squared length minus that of the scores.
        rest = squared_distance(features, components.mean_) - (scores**2).sum(axis=1)
        inside = (scores**2 / np.maximum(components.explained_variance_, 1e-12)).mean(axis=1)
        distance = rest / max(float(np.median(rest[kept])), 1e-12) + inside
        kept = np.flatnonzero(distance <= np.quantile(distance, KEPT))
    spread = np.log(np.maximum(distance, 1e-12))
    centre = np.median(spread)
    deviation = np.median(np.abs(spread - centre)) / MAD_OF_A_NORMAL
    return np.asarray((spread - centre) / max(deviation, 1e-6), np.float32)


def squared_distance(features: Features, centre: Features) -> npt.NDArray[np.float32]:
    """Compute the squared distances of (N, F) points from (F,): (N,), without a second array of their size."""
    parts = [((features[start : start + STEP] - centre) ** 2).sum(axis=1) for start in range(0, len(features), STEP)]
    return np.concatenate(parts)
