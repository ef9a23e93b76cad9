"""Maps as colours: one perceptually uniform scale for all, laid over the cell, and its legend.

Equal steps of the value look like equal steps of the colour (van der Walt and Smith, SciPy 2015). Below a map the cell is grey:
beside the colours of a stain, from violet to yellow, no scale would be clear in every laboratory.
"""

import cv2
import matplotlib
import numpy as np
import numpy.typing as npt

from bcc_lightning.explanation.methods import Maps

SCALE = "viridis"

STRONGEST = 0.75
"""Opacity of a map's largest value over the cell; that of others follows the value, so that the cell stays visible."""

PEAKS = 0.01
"""Share of the pixels that `without_peaks` makes the largest value."""

Picture = npt.NDArray[np.float32]


def enlarged(values: npt.NDArray[np.float32], side: int, smooth: bool = True) -> Picture:
    """Resize an image (S, S, 3), or a map (S, S), to a side in pixels: smoothly, or so that its pixels can be seen."""
    method = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST_EXACT
    return np.asarray(cv2.resize(np.ascontiguousarray(values), (side, side), interpolation=method), np.float32)


def coloured(values: Maps) -> Picture:
    """Colour values in [0, 1] of any shape: (..., 3) float32 in [0, 1]."""
    return np.asarray(matplotlib.colormaps[SCALE](values)[..., :3], np.float32)


def overlaid(image: Picture, values: Maps) -> Picture:
    """Lay a map (S, S) in [0, 1] over the grey image (P, P, 3) in [0, 1] of any size: (P, P, 3)."""
    heat = enlarged(values, len(image))
    opacity = STRONGEST * heat[..., None]
    return np.asarray((1 - opacity) * image.mean(axis=2, keepdims=True) + opacity * coloured(heat), np.float32)


def without_peaks(values: Maps) -> Maps:
    """Scale a map (S, S) of single pixels so that its largest hundredth is 1: the others would hardly be seen beside a peak."""
    top = float(np.quantile(values, 1 - PEAKS))
    return np.minimum(values / top, 1) if top > 0 else values


def legend(width: int, height: int) -> Picture:
    """Draw the scale from 0, on the left, to 1: (height, width, 3)."""
    return coloured(np.tile(np.linspace(0, 1, width, dtype=np.float32), (height, 1)))
