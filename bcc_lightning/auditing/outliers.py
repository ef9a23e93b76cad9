"""Pictures that are unlike all others: drawings, photographs, empty fields, stain accidents."""

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA

from bcc_lightning.auditing.appearance import Features

FEWEST = 20
"""Cells below which nothing can be called unusual."""

COMPONENTS = 40
KEPT = 0.85
"""Share of the cells that the description is fitted to; the rest may be anything without disturbing it."""

ROUNDS = 3
SAMPLE = 6000
BATCH = 1024
MAD_OF_A_NORMAL = 0.6745


def oddness(features: Features, seed: int = 0) -> npt.NDArray[np.float32]:
    """Measure how far each picture lies from what most pictures have in common.

    The pictures are described by their principal components; odd is what the components cannot express, or only with extreme
    values. The components are fitted again to the least odd part, so that a pile of alien pictures does not count as usual.
    The distance is taken in logarithms and in robust standard deviations.

    Args:
        features: (N, F) of cells without copies.
        seed: seed of the cells that the components are fitted to.

    Returns:
        (N,) float32: 0 for a typical cell; a few of ten thousand real cells exceed 4. Zeros where there are too few cells.
    """
    if len(features) < FEWEST:
        return np.zeros(len(features), np.float32)
    rng = np.random.default_rng(seed)
    kept = np.arange(len(features))
    distance = np.zeros(len(features), np.float32)
    for _ in range(ROUNDS):
        sample = rng.choice(kept, min(SAMPLE, len(kept)), replace=False)
        components = PCA(min(COMPONENTS, len(sample) // 4), random_state=seed).fit(features[sample])
        scores = components.transform(features)
        # Components are perpendicular: what they leave over is the squared length less that of the scores.
        rest = squared_distance(features, components.mean_) - (scores**2).sum(axis=1)
        inside = (scores**2 / np.maximum(components.explained_variance_, 1e-12)).mean(axis=1)
        distance = rest / max(float(np.median(rest[kept])), 1e-12) + inside
        kept = np.flatnonzero(distance <= np.quantile(distance, KEPT))
    spread = np.log(np.maximum(distance, 1e-12))
    centre = np.median(spread)
    deviation = np.median(np.abs(spread - centre)) / MAD_OF_A_NORMAL
    return np.asarray((spread - centre) / max(deviation, 1e-6), np.float32)


def squared_distance(features: Features, centre: Features) -> npt.NDArray[np.float32]:
    """Compute the squared distance of (N, F) points from (F,): (N,), without a second array of their size."""
    parts = [((features[start : start + BATCH] - centre) ** 2).sum(axis=1) for start in range(0, len(features), BATCH)]
    return np.concatenate(parts)
