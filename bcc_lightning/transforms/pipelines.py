"""Building a pipeline from its name, a YAML file or a mapping, and seeding it."""

import hashlib
from pathlib import Path
from typing import Any, TypeAlias

import albumentations as A  # noqa: N812 - the library's own spelling
import numpy as np
import numpy.typing as npt

from bcc_lightning.errors import UserError
from bcc_lightning.files import read_mapping
from bcc_lightning.transforms.building import build_steps, override, refuse_unfit
from bcc_lightning.transforms.recipes import PIPELINES, Step, refuse_unknown_pipeline

Pipeline: TypeAlias = A.Compose


def make_pipeline(augment: str | dict[str, Any]) -> Pipeline | None:
    """Build a pipeline.

    Args:
        augment: a name of `PIPELINES`; the path of a YAML file; or the content of such a file, either the name of a pipeline with
            changed parameters, ``{name: standard, Affine: {rotate: [-45, 45]}}``, or a list of steps,
            ``{steps: [{HorizontalFlip: {p: 0.5}}]}``.

    Returns:
        The pipeline, or None where it has no steps.

    Raises:
        UserError: a name, a transform, a parameter or a value is unknown or not allowed, or a transform changes the size or
            type of an image.
    """
    steps = pipeline_steps(augment)
    transforms = build_steps(steps)
    if not (isinstance(augment, str) and augment in PIPELINES):
        refuse_unfit(transforms)
    return A.Compose(transforms) if transforms else None


def pipeline_steps(augment: str | dict[str, Any]) -> list[Step]:
    """Return the steps of a pipeline, as they are written in a YAML file.

    Args:
        augment: see `make_pipeline`.

    Raises:
        UserError: the pipeline or file does not exist, or the file contains something else.
    """
    if isinstance(augment, dict):
        return _steps_of_mapping(augment)
    if augment in PIPELINES:
        return PIPELINES[augment]
    refuse_unknown_pipeline(augment)
    return _steps_of_file(Path(augment))


def seed_pipeline(pipeline: Pipeline, seed: int, epoch: int, position: npt.NDArray[np.int64]) -> None:
    """Seed a pipeline for one batch.

    Albumentations 2.0.8 repeats its random numbers in every worker and every epoch. Here they depend on the seed of the run, the
    epoch and the cells of the batch, so they do not repeat and are the same for any number of workers. Albumentations' own
    `set_random_seed` would give every step the same numbers: an image flipped left to right would always be flipped upside
    down as well. Here all steps draw from one generator.

    Args:
        pipeline: is seeded in place.
        seed: seed of the run.
        epoch: number of the epoch.
        position: (B,) positions of the batch's cells in their split.
    """
    entropy = batch_entropy(seed, epoch, position)
    pipeline.py_random.seed(entropy)
    pipeline.set_random_state(np.random.default_rng(entropy), pipeline.py_random)


def batch_entropy(seed: int, epoch: int, position: npt.NDArray[np.int64]) -> int:
    """Hash the seed of the run, the epoch and the cells of a batch to 128 bits; see `seed_pipeline` for the arguments."""
    # For a batch of positions NumPy's SeedSequence takes fifty times as long as a hash.
    digest = hashlib.blake2b(f"{seed}/{epoch}/".encode() + position.astype(np.int64).tobytes(), digest_size=16).digest()
    return int.from_bytes(digest)


def _steps_of_mapping(mapping: dict[str, Any]) -> list[Step]:
    if "steps" in mapping:
        steps, others = mapping["steps"], [f"'{key}'" for key in mapping if key != "steps"]
        if others:
            raise UserError(f"augmentation has steps and {', '.join(others)}; write steps: alone, see docs/pipelines.md")
        if not isinstance(steps, list):
            raise UserError(f"augmentation steps are {steps!r}, they must be a list of transforms; see docs/pipelines.md")
        return list(steps)
    if not isinstance(mapping.get("name"), str):
        raise UserError(
            f"augmentation {mapping} names neither a pipeline nor steps; write name: with one of {', '.join(PIPELINES)}, "
            "or steps: with a list of transforms"
        )
    changes = {key: value for key, value in mapping.items() if key != "name"}
    return override(mapping["name"], pipeline_steps(mapping["name"]), changes)


def _steps_of_file(file: Path) -> list[Step]:
    content = read_mapping(file, "name: or steps:, see docs/pipelines.md")
    # Not the name of another file, so that files cannot name each other in a circle.
    if "steps" not in content and content.get("name") not in PIPELINES:
        raise UserError(
            f"augmentation file {file} has name: {content.get('name')}; write one of {', '.join(PIPELINES)}, or steps:"
        )
    try:
        return _steps_of_mapping(content)
    except UserError as error:
        raise UserError(f"augmentation file {file}: {error}") from error
