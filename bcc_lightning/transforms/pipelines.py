"""From the name of a pipeline, a YAML file or a mapping to a pipeline, and the random numbers it draws."""

import hashlib
from pathlib import Path
from typing import Any, TypeAlias

import albumentations as A  # noqa: N812 - the library's own spelling
import numpy as np
import numpy.typing as npt

from bcc_lightning.errors import UserError
from bcc_lightning.files import read_mapping
from bcc_lightning.transforms.building import Step, build_steps, override, refuse_unfit
from bcc_lightning.transforms.recipes import PIPELINES

Pipeline: TypeAlias = A.Compose


def make_pipeline(augment: str | dict[str, Any]) -> Pipeline | None:
    """Build a pipeline.

    Args:
        augment: a name of `PIPELINES`; the path of a YAML file; or what such a file holds, either the name of a pipeline with
            changed parameters, ``{name: standard, Affine: {rotate: [-45, 45]}}``, or steps of one's own,
            ``{steps: [{HorizontalFlip: {p: 0.5}}]}``.

    Returns:
        The pipeline, or None where it would change nothing.

    Raises:
        UserError: a name, a transform, a parameter or a value is not known or not allowed, or a transform does not keep size
            and type of an image.
    """
    steps = pipeline_steps(augment)
    transforms = build_steps(steps)
    if not (isinstance(augment, str) and augment in PIPELINES):
        refuse_unfit(transforms)
    return A.Compose(transforms) if transforms else None


def pipeline_steps(augment: str | dict[str, Any]) -> list[Step]:
    """Give the steps of a pipeline, as a YAML file would hold them.

    Args:
        augment: see `make_pipeline`.

    Raises:
        UserError: there is no such pipeline or file, or it holds something else.
    """
    if isinstance(augment, dict):
        return _steps_of_mapping(augment)
    if augment in PIPELINES:
        return PIPELINES[augment]
    if Path(augment).suffix in (".yaml", ".yml"):
        return _steps_of_file(Path(augment))
    raise UserError(f"augmentation '{augment}' does not exist; --data.augment takes {', '.join(PIPELINES)}, or a YAML file")


def seed_pipeline(pipeline: Pipeline, seed: int, epoch: int, position: npt.NDArray[np.int64]) -> None:
    """Seed a pipeline for one batch.

    Albumentations 2.0.8 repeats its random numbers from worker to worker and from epoch to epoch. Seeding by what is drawn,
    instead of by who draws it, cures that and makes the numbers the same for any number of workers. Its own `set_random_seed`
    would give every step the same numbers, so that a cell flipped sideways would always be flipped upside down as well; here
    the steps draw in turn from one generator.

    Args:
        pipeline: is changed.
        seed: seed of the run.
        epoch: number of the epoch.
        position: (B,) positions of the batch's cells in their split.
    """
    entropy = batch_entropy(seed, epoch, position)
    pipeline.py_random.seed(entropy)
    pipeline.set_random_state(np.random.default_rng(entropy), pipeline.py_random)


def batch_entropy(seed: int, epoch: int, position: npt.NDArray[np.int64]) -> int:
    """Hash seed, epoch and cells of a batch to 128 bits; arguments as `seed_pipeline`."""
    # For a batch of positions NumPy's SeedSequence takes fifty times as long as a hash.
    digest = hashlib.blake2b(f"{seed}/{epoch}/".encode() + position.astype(np.int64).tobytes(), digest_size=16).digest()
    return int.from_bytes(digest)


def _steps_of_mapping(mapping: dict[str, Any]) -> list[Step]:
    if "steps" in mapping:
        if len(mapping) > 1 or not isinstance(mapping["steps"], list):
            others = ", ".join(f"'{key}'" for key in mapping if key != "steps") or f"'{mapping['steps']}'"
            raise UserError(f"augmentation steps are a list and stand alone, not beside {others}; see docs/pipelines.md")
        return list(mapping["steps"])
    if not isinstance(mapping.get("name"), str):
        raise UserError(
            f"augmentation {mapping} names neither a pipeline nor steps; write name: with one of {', '.join(PIPELINES)}, "
            "or steps: with a list of transforms"
        )
    changes = {key: value for key, value in mapping.items() if key != "name"}
    return override(mapping["name"], pipeline_steps(mapping["name"]), changes)


def _steps_of_file(file: Path) -> list[Step]:
    if not file.is_file():
        raise UserError(f"augmentation file {file} does not exist; --data.augment takes {', '.join(PIPELINES)}, or a YAML file")
    content = read_mapping(file, "name: or steps:, see docs/pipelines.md")
    if (
        "steps" not in content and content.get("name") not in PIPELINES
    ):  # not another file: files cannot name each other in a circle
        raise UserError(
            f"augmentation file {file} has name: {content.get('name')}; write one of {', '.join(PIPELINES)}, or steps:"
        )
    try:
        return _steps_of_mapping(content)
    except UserError as error:
        raise UserError(f"augmentation file {file}: {error}") from error
