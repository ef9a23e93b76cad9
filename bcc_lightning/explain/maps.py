"""Maps over the image: Grad-CAM for each branch and combined, and the plain gradient.

Grad-CAM: Selvaraju et al. 2017, arXiv 1610.02391, by the package grad-cam. Saliency: Simonyan et al. 2013, arXiv 1312.6034.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bcc_lightning.architectures.cam_target import CamTarget
from bcc_lightning.modules.base import CellClassifier

Maps = npt.NDArray[np.float32]

CHUNK = 8
"""Images explained at once: gradients of a whole sheet at 224 pixels would not fit small devices."""


@dataclass(frozen=True)
class Explanations:
    """Maps of N images with S pixels a side.

    Attributes:
        pixels: (N, S, S, 3) float32 in [0, 1], what the network saw.
        branches: name of each branch to its Grad-CAM maps (N, S, S) float32 in [0, 1], for the predicted class.
        saliency: (N, S, S) float32 in [0, 1], how much the loss of the true class changes with each pixel.
    """

    pixels: Maps
    branches: dict[str, Maps]
    saliency: Maps

    @property
    def combined(self) -> Maps:
        """Mean of the branches' maps, each stretched to 1: (N, S, S)."""
        return stretch(np.mean(list(self.branches.values()), axis=0))


def explain_images(module: CellClassifier, images: Tensor, labels: Tensor) -> Explanations:
    """Explain images.

    Args:
        module: a trained module.
        images: (N, 3, H, W) uint8.
        labels: (N,) int64, true classes.
    """
    parts = [explain_chunk(module, i, t) for i, t in zip(torch.split(images, CHUNK), torch.split(labels, CHUNK), strict=True)]
    return Explanations(
        np.concatenate([part.pixels for part in parts]),
        {name: np.concatenate([part.branches[name] for part in parts]) for name in parts[0].branches},
        np.concatenate([part.saliency for part in parts]),
    )


def explain_chunk(module: CellClassifier, images: Tensor, labels: Tensor) -> Explanations:
    """Explain a few images at once; arguments as `explain_images`."""
    with gradients_on(module):
        pixels = module.prepare(images.to(module.device)).clone()
        predicted = module.network(pixels).argmax(dim=1)
        branches = {target.name: grad_cam(module.network, target, pixels, predicted) for target in module.cam_targets()}
        saliency = vanilla_gradient(module.network, pixels, labels.to(module.device).clone())
    return Explanations(pixels.detach().permute(0, 2, 3, 1).cpu().numpy(), branches, saliency)


def grad_cam(network: nn.Module, target: CamTarget, pixels: Tensor, classes: Tensor) -> Maps:
    """Compute Grad-CAM maps.

    Args:
        network: in evaluation mode, gradients enabled.
        target: the layer to read.
        pixels: (N, 3, S, S) float32 in [0, 1].
        classes: (N,) int64, the class to explain for each image.

    Returns:
        (N, S, S) float32 in [0, 1], each map stretched to 1.
    """
    cam = GradCAM(network, [target.layer], reshape_transform=target.as_nchw)
    try:
        # A fully frozen network gives no gradient unless its input asks for one.
        maps = cam(pixels.detach().requires_grad_(), [ClassifierOutputTarget(int(c)) for c in classes])
    finally:
        cam.activations_and_grads.release()
    return stretch(np.asarray(maps, np.float32))


def vanilla_gradient(network: nn.Module, pixels: Tensor, labels: Tensor) -> Maps:
    """Compute how much the cross-entropy of each image's true class changes with its pixels.

    Args:
        network: in evaluation mode, gradients enabled.
        pixels: (N, 3, S, S) float32 in [0, 1].
        labels: (N,) int64.

    Returns:
        (N, S, S) float32 in [0, 1]: largest absolute gradient over the channels, each map stretched to 1.
    """
    pixels = pixels.detach().requires_grad_()
    loss = cross_entropy(network(pixels), labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, pixels)
    return stretch(gradient.abs().amax(dim=1).float().cpu().numpy())


def stretch(maps: Maps) -> Maps:
    """Scale each map (N, S, S) so that its largest value is 1; an all-zero map stays."""
    largest = maps.max(axis=(1, 2), keepdims=True)
    stretched: Maps = np.divide(maps, largest, out=np.zeros_like(maps, dtype=np.float32), where=largest > 0)
    return stretched


@contextmanager
def gradients_on(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode with gradients, and leave it as it was, without gradients on its parameters."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        module.zero_grad(set_to_none=True)
        for part in training:
            part.training = True
