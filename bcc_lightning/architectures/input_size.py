"""Which image sizes a backbone takes, and how a Swin transformer is cut for one."""

from bcc_lightning.errors import UserError

SMALLEST_INPUT = {
    "swin_": 28,
    "efficientnet": 28,
    "resnet": 28,
    "mobilenetv2": 28,
    "xception": 28,
    "densenet": 29,  # its last halving has no padding, and 28 pixels leave it one
    "vgg": 32,  # five halvings without padding
    "inception": 75,
}
"""Smallest side in pixels by family, the beginning of timm's name. 28 is BloodMNIST's; what takes less need not show it."""

SMALLEST_INPUT_OTHERWISE = 32
ORIGINS = ("tf_", "legacy_")
"""What timm puts before a family's name."""

SMALLEST_BEHIND_SMALL_STEM = 9
"""Three halvings with padding leave at least two places, where batch normalisation still has something to compare."""

SWIN_PATCH = 4
SWIN_STAGES = 4
SWIN_WINDOW = 7
"""Patch side in pixels, number of stages and window side in patches of Swin-T (Liu et al. 2021, arXiv 2103.14030)."""


def smallest_input(backbone: str, small_stem: bool = False) -> int:
    """Look up the smallest side in pixels that a backbone takes.

    Args:
        backbone: timm's name.
        small_stem: whether the stem keeps the size, see `bcc_lightning.architectures.small_stem`.
    """
    if small_stem:
        return SMALLEST_BEHIND_SMALL_STEM
    family = backbone
    for origin in ORIGINS:
        family = family.removeprefix(origin)
    return next((size for name, size in SMALLEST_INPUT.items() if family.startswith(name)), SMALLEST_INPUT_OTHERWISE)


def check_image_size(backbone: str, image_size: int, small_stem: bool = False) -> None:
    """Refuse an image size that a backbone cannot take.

    Args:
        backbone: timm's name.
        image_size: side in pixels.
        small_stem: see `smallest_input`.

    Raises:
        UserError: the size is below the family's smallest, or no multiple of Swin's patch.
    """
    refuse_smaller(backbone, image_size, smallest_input(backbone, small_stem))
    if backbone.startswith("swin_") and image_size % SWIN_PATCH:
        near = round(image_size / SWIN_PATCH) * SWIN_PATCH
        raise UserError(
            f"image_size {image_size} is not allowed for {backbone}: it takes multiples of {SWIN_PATCH}; "
            f"use --data.image_size {near}"
        )


def refuse_smaller(network: str, image_size: int, smallest: int) -> None:
    """Refuse images that are too small for a network.

    Raises:
        UserError: naming the smallest size.
    """
    if image_size < smallest:
        raise UserError(
            f"image_size {image_size} is too small for {network}: it takes {smallest} and more; use --data.image_size {smallest}"
        )


def swin_window(image_size: int) -> int:
    """Choose Swin's window for an image size: the one nearest to the published 7 with which no stage is padded.

    A stage of r patches a side needs no padding when the window divides r, or when r is smaller (timm shrinks the window then).
    At 224 the stages have 56, 28, 14, 7 patches and 7 fits; at 64 they have 16, 8, 4, 2 and 8 fits.

    Args:
        image_size: side in pixels, a multiple of 4.

    Returns:
        Window side in patches; 7 where every window pads.
    """
    stages = [-(-image_size // (SWIN_PATCH << stage)) for stage in range(SWIN_STAGES)]
    candidates = sorted(range(4, 13), key=lambda window: (abs(window - SWIN_WINDOW), -window))
    fitting = (w for w in candidates if all(r <= w or r % w == 0 for r in stages))
    return next(fitting, SWIN_WINDOW)
