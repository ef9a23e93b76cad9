"""Cells with masks of nucleus and cytoplasm, and how well a map lies on them.

The layout is that of segmentation_wbc (Zheng et al., Micron 107 (2018) 55): each image has a mask of the same name and size,
``001.bmp`` and ``001.png``, with the values of `MaskValue`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from bcc_lightning.datasets.decoding import SUFFIXES, UnreadableImageError, decode
from bcc_lightning.datasets.framing import central_square
from bcc_lightning.errors import UserError
from bcc_lightning.explanation.choices import LAYOUT
from bcc_lightning.explanation.methods import Maps
from bcc_lightning.explanation.perturbation import Scores

Mask = npt.NDArray[np.uint8]

MASK = ".png"


class MaskValue(IntEnum):
    """Grey values of a mask."""

    BACKGROUND = 0
    CYTOPLASM = 128
    NUCLEUS = 255


@dataclass(frozen=True)
class MaskedCells:
    """Cells with masks.

    Attributes:
        names: N image files, relative to their folder.
        images: (N, S, S, 3) uint8, as the network's run reads images.
        masks: (N, M, M) uint8 with the values of `MaskValue`; M is the side of the maps.
    """

    names: list[str]
    images: npt.NDArray[np.uint8]
    masks: Mask

    def inside(self, part: str) -> npt.NDArray[np.bool_]:
        """Return which pixels belong to the ``cell`` or its ``nucleus``: (N, M, M)."""
        least = MaskValue.NUCLEUS if part == "nucleus" else MaskValue.CYTOPLASM
        return np.asarray(self.masks >= least)


def read_masked_cells(
    folder: Path, square: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]], crop: int | None, side: int
) -> MaskedCells:
    """Read all cells of a folder.

    Args:
        folder: laid out as `LAYOUT` says.
        square: reads an image (H, W, 3) uint8 as the network's run does.
        crop: side in pixels of the central square that it cuts out first; None for the largest.
        side: side M of the maps in pixels.

    Raises:
        UserError: an image has no mask, a mask no image, or a mask does not fit; the message names the file.
    """
    pairs = find_pairs(folder)
    images, masks = [], []
    for image_file, mask_file in pairs:
        image, mask = read_image(image_file), read_mask(mask_file)
        if image.shape[:2] != mask.shape:
            raise UserError(
                f"mask {mask_file} has {mask.shape[1]} x {mask.shape[0]} pixels, its image {image_file.name} has "
                f"{image.shape[1]} x {image.shape[0]}; both must have the same size: correct the mask or leave both out"
            )
        fitted = fit_mask(mask, side, crop)
        if not (fitted != MaskValue.BACKGROUND).any():
            raise UserError(
                f"mask {mask_file} has no pixel of the cell in the part of the image that the network sees; leave it out"
            )
        images.append(square(image))
        masks.append(fitted)
    names = [str(image.relative_to(folder)) for image, _ in pairs]
    return MaskedCells(names, np.stack(images), np.stack(masks))


def find_pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Find images and their masks, sorted; raises as `read_masked_cells`."""
    if not folder.is_dir():
        raise UserError(f"--masks {folder} is not a folder; name a {LAYOUT}")
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and not file.name.startswith("."))
    masks = {file.with_suffix(""): file for file in files if file.suffix.lower() == MASK}
    images = [file for file in files if file.suffix.lower() != MASK]
    if not files or not images:
        raise UserError(f"--masks {folder} has no images (a {MASK} file is taken for a mask); name a {LAYOUT}")
    pairs = []
    for image in images:
        mask = masks.get(image.with_suffix(""))
        if mask is None:
            raise UserError(f"image {image} has no mask {image.stem}{MASK} beside it; add it or leave the image out")
        pairs.append((image, mask))
    if alone := sorted(set(masks.values()) - {mask for _, mask in pairs}):
        raise UserError(f"mask {alone[0]} has no image of the same name beside it; add it or leave the mask out")
    return pairs


def read_image(file: Path) -> npt.NDArray[np.uint8]:
    """Read an image or a mask as (H, W, 3) uint8.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return decode(file.read_bytes())[0]
    except (UnreadableImageError, OSError) as error:
        raise UserError(f"{file} cannot be read ({error}); replace it, or leave image and mask out") from error


def read_mask(file: Path) -> Mask:
    """Read a mask: (H, W) uint8 with the values of `MaskValue`.

    Raises:
        UserError: it cannot be read, or has other values.
    """
    colours = read_image(file)
    mask = colours[..., 0]
    if not (colours == mask[..., None]).all():
        raise UserError(f"mask {file} is coloured; a mask is grey: {described_values()}")
    if other := sorted(set(np.unique(mask).tolist()) - set(MaskValue)):
        raise UserError(
            f"mask {file} has {len(other)} values that no mask has, the first is {other[0]}; allowed are "
            f"{described_values()}. A mask saved as JPEG or resized smoothly has such values: save it again losslessly"
        )
    return mask


def described_values() -> str:
    """Describe the allowed values."""
    return ", ".join(f"{value.value} {value.name.lower()}" for value in MaskValue)


def fit_mask(mask: Mask, side: int, crop: int | None) -> Mask:
    """Crop a mask as its image and resize it to the maps; each pixel keeps one of the three values.

    Args:
        mask: (H, W) uint8.
        side: side M of the maps in pixels.
        crop: side in pixels of the central square; None for the largest.
    """
    square = central_square(mask, crop)
    return np.asarray(cv2.resize(square, (side, side), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def pointing_game(maps: Maps, inside: npt.NDArray[np.bool_]) -> Scores:
    """Check whether the maximum of each map lies inside (Zhang et al., IJCV 126 (2018) 1084, without their tolerance).

    Args:
        maps: (N, M, M) float32.
        inside: (N, M, M) bool.

    Returns:
        (N,) in [0, 1]: share of the map's largest pixels that lie inside, which is 0 or 1 for a single maximum and the share of
        the area for a blank map.
    """
    highest = maps == maps.max(axis=(1, 2), keepdims=True)
    return np.asarray((highest & inside).sum(axis=(1, 2)) / highest.sum(axis=(1, 2)), np.float64)


def mass_inside(maps: Maps, inside: npt.NDArray[np.bool_]) -> Scores:
    """Compute the share of each map's sum that lies inside.

    Args:
        maps: (N, M, M) float32, 0 or more.
        inside: (N, M, M) bool.

    Returns:
        (N,) in [0, 1]; the share of the area for a blank map.
    """
    total = maps.sum(axis=(1, 2), dtype=np.float64)
    area = inside.mean(axis=(1, 2))
    share: Scores = np.divide((maps * inside).sum(axis=(1, 2), dtype=np.float64), total, out=area, where=total > 0)
    return share
