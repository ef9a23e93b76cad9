"""Differences between laboratories, drawn anew for every cell of a batch on the device where the batch is.

The parts come in the order in which they come about: smear and stain, microscope, camera, file. Each takes and returns images
(B, 3, S, S) float32 in [0, 1]. What is drawn comes from NumPy's generators, so that it is the same on every device and for any
number of loading processes; only the grain of the noise is drawn on the device.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, conv2d, grid_sample, interpolate, max_pool2d, pad

from bcc_lightning.argument_types import check_choice
from bcc_lightning.transforms.jpeg import compress
from bcc_lightning.transforms.stain import STAINS

Part = Literal["background", "stain", "rotation", "magnification", "tightness", "focus", "light", "noise", "compression"]

EVERY: tuple[Part, ...] = get_args(Part)
"""All parts, in the order in which they are applied."""

DARKEST = 1 / 255
"""Transmitted light below this counts as this: the logarithm of black would be infinite."""

Generator: TypeAlias = np.random.Generator
Drawn: TypeAlias = npt.NDArray[Any]


class Laboratories:
    """Draws another laboratory for every cell.

    Args:
        parts: ``all``, or names of parts.

    Attributes:
        parts: the names, in the order in which they are applied.
    """

    def __init__(self, parts: Literal["all"] | Sequence[Part] = "all") -> None:
        for part in () if parts == "all" else parts:
            check_choice("data.laboratory", part, Part)
        self.parts = [part for part in EVERY if parts == "all" or part in parts]

    @torch.no_grad()
    def __call__(self, images: Tensor, entropy: int) -> Tensor:
        """Draw a laboratory for each image.

        Args:
            images: (B, 3, S, S) uint8.
            entropy: seed of the draw, see `bcc_lightning.transforms.pipelines.batch_entropy`.

        Returns:
            (B, 3, S, S) uint8, channels_last in memory.
        """
        # A seed for each part: leaving one out does not change what the others draw.
        seeds = zip(EVERY, np.random.SeedSequence(entropy).spawn(len(EVERY)), strict=True)
        draws = {part: np.random.default_rng(seed) for part, seed in seeds if part in self.parts}
        changed = images.float().div(255)
        for parts, change in STEPS.items():
            if any(part in draws for part in parts):
                changed = change(changed, *map(draws.get, parts))
        return changed.mul(255).round_().clamp_(0, 255).to(torch.uint8).contiguous(memory_format=torch.channels_last)


def per_image(values: Drawn, images: Tensor) -> Tensor:
    """Bring (B, ...) drawn values to the images' device as (B, ..., 1, 1), four dimensions, to be multiplied with them."""
    tensor = torch.from_numpy(np.asarray(values, np.float32)).to(images.device)
    return tensor.reshape(*tensor.shape, *[1] * (4 - tensor.ndim))


def factors(draw: Generator, low: float, high: float, size: int | tuple[int, ...]) -> Drawn:
    """Draw factors whose logarithms are uniform: halving is as frequent as doubling."""
    return np.exp(draw.uniform(math.log(low), math.log(high), size))


def some(draw: Generator, share: float, changed: Tensor, images: Tensor) -> Tensor:
    """Take the changed image for a share of the cells."""
    return torch.where(per_image(draw.random(len(images)) < share, images).bool(), changed, images)


