"""Methods that map where a network looked: class activation maps of its layers, and gradients of its pixels.

All but the gradients are grad-cam's own. Each map is scaled to a maximum of 1; what speaks against the class is 0.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from pytorch_grad_cam import EigenCAM, GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM, XGradCAM
from pytorch_grad_cam.base_cam import BaseCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bcc_lightning.architectures.cam_target import CamTarget
from bcc_lightning.explanation.choices import refuse_unknown_method

Maps: TypeAlias = npt.NDArray[np.float32]

NOISE_DRAWS = 8
NOISE = 0.1
"""SmoothGrad's number of noisy copies, and the standard deviation of their noise for pixels in [0, 1]. The paper advises 0.1 to
0.2 and 50 copies; a few show the same places at a sixth of the cost.
"""


class MapMethod(NamedTuple):
    """A method.

    Attributes:
        title: as papers write it.
        source: the paper.
        compute: takes a network in evaluation mode with gradients enabled, its declared layers, pixels (N, 3, S, S) float32 in
            [0, 1], and the (N,) classes to explain; returns maps (N, S, S) in [0, 1] by branch.
    """

    title: str
    source: str
    compute: Callable[[nn.Module, list[CamTarget], Tensor, Tensor], dict[str, Maps]]


def activation_maps(
    kind: type[BaseCAM], network: nn.Module, targets: list[CamTarget], pixels: Tensor, classes: Tensor
) -> dict[str, Maps]:
    """Compute class activation maps of all declared layers; arguments as `MapMethod.compute`."""
    return {target.name: activation_map(kind, network, target, pixels, classes) for target in targets}


def activation_map(kind: type[BaseCAM], network: nn.Module, target: CamTarget, pixels: Tensor, classes: Tensor) -> Maps:
    """Compute class activation maps of one layer.

    Args:
        kind: grad-cam's class.
        network: network in evaluation mode, gradients enabled.
        target: the layer to read.
        pixels: (N, 3, S, S) float32 in [0, 1].
        classes: (N,) int64, the class to explain for each image.

    Returns:
        (N, S, S) float32 in [0, 1], each map scaled to a maximum of 1.
    """
    cam = kind(network, [target.layer], reshape_transform=target.as_nchw)
    try:
        # A fully frozen network computes no gradient unless its input requires one.
        maps = cam(pixels.detach().requires_grad_(), [ClassifierOutputTarget(int(c)) for c in classes])
    finally:
        cam.activations_and_grads.release()
    return stretch(np.asarray(maps, np.float32))


def grad_cam(network: nn.Module, target: CamTarget, pixels: Tensor, classes: Tensor) -> Maps:
    """Compute Grad-CAM maps; arguments as `activation_map`."""
    return activation_map(GradCAM, network, target, pixels, classes)


def gradient_maps(network: nn.Module, targets: list[CamTarget], pixels: Tensor, classes: Tensor) -> dict[str, Maps]:
    """Compute the saliency of pixels; arguments as `MapMethod.compute`."""
    return {"pixels": vanilla_gradient(network, pixels, classes)}


def smooth_gradient_maps(network: nn.Module, targets: list[CamTarget], pixels: Tensor, classes: Tensor) -> dict[str, Maps]:
    """Average the saliency of noisy copies of each image; arguments as `MapMethod.compute`."""
    generator = torch.Generator().manual_seed(0)
    total = np.zeros((len(pixels), *pixels.shape[2:]), np.float32)
    for _ in range(NOISE_DRAWS):
        noise = torch.randn(pixels.shape[1:], generator=generator).to(pixels)  # the same for all images: each map is its own
        total += pixel_gradient(network, pixels + NOISE * noise, classes)
    return {"pixels": stretch(total)}


def vanilla_gradient(network: nn.Module, pixels: Tensor, labels: Tensor) -> Maps:
    """Compute how much the cross-entropy of a class changes with the pixels of each image.

    Args:
        network: network in evaluation mode, gradients enabled.
        pixels: (N, 3, S, S) float32 in [0, 1].
        labels: (N,) int64.

    Returns:
        (N, S, S) float32 in [0, 1]: largest absolute gradient over the channels, each map scaled to a maximum of 1.
    """
    return stretch(pixel_gradient(network, pixels, labels))


def pixel_gradient(network: nn.Module, pixels: Tensor, labels: Tensor) -> Maps:
    """Compute the largest absolute gradient over the channels, not scaled; arguments as `vanilla_gradient`."""
    pixels = pixels.detach().requires_grad_()
    loss = cross_entropy(network(pixels), labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, pixels)
    return np.asarray(gradient.abs().amax(dim=1).float().cpu().numpy(), np.float32)


def stretch(maps: Maps) -> Maps:
    """Scale each map (N, S, S) so that its largest value is 1; an all-zero map is unchanged."""
    largest = maps.max(axis=(1, 2), keepdims=True)
    stretched: Maps = np.divide(maps, largest, out=np.zeros_like(maps, dtype=np.float32), where=largest > 0)
    return stretched


METHODS: dict[str, MapMethod] = {
    "gradcam": MapMethod("Grad-CAM", "Selvaraju et al., ICCV 2017", partial(activation_maps, GradCAM)),
    "gradcam++": MapMethod("Grad-CAM++", "Chattopadhyay et al., WACV 2018", partial(activation_maps, GradCAMPlusPlus)),
    "hirescam": MapMethod("HiResCAM", "Draelos and Carin, arXiv 2011.08891", partial(activation_maps, HiResCAM)),
    "layercam": MapMethod("LayerCAM", "Jiang et al., IEEE TIP 30 (2021) 5875", partial(activation_maps, LayerCAM)),
    "xgradcam": MapMethod("XGrad-CAM", "Fu et al., BMVC 2020", partial(activation_maps, XGradCAM)),
    "eigencam": MapMethod("Eigen-CAM", "Muhammad and Yeasin, IJCNN 2020", partial(activation_maps, EigenCAM)),
    "saliency": MapMethod("Saliency", "Simonyan et al., arXiv 1312.6034", gradient_maps),
    "smoothgrad": MapMethod("SmoothGrad", "Smilkov et al., arXiv 1706.03825", smooth_gradient_maps),
}
"""Methods by the name that ``--method`` takes."""


def method_named(name: str) -> MapMethod:
    """Return a method.

    Raises:
        UserError: there is none of this name.
    """
    refuse_unknown_method(name)
    return METHODS[name]
