"""Where a network looked, for images of one module: maps of its branches, and the saliency of pixels."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from bcc_lightning.explanation.choices import DEFAULT_METHOD
from bcc_lightning.explanation.methods import Maps, method_named, stretch, vanilla_gradient
from bcc_lightning.modules.base import CellClassifier

CHUNK = 8
"""Number of images explained at once: gradients of a whole sheet at 224 pixels would not fit into small devices."""


@dataclass(frozen=True)
class Explanations:
    """Maps of N images with sides of S pixels.

    Attributes:
        pixels: (N, S, S, 3) float32 in [0, 1], the network's input before normalisation.
        branches: name of each branch to its maps (N, S, S) float32 in [0, 1], for the explained class.
        saliency: (N, S, S) float32 in [0, 1], how much the loss of the true class changes with each pixel.
        method: name of the method that the branches' maps are of.
    """

    pixels: Maps
    branches: dict[str, Maps]
    saliency: Maps
    method: str = DEFAULT_METHOD

    @property
    def combined(self) -> Maps:
        """Mean of the branches' maps, then scaled to a maximum of 1: (N, S, S)."""
        return combine(self.branches)


def combine(branches: dict[str, Maps]) -> Maps:
    """Average maps (N, S, S) of several branches, and scale them to a maximum of 1."""
    return stretch(np.mean(list(branches.values()), axis=0))


def explain_images(
    module: CellClassifier, images: Tensor, labels: Tensor, method: str = DEFAULT_METHOD, classes: Tensor | None = None
) -> Explanations:
    """Explain images.

    Args:
        module: a trained module.
        images: (N, 3, H, W) uint8.
        labels: (N,) int64, true classes, whose loss the saliency is of.
        method: a name of `bcc_lightning.explanation.methods.METHODS`.
        classes: (N,) int64, classes that are explained; by default the predicted ones.

    Raises:
        UserError: there is no such method.
    """
    method_named(method)
    rows = torch.split(torch.arange(len(images)), CHUNK)
    parts = [explain_chunk(module, images[i], labels[i], method, None if classes is None else classes[i]) for i in rows]
    return Explanations(
        np.concatenate([part.pixels for part in parts]),
        {name: np.concatenate([part.branches[name] for part in parts]) for name in parts[0].branches},
        np.concatenate([part.saliency for part in parts]),
        method,
    )


def explain_chunk(
    module: CellClassifier, images: Tensor, labels: Tensor, method: str = DEFAULT_METHOD, classes: Tensor | None = None
) -> Explanations:
    """Explain a few images at once; arguments as `explain_images`."""
    with gradients_on(module):
        pixels = module.prepare(images.to(module.device)).clone()
        explained = module.network(pixels).argmax(dim=1) if classes is None else classes.to(module.device).clone()
        branches = method_named(method).compute(module.network, module.cam_targets(), pixels, explained)
        saliency = vanilla_gradient(module.network, pixels, labels.to(module.device).clone())
    return Explanations(pixels.detach().permute(0, 2, 3, 1).cpu().numpy(), branches, saliency, method)


def maps_of(module: CellClassifier, pixels: Tensor, classes: Tensor, method: str) -> Maps:
    """Compute the combined maps of prepared images.

    Args:
        module: a module.
        pixels: (N, 3, S, S) float32 in [0, 1], from the module's `prepare`.
        classes: (N,) int64, classes that are explained.
        method: a name of `bcc_lightning.explanation.methods.METHODS`.

    Returns:
        (N, S, S) float32 in [0, 1].
    """
    compute, parts = method_named(method).compute, []
    with gradients_on(module):
        targets = module.cam_targets()
        for some, wanted in zip(torch.split(pixels, CHUNK), torch.split(classes, CHUNK), strict=True):
            parts.append(combine(compute(module.network, targets, some.to(module.device), wanted.to(module.device))))
    return np.concatenate(parts)


@contextmanager
def gradients_on(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode with gradients enabled; afterwards restore it and clear its gradients."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        module.zero_grad(set_to_none=True)
        for part in training:
            part.training = True
