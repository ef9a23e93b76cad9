"""Augmentation pipelines by name, on uint8 RGB images of any size; normalising is the module's work, on the device."""

from collections.abc import Callable
from typing import TypeAlias

import albumentations as A  # noqa: N812 - the library's own spelling
import numpy as np
import numpy.typing as npt

from bcc_lightning.errors import UserError

Pipeline: TypeAlias = A.Compose


def flips_and_turns() -> list[A.BasicTransform]:
    """List the changes that lose nothing: a smear has no up, no down, no left and no right."""
    return [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5), A.RandomRotate90(p=0.75)]


def standard() -> list[A.BasicTransform]:
    """Add what differs between slides: position, angle, scale, stain and light."""
    return [
        *flips_and_turns(),
        A.Affine(scale=(0.9, 1.1), translate_percent=(-0.06, 0.06), rotate=(-20, 20), border_mode=1, p=0.7),
        A.ColorJitter(brightness=(0.85, 1.15), contrast=(0.85, 1.15), saturation=(0.85, 1.15), hue=(-0.02, 0.02), p=0.7),
    ]


PIPELINES: dict[str, Callable[[], list[A.BasicTransform]]] = {
    "none": list,
    "light": flips_and_turns,
    "standard": standard,
}


def make_pipeline(name: str) -> Pipeline | None:
    """Build a pipeline.

    Args:
        name: a key of `PIPELINES`.

    Returns:
        The pipeline, or None where it would change nothing.

    Raises:
        UserError: there is no pipeline of this name.
    """
    if name not in PIPELINES:
        raise UserError(f"augmentation '{name}' does not exist; --data.augment takes {', '.join(PIPELINES)}")
    steps = PIPELINES[name]()
    return A.Compose(steps) if steps else None


def seed_pipeline(pipeline: Pipeline, seed: int, epoch: int, position: npt.NDArray[np.int64]) -> None:
    """Seed a pipeline for one batch.

    Albumentations 2.0.8 repeats its random numbers from worker to worker and from epoch to epoch. Seeding by what is drawn,
    instead of by who draws it, cures that and makes the numbers the same for any number of workers.

    Args:
        pipeline: is changed.
        seed: seed of the run.
        epoch: number of the epoch.
        position: (B,) positions of the batch's cells in their split.
    """
    entropy = np.random.SeedSequence([seed, epoch, *position.tolist()])
    pipeline.set_random_seed(int(entropy.generate_state(1)[0]))
