"""What can be chosen of an explanation, and what is taken otherwise; no library is loaded for it."""

from bcc_lightning.errors import UserError, nearest

METHODS = ("gradcam", "gradcam++", "hirescam", "layercam", "xgradcam", "eigencam", "saliency", "smoothgrad")
"""Names of the methods, see `bcc_lightning.explanation.methods.METHODS`."""

DEFAULT_METHOD = "gradcam"
"""Method of reports and pages, see ``python -m bcc_lightning.explain --faithfulness``."""

NEIGHBOURS = 8
CELLS = 100
"""Training cells beside each cell, and test cells that methods are scored on, unless a call says otherwise."""

LAYOUT = (
    "folder of images with masks of the same name and size, searched through, such as 001.bmp with 001.png; a mask is grey: "
    "255 nucleus, 128 cytoplasm, 0 background"
)
"""What ``--masks`` takes."""


def refuse_unknown_method(name: str) -> None:
    """Refuse a method that does not exist.

    Raises:
        UserError: with a near match, and all methods.
    """
    if name not in METHODS:
        raise UserError(f"--method {name} does not exist{nearest(name, METHODS) or '.'} There are: {', '.join(METHODS)}")
