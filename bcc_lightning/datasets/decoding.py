"""From image files to RGB bytes: which images are converted and which are refused.

Grey, palette, CMYK and CIELAB images become RGB; transparency is blended over white; a stored orientation is applied. From a JPEG
with several images, as some cameras write it, the first is read. Images of more than eight bits per channel are refused unless
`bits` says which value is white; floating-point images and other files with several images are always refused.
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
"""Formats that Pillow only recognises, or passes to another program."""


def image_suffixes() -> frozenset[str]:
    """List the file endings of all formats that Pillow reads, in lower case."""
    Image.init()
    return frozenset(end for end, kind in Image.registered_extensions().items() if kind in Image.OPEN and kind not in NOT_READ)


SUFFIXES = image_suffixes()
"""Endings of files that are read as images, in lower case."""

LARGEST = 64_000_000
"""Largest number of pixels; a larger image is not a single cell but a decompression bomb or a whole slide."""

# Pillow warns above 89 million pixels and raises above twice as many; `refuse` refuses all of these with its own message.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class UnreadableImageError(ValueError):
    """A file that is not an image, holds only part of one, or is refused; the message says which."""


class ImageFacts(NamedTuple):
    """The contents of an image file's header.

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
        bits: bits per value of images with more than eight bits per channel, 9 to 16; they are scaled to eight. With 8, such
            images are refused.

    Returns:
        (H, W, 3) uint8 RGB, and the file's header.

    Raises:
        UnreadableImageError: the file is not an image, is truncated, or is refused.
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
    """Read only the header of an image file; raises as `decode`."""
    with opened(content) as image:
        return facts_of(image, len(content))


def facts_of(image: Image.Image, size: int) -> ImageFacts:
    """Collect the header of an opened image."""
    return ImageFacts(*image.size, image.mode, str(image.format), size)


@contextmanager
def opened(content: bytes) -> Iterator[Image.Image]:
    """Open an image file; turn every error of Pillow into `UnreadableImageError`."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            yield image
    except UnreadableImageError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImageError("is not an image, or has an unknown format") from error
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\d+", str(error))
        raise UnreadableImageError(too_large(f"has {int(pixels.group()):,} pixels" if pixels else "is very large")) from error
    # Pillow's decoders raise almost any exception on a damaged file.
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
        raise UnreadableImageError(f"holds {getattr(image, 'n_frames', 1)} images; save each in a separate file")


def too_large(size: str) -> str:
    """Format the refusal of an image that is too large to be a single cell."""
    return f"{size}, more than {LARGEST:,}; crop single cells from it"


def refuse_depth(depth: int, bits: int) -> None:
    """Refuse an image of more than eight bits per channel unless `bits` says which value is white."""
    if depth == FLOAT:
        raise UnreadableImageError("holds floating-point values, and it is unknown which is white; save it with 8 bits")
    if depth > MOST_BITS:
        raise UnreadableImageError(f"has {depth} bits per channel; save it with 8 bits, or with 16 and --data.bits 16")
    if bits == EIGHT:
        raise UnreadableImageError(
            f"has {depth} bits per channel; save it with 8 bits, or give the bits of the camera with --data.bits N (often 12)"
        )


def with_orientation(pixels: npt.NDArray[np.uint8], image: Image.Image) -> Image.Image:
    """Return decoded pixels (H, W, 1, 3 or 4) as an image with the stored orientation of another."""
    made = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    made.getexif().update(image.getexif())
    return made


def as_rgb(image: Image.Image) -> Image.Image:
    """Convert to RGB, see the docstring of this module."""
    upright = ImageOps.exif_transpose(image) or image
    if upright.mode == "RGB":
        return upright
    if upright.has_transparency_data:
        white = Image.new("RGBA", upright.size, "white")
        return Image.alpha_composite(white, upright.convert("RGBA")).convert("RGB")
    return upright.convert("RGB")
