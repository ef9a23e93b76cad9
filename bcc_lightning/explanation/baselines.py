"""Maps that know nothing of the network. A method that scores no better than these explains nothing."""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor

from bcc_lightning.explanation.methods import Maps, stretch

CENTRE_WIDTH = 0.25
"""Standard deviation of the Gaussian in the centre, in sides of the image: cells stand in the middle of their images."""


def centre(pixels: Tensor) -> Maps:
    """Draw a Gaussian in the middle of each image: (N, 3, S, S) to (N, S, S) float32 in [0, 1]."""
    side = pixels.shape[-1]
    at = (np.arange(side) + 0.5) / side - 0.5
    line = np.exp(-0.5 * (at / CENTRE_WIDTH) ** 2)
    return stretch(np.repeat(np.outer(line, line)[None], len(pixels), axis=0).astype(np.float32))


def edges(pixels: Tensor) -> Maps:
    """Compute the magnitude of the grey image's gradient (Sobel): (N, 3, S, S) in [0, 1] to (N, S, S) float32 in [0, 1]."""
    grey = pixels.mean(dim=1).cpu().numpy()
    found = [np.hypot(cv2.Sobel(image, cv2.CV_32F, 1, 0), cv2.Sobel(image, cv2.CV_32F, 0, 1)) for image in grey]
    return stretch(np.asarray(found, np.float32))


def random(pixels: Tensor) -> Maps:
    """Draw each pixel of a map by itself: (N, 3, S, S) to (N, S, S) float32 in [0, 1]."""
    drawn = torch.rand((len(pixels), *pixels.shape[2:]), generator=torch.Generator().manual_seed(0))
    return stretch(drawn.numpy())


BASELINES: dict[str, Callable[[Tensor], Maps]] = {"centre": centre, "edges": edges, "random": random}
