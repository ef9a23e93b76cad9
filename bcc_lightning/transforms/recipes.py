"""The named augmentation pipelines: each a list of steps, written as in a YAML file.

A step is the name of a transform and its parameters; `p` is the share of images to which it is applied. Names are Albumentations'
own, or those of `rand_augment.py` and `stain.py`. An angle is in degrees, a shift or zoom a share of the image's side.
Published recipes are explained in docs/pipelines.md. Nothing is imported here, so that commands know the names at once.
"""

from pathlib import Path
from typing import Any, TypeAlias

from bcc_lightning.errors import UserError, nearest
from bcc_lightning.files import refuse_missing

Step: TypeAlias = dict[str, dict[str, Any]]
"""A transform's name and parameters, ``{"Affine": {"rotate": (-20, 20), "p": 0.7}}``; ``{}`` takes the transform's defaults."""

NEAREST = 1
"""OpenCV's ``BORDER_REPLICATE``: pixels that enter at the border repeat the border pixels, as in the published recipes."""

PURPOSES = {
    "none": "nothing",
    "light": "flips and quarter turns: all eight positions of a square, equally often (Albumentations' D4)",
    "standard": "light, then small shifts, turns and zooms, brightness, contrast, saturation, hue",
    "stain": "light, then amount of blue and of red stain, tint, colour of the lamp, uneven light, focus",
    "an2dl_kerascv": "flips, crop and resize, RandAugment, AugMix, shuffled channels, paler colours, hue, saturation, noise",
    "pbc_geometric": "turn ±20°, shift ±20 %, shear ±0.2°, zoom ±20 %, both flips",
    "pbc_unet": "shear ±0.2°, zoom ±20 %, horizontal flip",
    "an2dl_randaugment": "RandAugment, magnitude 0.3 ± 0.15, three operations per image, including geometric ones",
    "an2dl_geometric": "turn ±40°, shift ±20 %, zoom ±20 %, horizontal flip",
    "raabin_geometric": "turn ±15°, zoom ±10 %, horizontal flip",
}
"""What each pipeline does, in a line."""


def refuse_unknown_pipeline(name: str) -> None:
    """Refuse a name that is neither a pipeline's nor that of a YAML file which exists.

    Raises:
        UserError: with a near match, and all pipelines.
    """
    if name in PIPELINES:
        return
    if Path(name).suffix in (".yaml", ".yml"):
        refuse_missing(Path(name), f"--data.augment takes {', '.join(PIPELINES)}, or a YAML file", "augmentation file")
        return
    near = nearest(name, PIPELINES) or "."
    raise UserError(f"augmentation '{name}' does not exist{near} --data.augment takes {', '.join(PIPELINES)}, or a YAML file")


def keras_zoom(share: float) -> tuple[float, float]:
    """Return the scales of Keras' `zoom_range`, whose factor enlarges the field of view, not the cell."""
    return 1 / (1 + share), 1 / (1 - share)


def both_ways(share: float) -> dict[str, tuple[float, float]]:
    """Return limits for a shift or shear along x and y, each drawn independently."""
    return {"x": (-share, share), "y": (-share, share)}


PIPELINES: dict[str, list[Step]] = {
    "none": [],
    # A smear has no up, no down, no left and no right: all eight positions of a square, equally often, without interpolation.
    "light": [{"D4": {"p": 1.0}}],
    # Slides differ slightly in position, angle, size, stain and light.
    "standard": [
        {"D4": {"p": 1.0}},
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
    # Made for smears: amounts of the two stains, tint, colour of the lamp, uneven light, focus.
    "stain": [
        {"D4": {"p": 1.0}},
        {"StainJitter": {"blue": (0.7, 1.4), "red": (0.7, 1.4), "p": 0.8}},
        {"MultiplicativeNoise": {"multiplier": (0.94, 1.06), "per_channel": True, "p": 0.5}},
        {"PlanckianJitter": {"temperature_limit": (5000, 7500), "p": 0.3}},
        {"Illumination": {"mode": "linear", "intensity_range": (0.02, 0.12), "p": 0.5}},
        {"SlightDefocus": {"radius": (0.0, 0.012), "p": 0.3}},
    ],
    # BloodCellCNN (AN2DL challenge), KerasCV layers. The notebook is lost: the layers are from its README, the strengths from a
    # notebook of the same assignment, and the shares (`p`) are chosen here.
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
    # The same project's encoder, which it calls U-Net.
    "pbc_unet": [
        {"Affine": {"shear": {"x": (-0.2, 0.2), "y": (0, 0)}, "scale": keras_zoom(0.2), "border_mode": NEAREST, "p": 1.0}},
        {"HorizontalFlip": {"p": 0.5}},
    ],
    # NeuralNexus (AN2DL challenge), during training: KerasCV's RandAugment; its EfficientNetV2-M takes four augmentations.
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
