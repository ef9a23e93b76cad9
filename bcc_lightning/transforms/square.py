"""The eight positions of a square image, four quarter turns and their mirror images, and random positions for whole batches.

No pixel is interpolated. NumPy arrays are (B, S, S, 3), tensors (B, 3, S, S), as everywhere in this project.
"""

from typing import TypeVar

import albumentations as A  # noqa: N812 - the library's own spelling
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bcc_lightning.transforms.pipelines import Pipeline, batch_entropy

WAYS = 8
"""Four quarter turns, each also mirrored."""

TURNED_FIRST = (0, 1, 2, 3, 4, 7, 6, 5)
"""Ways by the number of a caller that mirrors after turning: to mirror first, the turn goes in the opposite direction."""

TURNS = 1
"""Keeps the random numbers of turns apart from those of the pipeline."""

Images = TypeVar("Images", npt.NDArray[np.uint8], Tensor)


def lay(images: Images, way: int) -> Images:
    """Mirror and turn all images of a batch in one way.

    Args:
        images: (B, S, S, 3) array or (B, 3, S, S) tensor of any type.
        way: 0 to 7. From 4 on, columns are exchanged first; then the image is turned ``way % 4`` times by 90 degrees
            counter-clockwise.

    Returns:
        The same shape and type; of an array, a view.
    """
    mirrored, turns = way >= WAYS // 2, way % 4
    if isinstance(images, Tensor):
        return torch.rot90(images.flip(3) if mirrored else images, turns, (2, 3))
    return np.rot90(images[:, :, ::-1] if mirrored else images, turns, axes=(1, 2))


def lay_each(images: Images, ways: npt.NDArray[np.int64] | Tensor) -> None:
    """Mirror and turn each image of a batch in its own way, in place.

    Args:
        images: see `lay`; is changed.
        ways: (B,) int64, see `lay`; of the same library and on the same device.
    """
    for way in range(1, WAYS):
        rows = ways == way
        images[rows] = lay(images[rows], way)


def turn(images: Tensor, number: Tensor) -> Tensor:
    """Return each image turned by its number.

    Args:
        images: (B, 3, S, S).
        number: (B,) int64, 0 to 7: quarter turns modulo 4; from 4 on, columns are exchanged afterwards.

    Returns:
        (B, 3, S, S) of the same type.
    """
    turned = images.clone()
    lay_each(turned, number.new_tensor(TURNED_FIRST)[number])
    return turned


def random_turn(images: Tensor) -> Tensor:
    """Return each image (B, 3, S, S) in a random way of its own, drawn by torch's generator."""
    return turn(images, torch.randint(WAYS, (len(images),), device=images.device))


def begins_with_turns(pipeline: Pipeline) -> bool:
    """Check whether a pipeline begins with a `D4` for every image, so that a whole batch can be turned at once."""
    return any(isinstance(step, A.D4) and step.p == 1 for step in pipeline.transforms[:1])


def without_turns(pipeline: Pipeline) -> Pipeline | None:
    """Return the pipeline without its first step; None where nothing else is left."""
    rest = pipeline.transforms[1:]
    return A.Compose(rest) if rest else None


def turn_batch(images: npt.NDArray[np.uint8], seed: int, epoch: int, position: npt.NDArray[np.int64]) -> None:
    """Turn each cell of a batch in a random way, all eight equally likely.

    Args:
        images: (B, S, S, 3), is changed.
        seed: seed of the run.
        epoch: number of the epoch.
        position: (B,) positions of the cells in their split.
    """
    generator = np.random.default_rng([batch_entropy(seed, epoch, position), TURNS])
    lay_each(images, generator.integers(WAYS, size=len(images)))
