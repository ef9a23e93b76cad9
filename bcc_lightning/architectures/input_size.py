"""Which image sizes a backbone takes, and how a Swin transformer is cut for one."""

from bcc_lightning.errors import UserError

SMALLEST_INPUT = {"swin": 28, "efficientnet": 28, "inception": 75}
"""Smallest side in pixels by family, the part of timm's name before the first underscore."""

SMALLEST_INPUT_OTHERWISE = 32
SWIN_PATCH = 4
SWIN_STAGES = 4
SWIN_WINDOW = 7
"""Patch side in pixels, number of stages and window side in patches of Swin-T (Liu et al. 2021, arXiv 2103.14030)."""


def check_image_size(backbone: str, image_size: int) -> None:
    """Refuse an image size that a backbone cannot take.

    Args:
        backbone: timm's name.
        image_size: side in pixels.

    Raises:
        UserError: the size is below the family's smallest, or no multiple of Swin's patch.
    """
    family = backbone.split("_", maxsplit=1)[0]
    smallest = SMALLEST_INPUT.get(family, SMALLEST_INPUT_OTHERWISE)
    if image_size < smallest:
        raise UserError(
            f"image_size {image_size} is too small for {backbone}: it takes {smallest} and more; use --data.image_size {smallest}"
        )
    if family == "swin" and image_size % SWIN_PATCH:
        near = round(image_size / SWIN_PATCH) * SWIN_PATCH
        raise UserError(
            f"image_size {image_size} is not allowed for {backbone}: it takes multiples of {SWIN_PATCH}; "
            f"use --data.image_size {near}"
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
