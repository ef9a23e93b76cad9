"""The eight positions of a square image: four quarter turns, each also mirrored. No pixel is interpolated."""

import albumentations as A  # noqa: N812 - the library's own spelling
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bcc_lightning.transforms.pipelines import FLIPS_AND_TURNS, Pipeline, batch_entropy

POSITIONS = 8
"""Four quarter turns, each also mirrored."""


def turn(images: Tensor, position: Tensor) -> Tensor:
    """Bring each image into a position.

    Args:
        images: (B, 3, S, S).
        position: (B,) int64, 0 to 7: quarter turns modulo 4; from 4 on mirrored as well.

    Returns:
        (B, 3, S, S) of the same type.
    """
    turned = images.clone()
    for number in range(1, POSITIONS):
        chosen = position == number
        quarters = torch.rot90(images[chosen], number % 4, (2, 3))
        turned[chosen] = quarters.flip(3) if number >= POSITIONS // 2 else quarters
    return turned


def random_turn(images: Tensor) -> Tensor:
    """Bring each image (B, 3, S, S) into a position of its own, by torch's generator."""
    return turn(images, torch.randint(POSITIONS, (len(images),), device=images.device))


POSITIONS = 8
"""Ways in which a square can lie: four turns, each also mirrored."""

TURNS = 1
"""Keeps the random numbers of turns apart from those of the pipeline."""


def begins_with_turns(pipeline: Pipeline) -> bool:
    """Tell whether a pipeline begins with `FLIPS_AND_TURNS`, which together give all positions equally often."""
    steps = [{type(step).__name__: {"p": step.p}} for step in pipeline.transforms[: len(FLIPS_AND_TURNS)]]
    return steps == FLIPS_AND_TURNS


def without_turns(pipeline: Pipeline) -> Pipeline | None:
    """Leave out the flips and turns that a pipeline begins with; None where nothing else is left."""
    rest = pipeline.transforms[len(FLIPS_AND_TURNS) :]
    return A.Compose(rest) if rest else None


def turn_batch(images: npt.NDArray[np.uint8], seed: int, epoch: int, position: npt.NDArray[np.int64]) -> None:
    """Bring each cell of a batch into one of its eight positions, all equally likely.

    Args:
        images: (B, S, S, 3), is changed.
        seed: seed of the run.
        epoch: number of the epoch.
        position: (B,) positions of the cells in their split.
    """
    drawn = np.random.default_rng([batch_entropy(seed, epoch, position), TURNS]).integers(POSITIONS, size=len(images))
    for way in range(1, POSITIONS):
        rows = np.flatnonzero(drawn == way)
        images[rows] = lay(images[rows], way)


def lay(images: npt.NDArray[np.uint8], way: int) -> npt.NDArray[np.uint8]:
    """Lay squares in one way: (B, S, S, 3), turned ``way % 4`` times by 90 degrees, from 4 on mirrored before."""
    return np.rot90(images[:, :, ::-1] if way >= POSITIONS // 2 else images, way % 4, axes=(1, 2))
