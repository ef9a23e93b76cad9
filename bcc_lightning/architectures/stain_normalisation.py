"""Bringing the colours of each image to those of a reference smear, so that stain and camera count less.

- Reinhard et al., Color Transfer between Images, 2001: mean and deviation of each channel of the lab colour space of Ruderman.
- Macenko et al., A Method for Normalizing Histology Slides, 2009: the two stains are found in the optical densities of the image
  itself, and shown in the reference's colours with the reference's amounts.

Both are computed image by image, in training as in use, with batches of torch.
"""

from typing import Literal

import torch
from torch import Tensor

StainName = Literal["as_is", "reinhard", "macenko"]

DARKEST = 1 / 255

TO_LMS = torch.tensor([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
"""Red, green and blue to the responses of the three cones, as in Reinhard's paper."""

TO_LAB = torch.diag(torch.tensor([3.0, 6.0, 2.0]).rsqrt()) @ torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, -2.0], [1.0, -1.0, 0.0]])
"""Logarithms of the responses to the lab space: light, yellow against blue, red against green."""

FROM_LMS, FROM_LAB = torch.linalg.inv(TO_LMS), torch.linalg.inv(TO_LAB)

LAB_MEAN, LAB_STD = (-0.3213, -0.0227, 0.0128), (0.2760, 0.1092, 0.0081)
"""Of the training cells of PBC at 96 pixels, mean over images: `benchmarks/stain_reference.py`."""

STAINS = ((0.7166, 0.6364, 0.2687), (0.4126, 0.9065, 0.0868))
"""Colours of the blue and of the red stain there, as optical densities of length 1."""

AMOUNTS = (1.0476, 2.665)
"""99th percentile of the amounts of the two stains there."""

CLEAR = 0.15
"""Pixels with a lower optical density, mean of the channels, are ground, which is left out."""

GROUND = (1.0, 0.9020, 0.7961)
"""Light of the ground between the cells there."""

LIGHT = 0.95
"""Share of pixels that are darker than the ground."""

LARGEST_GAIN = 3.0
"""Amounts of a stain are changed at most so many times."""

EXTREME, STRONG = 0.01, 0.99
"""Shares of pixels whose angles count as outliers, and at which the amount of a stain is read."""

FEWEST = 16
"""An image with fewer stained pixels is left as it is."""


def normalise_stain(images: Tensor, method: StainName) -> Tensor:
    """Bring the colours of images to those of the reference.

    Args:
        images: (B, 3, H, W) float32 in [0, 1].
        method: ``as_is`` returns the images unchanged.

    Returns:
        (B, 3, H, W) float32 in [0, 1].
    """
    if method == "as_is":
        return images
    return reinhard(images) if method == "reinhard" else macenko(images)


def reinhard(images: Tensor) -> Tensor:
    """Match mean and deviation of each channel of the lab space; see `normalise_stain`."""
    lab = to_lab(images)
    mean, std = lab.mean((2, 3), keepdim=True), lab.std((2, 3), keepdim=True)
    target_mean, target_std = (torch.tensor(values, device=images.device).view(1, 3, 1, 1) for values in (LAB_MEAN, LAB_STD))
    return from_lab((lab - mean) / std.clamp_min(1e-4) * target_std + target_mean)


def to_lab(images: Tensor) -> Tensor:
    """Convert (B, 3, H, W) in [0, 1] to the lab space of decimal logarithms."""
    lms = torch.einsum("bchw,dc->bdhw", images, TO_LMS.to(images.device)).clamp_min(DARKEST)
    return torch.einsum("bchw,dc->bdhw", lms.log10(), TO_LAB.to(images.device))


def from_lab(lab: Tensor) -> Tensor:
    """Convert back to (B, 3, H, W) in [0, 1]."""
    lms = 10 ** torch.einsum("bchw,dc->bdhw", lab, FROM_LAB.to(lab.device))
    return torch.einsum("bchw,dc->bdhw", lms, FROM_LMS.to(lab.device)).clamp(0, 1)


def macenko(images: Tensor) -> Tensor:
    """Find the two stains of each image, and show their amounts in the reference's colours; see `normalise_stain`."""
    reference = torch.tensor(STAINS, device=images.device)
    return torch.stack([macenko_one(image, reference) for image in images])


def macenko_one(image: Tensor, reference: Tensor) -> Tensor:
    """Normalise one image (3, H, W); `reference` are the stains (2, 3)."""
    density = density_of(image)
    stained = density[density.mean(1) > CLEAR]
    if len(stained) < FEWEST:
        return image
    own = stains_of(stained.detach())  # whose eigenvectors have no stable gradient
    amounts = torch.linalg.lstsq(own.T, density.T).solution.clamp_min(0)
    strong = amounts.detach().quantile(STRONG, dim=1).clamp_min(1e-3)
    gain = (torch.tensor(AMOUNTS, device=image.device) / strong).clamp(1 / LARGEST_GAIN, LARGEST_GAIN)
    light = torch.tensor(GROUND, device=image.device) * torch.exp(-((amounts * gain[:, None]).T @ reference))
    return light.T.reshape(image.shape).clamp(0, 1)


def density_of(image: Tensor) -> Tensor:
    """Compute optical densities (N, 3) of an image (3, H, W), against the light of its ground instead of white."""
    pixels = image.clamp_min(DARKEST).flatten(1)
    return (pixels.quantile(LIGHT, dim=1)[:, None] / pixels).log().T


def stains_of(density: Tensor) -> Tensor:
    """Find the two stains in optical densities (N, 3): (2, 3), of length 1, the bluer one first.

    The densities lie in a plane, whose normal is the direction in which they vary least; the stains are its extreme directions.
    """
    plane = torch.linalg.eigh(torch.cov(density.T)).eigenvectors[:, 1:].flip(1)
    plane = plane * torch.where(plane.sum(0) < 0, -1.0, 1.0)  # so that angles are measured from within the densities
    angles = torch.atan2(*(density @ plane).T.flip(0))
    low, high = angles.quantile(EXTREME), angles.quantile(1 - EXTREME)
    found = torch.stack([plane @ torch.stack([angle.cos(), angle.sin()]) for angle in (low, high)])
    found = found / found.norm(dim=1, keepdim=True)
    blue_first = bool(found[0, 0] > found[1, 0])  # the blue stain takes more of the red light
    return torch.stack([found[0], found[1]] if blue_first else [found[1], found[0]])
