"""What each augmentation pipeline does: a list of steps, written as in a YAML file.

A step is the name of a transform and its parameters; `p` is the share of cells to which it is applied. Names are Albumentations'
own, or those of `rand_augment.py` and `stain.py`. An angle is in degrees, a shift or zoom a share of the image's side.
Figures of a published recipe are explained in docs/pipelines.md.
"""

import hashlib
from pathlib import Path
from typing import Any, TypeAlias

import albumentations as A  # noqa: N812 - the library's own spelling
import cv2
import numpy as np
import numpy.typing as npt

from bcc_lightning.errors import UserError
from bcc_lightning.files import read_mapping
from bcc_lightning.transforms.building import Step, build_steps, override, refuse_unfit

NEAREST = cv2.BORDER_REPLICATE
"""What is missing at the border repeats the border pixels, as the published recipes do."""


def keras_zoom(share: float) -> tuple[float, float]:
    """Give the scales of Keras' `zoom_range`, whose factor enlarges the part that is seen, not the cell."""
    return 1 / (1 + share), 1 / (1 - share)


def both_ways(share: float) -> dict[str, tuple[float, float]]:
    """Shift or shear along x and y, each by its own draw."""
    return {"x": (-share, share), "y": (-share, share)}


# A smear has no up, no down, no left and no right. Flips and turns lose nothing. A turn by 0 degrees is one of the four, so that
# all eight positions are equally frequent.
FLIPS_AND_TURNS: list[Step] = [{"HorizontalFlip": {"p": 0.5}}, {"VerticalFlip": {"p": 0.5}}, {"RandomRotate90": {"p": 1.0}}]

PIPELINES: dict[str, list[Step]] = {
    "none": [],
    "light": FLIPS_AND_TURNS,
    # What differs between slides: position, angle, size, stain and light, all slightly.
    "standard": [
        *FLIPS_AND_TURNS,
        {
            "Affine": {
                "scale": (0.9, 1.1),
                "translate_percent": (-0.06, 0.06),
                "rotate": (-20, 20),
                "border_mode": NEAREST,
                "p": 0.7,
            }
        },
        {
            "ColorJitter": {
                "brightness": (0.85, 1.15),
                "contrast": (0.85, 1.15),
                "saturation": (0.85, 1.15),
                "hue": (-0.02, 0.02),
                "p": 0.7,
            }
        },
    ],
    # Made for smears: how strongly and for how long a slide was stained, the lamp, the plasma between the cells, the focus.
    "stain": [
        *FLIPS_AND_TURNS,
        {"StainJitter": {"blue": (0.7, 1.4), "red": (0.7, 1.4), "p": 0.8}},
        {"MultiplicativeNoise": {"multiplier": (0.94, 1.06), "per_channel": True, "p": 0.5}},
        {"PlanckianJitter": {"temperature_limit": (5000, 7500), "p": 0.3}},
        {"Illumination": {"mode": "linear", "intensity_range": (0.02, 0.12), "p": 0.5}},
        {"SlightDefocus": {"radius": (0.0, 0.012), "p": 0.3}},
    ],
    # BloodCellCNN (AN2DL challenge), KerasCV layers. The notebook is lost: layers from its README, strengths from a notebook of
    # the same assignment, shares (`p`) chosen here.
    "an2dl_kerascv": [
        {"HorizontalFlip": {"p": 0.5}},
        {"VerticalFlip": {"p": 0.5}},
        {"CropAndPad": {"percent": (-0.083, 0.0), "p": 1.0}},
        {"RandAugment": {"magnitude": 0.5, "magnitude_std": 0.15, "augmentations": 3, "p": 0.5}},
        {"AugMix": {"severity": 0.5, "p": 0.5}},
        {"ChannelShuffle": {"p": 0.5}},
        {"ColorJitter": {"brightness": (1, 1), "contrast": (1, 1), "saturation": (0.5, 1), "hue": (0, 0), "p": 0.5}},
        {"HueSaturationValue": {"hue_shift_limit": (-36, 36), "sat_shift_limit": (-51, 51), "val_shift_limit": (0, 0), "p": 0.5}},
        {"GaussNoise": {"std_range": (0.01, 0.04), "p": 0.5}},
    ],
    # Decoding Cellular Complexity (PBC), VGG16 branch: Keras' ImageDataGenerator, where a shear of 0.2 is 0.2 degrees.
    "pbc_geometric": [
        {
            "Affine": {
                "rotate": (-20, 20),
                "translate_percent": both_ways(0.2),
                "shear": {"x": (-0.2, 0.2), "y": (0, 0)},
                "scale": keras_zoom(0.2),
                "border_mode": NEAREST,
                "p": 1.0,
            }
        },
        {"HorizontalFlip": {"p": 0.5}},
        {"VerticalFlip": {"p": 0.5}},
    ],
    # The same project's encoder that it calls U-Net.
    "pbc_unet": [
        {"Affine": {"shear": {"x": (-0.2, 0.2), "y": (0, 0)}, "scale": keras_zoom(0.2), "border_mode": NEAREST, "p": 1.0}},
        {"HorizontalFlip": {"p": 0.5}},
    ],
    # NeuralNexus (AN2DL challenge), while training: KerasCV's RandAugment; four augmentations for its EfficientNetV2-M.
    "an2dl_randaugment": [{"RandAugment": {"magnitude": 0.3, "magnitude_std": 0.15, "augmentations": 3, "p": 1.0}}],
    # The same project's upsampling of rare classes.
    "an2dl_geometric": [
        {
            "Affine": {
                "rotate": (-40, 40),
                "translate_percent": both_ways(0.2),
                "scale": keras_zoom(0.2),
                "border_mode": NEAREST,
                "p": 1.0,
            }
        },
        {"HorizontalFlip": {"p": 0.5}},
    ],
    # WBC CNN vs MobileNetV2 (Raabin-WBC): its upsampling of rare classes.
    "raabin_geometric": [
        {"Affine": {"rotate": (-15, 15), "scale": keras_zoom(0.1), "border_mode": NEAREST, "p": 1.0}},
        {"HorizontalFlip": {"p": 0.5}},
    ],
}


__all__ = ["PIPELINES", "Pipeline", "batch_entropy", "make_pipeline", "pipeline_steps", "seed_pipeline"]

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
