"""From image files to RGB bytes: what is converted, what is refused.

Grey, palette, CMYK and CIELAB images become RGB; transparency is laid over white; a stored orientation is applied. Refused are
16-bit and floating-point images, since which of their values is white is not known, and files with several pictures.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""Files that are taken for images; others beside them, such as a README, are left alone."""

LARGEST = 64_000_000
"""Pixels of an image above which it is refused: no single cell, but a decompression bomb or a whole slide."""


class UnreadableImageError(ValueError):
    """A file that holds no image, only part of one, or one that is refused; the message says which."""


class ImageFacts(NamedTuple):
    """What the head of an image file tells.

    Attributes:
        width: pixels.
        height: pixels.
        mode: Pillow's colour mode, e.g. ``RGB``, ``L``, ``P``, ``RGBA``, ``CMYK``, ``I;16``.
        format: e.g. ``JPEG``.
        size: bytes of the file.
    """

    width: int
    height: int
    mode: str
    format: str
    size: int


def decode(content: bytes) -> tuple[npt.NDArray[np.uint8], ImageFacts]:
    """Decode an image file.

    Args:
        content: the whole file.

    Returns:
        (H, W, 3) uint8 RGB, and what the file's head tells.

    Raises:
        UnreadableImageError: the file is no image, cut off, or refused.
    """
    with opened(content) as image:
        facts = facts_of(image, len(content))
        refuse(image)
        return np.asarray(as_rgb(image)), facts


def image_facts(content: bytes) -> ImageFacts:
    """Read the head of an image file only; raises as `decode`."""
    with opened(content) as image:
        return facts_of(image, len(content))


def facts_of(image: Image.Image, size: int) -> ImageFacts:
    """Collect what the head of an image tells."""
    return ImageFacts(*image.size, image.mode, str(image.format), size)


@contextmanager
def opened(content: bytes) -> Iterator[Image.Image]:
    """Open an image file, and say in one way what is wrong with it."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            yield image
    except UnreadableImageError:
        raise
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UnreadableImageError("is no image, or of an unknown format") from error
    # Pillow's decoders raise nearly anything on a damaged file.
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, MemoryError) as error:
        raise UnreadableImageError(f"is cut off or damaged ({error!s:.100})") from error


def read_image(file: Path) -> npt.NDArray[np.uint8]:
    """Read an image file: (H, W, 3) uint8 RGB; raises as `decode`, with the file's name."""
    try:
        return decode(file.read_bytes())[0]
    except UnreadableImageError as error:
        raise UnreadableImageError(f"{file} {error}") from error


def refuse(image: Image.Image) -> None:
    """Refuse what cannot be converted without guessing."""
    if image.mode.startswith(("I", "F")):
        raise UnreadableImageError(f"has 16 or more bits per channel (mode {image.mode}); save it with 8 bits")
    if getattr(image, "n_frames", 1) > 1:
        raise UnreadableImageError(f"holds {getattr(image, 'n_frames', 1)} pictures; save each as a file of its own")
    if image.width * image.height > LARGEST:
        raise UnreadableImageError(f"is {image.width}x{image.height} pixels large; cut single cells out of it")


def as_rgb(image: Image.Image) -> Image.Image:
    """Convert to RGB as the head of this module says."""
    upright = ImageOps.exif_transpose(image) or image
    if upright.mode == "RGB":
        return upright
    if upright.has_transparency_data:
        white = Image.new("RGBA", upright.size, "white")
        return Image.alpha_composite(white, upright.convert("RGBA")).convert("RGB")
    return upright.convert("RGB")
