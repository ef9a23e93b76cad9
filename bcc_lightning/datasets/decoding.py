"""From image files to RGB bytes: what is converted, what is refused.

Grey, palette, CMYK and CIELAB images become RGB; transparency is laid over white; a stored orientation is applied. Of a JPEG with
several images, as some cameras write it, the first is read. Refused are images of more than eight bits per channel unless `bits`
says which of their values is white, floating-point images, and other files with several images.
"""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from bcc_lightning.datasets.depth import EIGHT, FLOAT, MOST_BITS, scaled_to_eight, stored_bits

NOT_READ = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"})
"""Formats that Pillow only recognises, or hands to another program."""


def image_suffixes() -> frozenset[str]:
    """List the file endings of all formats that Pillow reads, in lower case."""
    Image.init()
    return frozenset(end for end, kind in Image.registered_extensions().items() if kind in Image.OPEN and kind not in NOT_READ)


SUFFIXES = image_suffixes()
"""Endings of files that are taken for images, in lower case."""

LARGEST = 64_000_000
"""Pixels of an image above which it is refused: no single cell, but a decompression bomb or a whole slide."""

# Pillow warns from 89 million pixels on and raises from twice as many; `refuse` refuses all of these in its own words.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


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


def decode(content: bytes, bits: int = EIGHT) -> tuple[npt.NDArray[np.uint8], ImageFacts]:
    """Decode an image file.

    Args:
        content: the whole file.
        bits: how many bits the values of images with more than eight bits per channel have, 9 to 16; they are scaled to eight.
            With 8, such images are refused.

    Returns:
        (H, W, 3) uint8 RGB, and what the file's head tells.

    Raises:
        UnreadableImageError: the file is no image, cut off, or refused.
    """
    with opened(content) as image:
        facts = facts_of(image, len(content))
        refuse(image)
        depth = stored_bits(image, content)
        if depth in range(1, EIGHT + 1):
            return np.asarray(as_rgb(image)), facts
        refuse_depth(depth, bits)
        try:
            pixels = scaled_to_eight(content, bits)
        except ValueError as error:
            raise UnreadableImageError(str(error)) from error
        return np.asarray(as_rgb(with_orientation(pixels, image))), facts


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
    except UnidentifiedImageError as error:
        raise UnreadableImageError("is no image, or of an unknown format") from error
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\d+", str(error))
        raise UnreadableImageError(too_large(f"has {int(pixels.group()):,} pixels" if pixels else "is huge")) from error
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
    """Refuse images that are too large, and files of several images other than a camera's JPEG."""
    if image.width * image.height > LARGEST:
        raise UnreadableImageError(too_large(f"has {image.width} x {image.height} pixels"))
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        raise UnreadableImageError(f"holds {getattr(image, 'n_frames', 1)} images; save each as a file of its own")


def too_large(size: str) -> str:
    """Format the refusal of an image that is no single cell."""
    return f"{size}, more than {LARGEST:,}; cut single cells out of it"


def refuse_depth(depth: int, bits: int) -> None:
    """Refuse an image of more than eight bits per channel unless `bits` says which of its values is white."""
    if depth == FLOAT:
        raise UnreadableImageError("holds floating-point values, of which it is not known which is white; save it with 8 bits")
    if depth > MOST_BITS:
        raise UnreadableImageError(f"has {depth} bits per channel; save it with 8 bits, or with 16 and --data.bits 16")
    if bits == EIGHT:
        raise UnreadableImageError(
            f"has {depth} bits per channel; save it with 8 bits, or say with --data.bits N how many the camera uses (often 12)"
        )


def with_orientation(pixels: npt.NDArray[np.uint8], image: Image.Image) -> Image.Image:
    """Make an image of decoded pixels (H, W, 1, 3 or 4) that carries the stored orientation of another."""
    made = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    made.getexif().update(image.getexif())
    return made


def as_rgb(image: Image.Image) -> Image.Image:
    """Convert to RGB as the head of this module says."""
    upright = ImageOps.exif_transpose(image) or image
    if upright.mode == "RGB":
        return upright
    if upright.has_transparency_data:
        white = Image.new("RGBA", upright.size, "white")
        return Image.alpha_composite(white, upright.convert("RGBA")).convert("RGB")
    return upright.convert("RGB")
