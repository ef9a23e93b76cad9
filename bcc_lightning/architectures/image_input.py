"""The input of a network: image size, scaling, normalisation and order of the colours."""

import re
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from bcc_lightning.architectures.stain_normalisation import StainName, normalise_stain
from bcc_lightning.argument_types import check_choice
from bcc_lightning.errors import UserError

CHANNELS, DIMENSIONS = 3, 4


def scale_and_resize(images: Tensor, image_size: int) -> Tensor:
    """Scale images to [0, 1] and resize them; arguments as `scale` and `resize`."""
    return resize(scale(images), image_size)


def scale(images: Tensor) -> Tensor:
    """Scale images to [0, 1].

    Images that a Python program has scaled already are refused: divided once more, all would be nearly black and get nearly the
    same logits. A wrong type is a programming error, hence not a `UserError`.

    Args:
        images: (B, 3, H, H) uint8 in 0 to 255.

    Returns:
        (B, 3, H, H) float32 in [0, 1].

    Raises:
        TypeError: the images are not a tensor of uint8.
        ValueError: they do not have this shape.
    """
    if not isinstance(images, Tensor) or images.dtype != torch.uint8:
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(
            f"images are {kind}, they must be a torch tensor of uint8 (B, 3, H, H) with pixels from 0 to 255, not scaled and not "
            "normalised; convert floats in [0, 1] with (images * 255).round().to(torch.uint8), arrays with torch.from_numpy"
        )
    if images.ndim != DIMENSIONS or images.shape[1] != CHANNELS or images.shape[2] != images.shape[3]:
        raise ValueError(
            f"images have the shape {tuple(images.shape)}, it must be (B, 3, H, H): square RGB images, channels first. Use "
            "images[None] for a single image, images.permute(0, 3, 1, 2) for channels last, images.expand(-1, 3, -1, -1) for grey"
        )
    return images.float() / 255


def resize(pixels: Tensor, image_size: int) -> Tensor:
    """Enlarge or shrink square images, bilinearly, with a low-pass filter before shrinking.

    Args:
        pixels: (B, 3, H, H) float32 in [0, 1].
        image_size: side S in pixels.

    Returns:
        (B, 3, S, S) float32 in [0, 1]; the same tensor if it already has this size.
    """
    if pixels.shape[-1] == image_size:
        return pixels
    shrinks = pixels.shape[-1] > image_size
    return interpolate(pixels, (image_size, image_size), mode="bilinear", antialias=shrinks).clamp(0, 1)


ChannelOrder = Literal["rgb", "bgr"]

Statistic = tuple[float, float, float]
"""One value per channel, in the network's order of colours, for pixels in [0, 1]."""


class InputNormalisation(nn.Module):
    """Subtracts a mean and divides by a standard deviation.

    A mean of 0 and a deviation of 1/255 give the raw values 0 to 255 that some published systems use; a mean of 0 and a
    deviation of 255 divide by 255 a second time.

    Args:
        mean: mean to subtract.
        std: standard deviation to divide by, above 0.
        order: ``bgr`` first swaps red and blue, the order in which OpenCV reads files.
        stain: how the colours of each image are first brought to those of a reference smear.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        mean: Statistic = (0.0, 0.0, 0.0),
        std: Statistic = (1.0, 1.0, 1.0),
        order: ChannelOrder = "rgb",
        stain: StainName = "as_is",
    ) -> None:
        super().__init__()
        check_choice("model.stain", stain, StainName)
        self.stain = stain
        check_choice("model.input_order", order, ChannelOrder)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.order = order

    def forward(self, images: Tensor) -> Tensor:
        """Normalise: (B, 3, S, S) float32 RGB in [0, 1] to the same shape in channels_last."""
        images = normalise_stain(images, self.stain)
        ordered = images.flip(1) if self.order == "bgr" else images
        return ((ordered - self.mean) / self.std).contiguous(memory_format=torch.channels_last)


SMALLEST_INPUT = {
    "swin_": 28,
    "efficientnet": 28,
    "resnet": 28,
    "mobilenetv2": 28,
    "xception": 28,
    "densenet": 29,  # its last halving has no padding, and 28 pixels leave it one
    "vgg": 32,  # five halvings without padding
    "inception": 75,
}
"""Smallest side in pixels by family, the beginning of timm's name. 28 is BloodMNIST's side; smaller sides are not tried."""

SMALLEST_INPUT_OTHERWISE = 32
ORIGINS = ("tf_", "legacy_")
"""Prefixes that timm puts before a family's name."""

PATCH = re.compile(r"vit_.*patch(\d+)")
"""A ViT's name says the side of its patches, of which an image is a whole number."""

SMALLEST_BEHIND_SMALL_STEM = 9
"""Three halvings with padding leave at least two places, where batch normalisation still has something to compare."""

SWIN_PATCH = 4
SWIN_STAGES = 4
SWIN_WINDOW = 7
"""Patch side in pixels, number of stages and window side in patches of Swin-T (Liu et al. 2021, arXiv 2103.14030)."""


def smallest_input(backbone: str, small_stem: bool = False) -> int:
    """Return the smallest side in pixels that a backbone accepts.

    Args:
        backbone: timm's name.
        small_stem: whether the stem keeps the size, see `bcc_lightning.architectures.backbone`.
    """
    if small_stem:
        return SMALLEST_BEHIND_SMALL_STEM
    family = backbone
    for origin in ORIGINS:
        family = family.removeprefix(origin)
    return next((size for name, size in SMALLEST_INPUT.items() if family.startswith(name)), SMALLEST_INPUT_OTHERWISE)


def check_image_size(backbone: str, image_size: int, small_stem: bool = False) -> None:
    """Refuse an image size that a backbone does not accept.

    Args:
        backbone: timm's name.
        image_size: side in pixels.
        small_stem: see `smallest_input`.

    Raises:
        UserError: the size is below the family's smallest, or not a multiple of the patch of a Swin or ViT.
    """
    refuse_smaller(backbone, image_size, smallest_input(backbone, small_stem))
    named = PATCH.match(backbone)
    patch = SWIN_PATCH if backbone.startswith("swin_") else int(named[1]) if named else 1
    if image_size % patch:
        near = max(1, round(image_size / patch)) * patch
        raise UserError(
            f"image_size {image_size} is not allowed for {backbone}: it must be a multiple of {patch}; "
            f"use --data.image_size {near}"
        )


def refuse_smaller(network: str, image_size: int, smallest: int) -> None:
    """Refuse images that are too small for a network.

    Raises:
        UserError: the images are too small; the message names the smallest size.
    """
    if image_size < smallest:
        raise UserError(
            f"image_size {image_size} is too small for {network}: it needs {smallest} or more; use --data.image_size {smallest}"
        )


def swin_window(image_size: int) -> int:
    """Return Swin's window for an image size: the one nearest to the published 7 that needs no padding in any stage.

    A stage of r patches a side needs no padding when the window divides r, or when r is smaller (timm shrinks the window then).
    At 224 the stages have 56, 28, 14, 7 patches and 7 fits; at 64 they have 16, 8, 4, 2 and 8 fits.

    Args:
        image_size: side in pixels, a multiple of 4.

    Returns:
        Window side in patches; 7 if every window needs padding.
    """
    stages = [-(-image_size // (SWIN_PATCH << stage)) for stage in range(SWIN_STAGES)]
    candidates = sorted(range(4, 13), key=lambda window: (abs(window - SWIN_WINDOW), -window))
    fitting = (w for w in candidates if all(r <= w or r % w == 0 for r in stages))
    return next(fitting, SWIN_WINDOW)
