"""Faults of images at five severities, by which a network's robustness is measured: the eleven of MedMNIST-C for blood cells.

Di Salvo, Doerrich and Ledig, MedMNIST-C, arXiv 2406.17536, whose strengths these are. They were defined at 224 pixels; lengths
are scaled with the side here. Deposits of stain are drawn instead of taken from the authors' photographs of ink.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.metrics import recall_score

Pixels: TypeAlias = npt.NDArray[np.uint8]
Generator: TypeAlias = np.random.Generator

SEVERITIES = 5
DEFINED_AT = 224
"""Side in pixels for which lengths are given."""


@dataclass(frozen=True)
class Corruption:
    """A fault.

    Attributes:
        name: under which it is reported.
        apply: image (S, S, 3), strength and generator to an image of the same shape.
        strengths: by severity.
        alexnet: mean error of AlexNet over the severities that the authors measured on BloodMNIST-C at 224 pixels.
    """

    name: str
    apply: Callable[[Pixels, Any, Generator], Pixels]
    strengths: tuple[Any, ...]
    alexnet: float

    def __call__(self, images: Pixels, severity: int, seed: int = 0) -> Pixels:
        """Apply it to images (N, S, S, 3) uint8; `severity` is 1 to 5, and each image has draws of its own."""
        strength = self.strengths[severity - 1]
        draws = (np.random.default_rng([seed, severity, number]) for number in range(len(images)))
        return np.stack([self.apply(image, strength, draw) for image, draw in zip(images, draws, strict=True)])


def scaled(length: float, image: Pixels) -> float:
    """Scale a length in pixels to the side of an image."""
    return float(length * image.shape[0] / DEFINED_AT)


def pixelate(image: Pixels, share: float, draw: Generator) -> Pixels:
    """Show the image with a share of its rows and columns."""
    side = image.shape[0]
    few = max(int(side * share), 1)
    coarse = Image.fromarray(image).resize((few, few), Image.Resampling.BOX)
    return np.asarray(coarse.resize((side, side), Image.Resampling.BOX), np.uint8)


def jpeg(image: Pixels, quality: int, draw: Generator) -> Pixels:
    """Compress as a JPEG file."""
    _, content = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]


def defocus(image: Pixels, strength: tuple[float, float], draw: Generator) -> Pixels:
    """Blur with a disc, whose radius and soft edge are the strength."""
    radius, edge = scaled(strength[0], image), strength[1]
    reach = int(np.ceil(radius)) + 1
    place = np.arange(-reach, reach + 1)
    distance = np.hypot(*np.meshgrid(place, place))
    disc = np.clip(radius + 0.5 - distance, 0, 1)  # a pixel on the rim counts with the share of it that is inside
    kernel = cv2.GaussianBlur(disc / disc.sum(), (3, 3), sigmaX=edge)
    return np.asarray(cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101), np.uint8)


def motion(image: Pixels, strength: tuple[float, float], draw: Generator) -> Pixels:
    """Blur along a line of up to 45 degrees, as a slide that moves and stops: one side of a normal distribution."""
    radius, sigma = (scaled(length, image) for length in strength)
    angle = np.deg2rad(draw.uniform(-45, 45))
    steps = np.arange(0, max(radius, 0.5) + 1e-9, 0.25)  # finer than a pixel
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    reach = int(np.ceil(steps[-1])) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    x, y = steps * np.cos(angle) + reach, steps * np.sin(angle) + reach
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    for right, bottom in ((0, 0), (0, 1), (1, 0), (1, 1)):
        share = np.abs(1 - right - (x - left)) * np.abs(1 - bottom - (y - top))
        np.add.at(kernel, (top + bottom, left + right), weights * share)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101), np.uint8)


def brightness(image: Pixels, factor: float, draw: Generator) -> Pixels:
    """Multiply all levels."""
    return np.asarray(cv2.convertScaleAbs(image, alpha=factor), np.uint8)


def contrast(image: Pixels, factor: float, draw: Generator) -> Pixels:
    """Multiply the distance of all levels from the mean of the grey image."""
    mean = round(float(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).mean()))
    return np.asarray(np.clip(mean + factor * (image.astype(np.float32) - mean), 0, 255), np.uint8)


def saturate(image: Pixels, addition: float, draw: Generator) -> Pixels:
    """Add to the saturation of the HSV colour model."""
    hsv = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    hsv[..., 1] = np.clip(hsv[..., 1] + addition, 0, 1)
    return np.asarray(np.clip(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255, 0, 255), np.uint8)


def stain_deposit(image: Pixels, most: int, draw: Generator) -> Pixels:
    """Drop up to so many irregular dark deposits, each up to a sixth of the side across."""
    side = image.shape[0]
    light = np.ones((side, side), np.float32)
    for _ in range(draw.integers(1, most + 1)):
        centre, radius = draw.uniform(0.1, 0.9, 2) * side, draw.uniform(0.03, 0.08) * side
        angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        ragged = radius * (1 + 0.35 * np.convolve(np.tile(draw.normal(size=24), 3), np.ones(3) / 3, "same")[24:48])
        rim = np.stack([centre[0] + ragged * np.cos(angles), centre[1] + ragged * np.sin(angles)], axis=1)
        cv2.fillPoly(light, [np.rint(rim * 16).astype(np.int32)], 0.05, cv2.LINE_AA, shift=4)
    softened = np.asarray(cv2.GaussianBlur(light, (0, 0), max(scaled(1, image), 0.3)))
    return (image * softened[..., None]).astype(np.uint8)


def bubbles(image: Pixels, strength: tuple[float, int], draw: Generator) -> Pixels:
    """Lay whitish bubbles with brighter rims over the image; the strength is their largest radius and their largest number."""
    side = image.shape[0]
    opacity = np.zeros((side, side), np.float32)
    for _ in range(draw.integers(7, strength[1] + 1)):
        radius = draw.uniform(scaled(3, image), scaled(strength[0], image))
        centre = np.rint(draw.uniform(radius, side - radius, 2) * 16).astype(int).tolist()
        for reach, level in ((radius + scaled(2, image), 130 / 255), (radius, 100 / 255)):
            cv2.circle(opacity, centre, round(reach * 16), level, -1, cv2.LINE_8, shift=4)
    return (image + opacity[..., None] * (255 - image.astype(np.float32))).astype(np.uint8)


CORRUPTIONS = (
    Corruption("pixelate", pixelate, (0.6, 0.5, 0.4, 0.3, 0.25), 0.0597562),
    Corruption("jpeg", jpeg, (50, 30, 15, 10, 7), 0.1397619),
    Corruption("defocus", defocus, ((2, 0.01), (3, 0.1), (4, 0.1), (5, 0.1), (6, 0.1)), 0.2239980),
    Corruption("motion", motion, ((3, 3), (5, 5), (10, 5), (10, 7), (10, 9)), 0.1845192),
    Corruption("brightness up", brightness, (1.1, 1.2, 1.3, 1.35, 1.4), 0.0694629),
    Corruption("brightness down", brightness, (0.9, 0.8, 0.7, 0.6, 0.5), 0.0790078),
    Corruption("contrast up", contrast, (1.1, 1.15, 1.2, 1.25, 1.3), 0.0521536),
    Corruption("contrast down", contrast, (0.9, 0.8, 0.7, 0.6, 0.5), 0.0796607),
    Corruption("saturate", saturate, (0.05, 0.1, 0.15, 0.17, 0.2), 0.0347856),
    Corruption("stain deposit", stain_deposit, (1, 2, 3, 3, 3), 0.1853612),
    Corruption("bubbles", bubbles, ((5, 10), (7, 10), (10, 10), (12, 12), (15, 12)), 0.1289883),
)

ALEXNET_CLEAN = 0.0183693
"""Error of AlexNet on the images without faults, published with those above."""


@dataclass(frozen=True)
class Robustness:
    """Errors, 1 - balanced accuracy, of a network on cells with faults.

    Attributes:
        clean: on the cells as they are.
        errors: by corruption, at each severity.
    """

    clean: float
    errors: dict[str, list[float]]

    def balanced_error(self) -> dict[str, float]:
        """Divide the mean error of each corruption by AlexNet's."""
        return {one.name: float(np.mean(self.errors[one.name])) / one.alexnet for one in CORRUPTIONS}

    def relative_balanced_error(self) -> dict[str, float]:
        """Divide the mean rise of the error over that without faults by AlexNet's rise."""
        return {
            one.name: (float(np.mean(self.errors[one.name])) - self.clean) / (one.alexnet - ALEXNET_CLEAN) for one in CORRUPTIONS
        }

    def as_dict(self) -> dict[str, Any]:
        """Return a plain dict for JSON, with ``BE`` and ``rBE``, the means over all corruptions."""
        balanced, relative = self.balanced_error(), self.relative_balanced_error()
        return {
            "clean": self.clean,
            "errors": self.errors,
            "balanced_error": balanced,
            "relative_balanced_error": relative,
            "BE": float(np.mean(list(balanced.values()))),
            "rBE": float(np.mean(list(relative.values()))),
        }


def measure_robustness(
    images: Pixels, labels: npt.NDArray[np.int64], classify: Callable[[Pixels], npt.NDArray[np.int64]]
) -> Robustness:
    """Measure the errors of a network on cells with each fault at each severity.

    Args:
        images: (N, S, S, 3) uint8.
        labels: (N,) classes.
        classify: returns the predicted classes (N,) of images.
    """

    def error(shown: Pixels) -> float:
        """Compute one minus the balanced accuracy on images."""
        return 1 - float(recall_score(labels, classify(shown), labels=np.unique(labels), average="macro", zero_division=0))

    return Robustness(
        error(images),
        {one.name: [error(one(images, severity)) for severity in range(1, SEVERITIES + 1)] for one in CORRUPTIONS},
    )
