"""Faithfulness by perturbation: a map is right if the network needs the pixels that the map calls important.

ROAD: Rong et al., ICML 2022 (arXiv 2202.00449), as grad-cam has it. Deletion and insertion: Petsiuk et al., BMVC 2018 (arXiv
1806.07421). The scores of cells are returned one by one, so that methods can be compared cell by cell.
"""

import cv2
import numpy as np
import numpy.typing as npt
import torch
from pytorch_grad_cam.metrics.road import ROADCombined
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget
from torch import Tensor, nn

from bcc_lightning.explanation.methods import Maps

CHUNK = 32
STEPS = 16
"""Steps in which all pixels of an image are deleted or inserted."""

PERCENTILES = [20, 40, 60, 80]
"""Shares of the pixels that ROAD removes, in percent."""

BLUR = 1 / 6
"""Standard deviation of the blur that replaces deleted pixels, in sides of the image."""

Scores = npt.NDArray[np.float64]


def ranked(maps: Maps) -> Maps:
    """Replace each map's values by their ranks, so that each share of the pixels can be removed exactly.

    Many maps are 0 in half of the image. Pixels with equal values are put into a random order, the same for all methods.

    Args:
        maps: (N, S, S) float32.

    Returns:
        (N, S, S) float32 in [0, 1): 0 is the least important pixel of the map; no value occurs twice in a map.
    """
    count, pixels = len(maps), maps[0].size
    draws = np.random.default_rng(0).random((count, pixels))
    order = np.lexsort((draws, maps.reshape(count, pixels)), axis=-1)
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(pixels)[None], axis=-1)
    return np.asarray(ranks / pixels, np.float32).reshape(maps.shape)


def road(network: nn.Module, pixels: Tensor, classes: Tensor, maps: Maps) -> Scores:
    """Score maps by ROAD: how much more the class needs the most important pixels than the least important ones.

    A share of the pixels is replaced by the mean of their neighbours, with a little noise. The score is half the difference in
    probability between removing the least and the most important ones, averaged over `PERCENTILES`.

    Args:
        network: network in evaluation mode.
        pixels: (N, 3, S, S) float32 in [0, 1].
        classes: (N,) int64, classes that the maps explain.
        maps: (N, S, S) float32.

    Returns:
        (N,) in [-0.5, 0.5]; higher is better, 0 is chance.
    """
    metric, ranks, found = ROADCombined(PERCENTILES), ranked(maps), []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # the noise of the replaced pixels
        for rows in np.array_split(np.arange(len(pixels)), -(-len(pixels) // CHUNK)):
            targets = [ClassifierOutputSoftmaxTarget(int(label)) for label in classes[rows]]
            found.append(metric(pixels[rows], ranks[rows], targets, network))
    return np.concatenate(found).astype(np.float64)


def deletion_and_insertion(network: nn.Module, pixels: Tensor, classes: Tensor, maps: Maps) -> tuple[Scores, Scores]:
    """Score maps by blurring the most important pixels first, and by sharpening them first in the blurred image.

    Args:
        network: as the other three, see `road`.
        pixels: the images.
        classes: classes that the maps explain.
        maps: the maps.

    Returns:
        Areas under the curves of the class's probability, (N,) in [0, 1] each: deletion, lower is better; insertion, higher is
        better.
    """
    blurred, importance = blur(pixels), torch.from_numpy(ranked(maps))[:, None].to(pixels)
    deleted, inserted = [], []
    for step in range(STEPS + 1):
        chosen = importance >= 1 - step / STEPS
        deleted.append(probability(network, torch.where(chosen, blurred, pixels), classes))
        inserted.append(probability(network, torch.where(chosen, pixels, blurred), classes))
    return tuple(np.trapezoid(np.stack(curve), dx=1 / STEPS, axis=0) for curve in (deleted, inserted))  # type: ignore[return-value]


def blur(pixels: Tensor) -> Tensor:
    """Blur images (N, 3, S, S) so much that only their colours are left."""
    sigma = pixels.shape[-1] * BLUR
    images = pixels.permute(0, 2, 3, 1).cpu().numpy()
    blurred = np.stack([cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT) for image in images])
    return torch.from_numpy(blurred).permute(0, 3, 1, 2).to(pixels)


@torch.inference_mode()
def probability(network: nn.Module, pixels: Tensor, classes: Tensor) -> Scores:
    """Return the probability of one class for each image: (N,) float64."""
    found = [network(some).float().softmax(dim=1).cpu() for some in torch.split(pixels, CHUNK)]
    return torch.cat(found).gather(1, classes.cpu()[:, None])[:, 0].double().numpy()