def replace_background(images: Tensor, draw: Generator) -> Tensor:
    """Replace the surroundings of a third of the cells by those of another cell, or by even ground of another tint.

    The cell is estimated: what lies within an eighth of the image's side of pixels with more than 40 % of the largest amount of
    the blue stain.
    """
    side = images.shape[-1]
    unmix = torch.from_numpy(np.linalg.inv(STAINS)[:, 0].astype(np.float32)).to(images.device)
    blue = torch.einsum("bchw,c->bhw", -images.clamp_min(DARKEST).log(), unmix)[:, None]
    blue = avg_pool2d(blue, 4, 2)  # at half the side, which is precise enough
    nucleus = (blue > 0.4 * blue.amax((2, 3), keepdim=True)).float()
    reach = max(side // 16, 1)
    cell = max_pool2d(max_pool2d(nucleus, (2 * reach + 1, 1), 1, (reach, 0)), (1, 2 * reach + 1), 1, (0, reach))
    cell = interpolate(cell, side, mode="bilinear", align_corners=False)
    ground = avg_pool2d(images, max(side // 12, 1)).amax((2, 3), keepdim=True)
    ground = ground * per_image(factors(draw, 0.85, 1.1, (len(images), 3)), images)
    others = torch.from_numpy(draw.permutation(len(images))).to(images.device)
    foreign = torch.lerp(images[others], ground, cell[others])
    surrounding = some(draw, 0.5, foreign, ground.expand_as(images))
    return some(draw, 1 / 3, torch.lerp(surrounding, images, cell), images).clamp(0, 1)


def change_stain(images: Tensor, draw: Generator) -> Tensor:
    """Stain more or less strongly, and with dyes of another hue: amounts by Beer and Lambert's law, in optical density."""
    count = len(images)
    dyes = STAINS + draw.normal(0, [[0.1], [0.1], [0.0]], (count, 3, 3))
    dyes /= np.linalg.norm(dyes, axis=2, keepdims=True)
    amounts = np.concatenate([factors(draw, 0.4, 2.0, (count, 2)), np.ones((count, 1))], axis=1)
    change = per_image(np.linalg.inv(STAINS) @ (amounts[:, :, None] * dyes), images)[..., 0]
    density = torch.einsum("bchw,bcd->bdhw", -images.clamp_min(DARKEST).log(), change)
    return torch.exp(-density).clamp(0, 1)


def frame(
    images: Tensor, rotation: Generator | None = None, magnification: Generator | None = None, tightness: Generator | None = None
) -> Tensor:
    """Turn by any angle, enlarge to between 0.55 and 1.6 times, shift by up to a tenth of the side and stretch a little.

    Pixels that enter at the border are a mirror image of those inside.
    """
    count = len(images)
    matrix = np.tile(np.eye(2), (count, 1, 1))
    shift = np.zeros((count, 2))
    if rotation:
        angle, mirror = rotation.uniform(0, 2 * math.pi, count), rotation.choice([-1.0, 1.0], count)
        turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle) * mirror, np.cos(angle) * mirror]])
        matrix = turned.transpose(2, 0, 1) @ matrix
    if magnification:
        matrix = matrix / factors(magnification, 0.55, 1.6, count)[:, None, None]
    if tightness:
        shift = tightness.uniform(-0.2, 0.2, (count, 2))  # of half a side
        stretch = factors(tightness, 0.87, 1.15, count)
        matrix = matrix * np.stack([stretch, 1 / stretch], axis=1)[:, None, :]
    theta = torch.from_numpy(np.concatenate([matrix, shift[:, :, None]], axis=2).astype(np.float32)).to(images.device)
    grid = affine_grid(theta, list(images.shape), align_corners=False)
    return grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def change_focus(images: Tensor, draw: Generator) -> Tensor:
    """Blur half of the cells by up to 2 % of the side, and show a quarter of them with half or a third of the pixels."""
    count, side = len(images), images.shape[-1]
    reach = max(math.ceil(0.04 * side), 1)
    sigma = torch.from_numpy((draw.uniform(0.002, 0.02, count) * side).astype(np.float32)).to(images.device)
    place = torch.arange(-reach, reach + 1, device=images.device)
    kernel = torch.exp(-(place**2) / (2 * sigma[:, None] ** 2))
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)[:, None]
    planes = pad(images.reshape(1, count * 3, side, side), (reach,) * 4, mode="reflect")
    planes = conv2d(conv2d(planes, kernel[:, :, None], groups=count * 3), kernel[..., None], groups=count * 3)
    blurred = some(draw, 0.5, planes.reshape(images.shape), images)
    coarse = [
        interpolate(interpolate(blurred, side // times, mode="area"), side, mode="bilinear", align_corners=False)
        for times in (2, 3)
    ]
    return some(draw, 0.25, some(draw, 0.5, *coarse), blurred)


def change_light(images: Tensor, draw: Generator) -> Tensor:
    """Change exposure, white balance, how the camera mixes colours, its gamma, and the evenness of the light."""
    count, side = len(images), images.shape[-1]
    gain = factors(draw, 0.8, 1.25, (count, 1)) * factors(draw, 0.75, 1.2, (count, 3))
    mix = np.eye(3) + draw.normal(0, 0.05, (count, 3, 3))
    camera = per_image(gain[:, :, None] * mix / mix.sum(axis=2, keepdims=True), images)[..., 0]
    lit = torch.einsum("bchw,bdc->bdhw", images, camera).clamp_min(0)
    lit = lit ** per_image(factors(draw, 0.7, 1.4, count), images)
    across = torch.linspace(-1, 1, side, device=images.device)
    slope = per_image(draw.uniform(-0.12, 0.12, (count, 2)), images)
    return (lit * (1 + slope[:, :1] * across[None, None, :, None] + slope[:, 1:] * across)).clamp(0, 1)


def add_noise(images: Tensor, draw: Generator) -> Tensor:
    """Add the grain of a camera to half of the cells: a standard deviation of up to 5 % of full light."""
    grain = torch.Generator(images.device).manual_seed(int(draw.integers(2**62)))
    noise = torch.randn(images.shape, generator=grain, device=images.device)
    return some(draw, 0.5, (images + noise * per_image(draw.uniform(0, 0.05, len(images)), images)).clamp(0, 1), images)


def compress_some(images: Tensor, draw: Generator) -> Tensor:
    """Compress half of the cells as JPEG files of quality 15 to 90."""
    return some(draw, 0.5, compress(images, torch.from_numpy(draw.uniform(15, 90, len(images)))), images)


STEPS: dict[tuple[Part, ...], Callable[..., Tensor]] = {
    ("background",): replace_background,
    ("stain",): change_stain,
    ("rotation", "magnification", "tightness"): frame,
    ("focus",): change_focus,
    ("light",): change_light,
    ("noise",): add_noise,
    ("compression",): compress_some,
}
"""Parts, and what applies them: those that move pixels are applied together, so that pixels are interpolated once."""
