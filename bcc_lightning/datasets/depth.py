"""Number of bits per colour channel of an image file, and scaling of more than eight to eight.

Pillow opens 16-bit colour images as if they had eight bits and silently drops the lower half. Therefore the depth is read from
the file's header before anything is decoded.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

FLOAT = 0
"""Depth of images whose values are floating-point numbers."""

EIGHT = 8
MOST_BITS = 16

TIFF_BITS, TIFF_FORMAT, TIFF_FLOAT = 258, 339, 3
"""Tags ``BitsPerSample`` and ``SampleFormat``, and the format that means floating point."""

JPEG2000_SIZE = b"\xff\x4f\xff\x51"
"""Start of a codestream and its ``SIZ`` marker."""

PNM_HEADER = re.compile(rb"P[2356](?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+(\d+)")


def stored_bits(image: Image.Image, content: bytes) -> int:
    """Read the bits per channel of an opened, not yet decoded image.

    Args:
        image: as Pillow has opened it.
        content: the whole file.

    Returns:
        Bits of the deepest channel; `FLOAT` for floating-point values.
    """
    if image.mode.startswith("F"):
        return FLOAT
    reader = READERS.get(str(image.format))
    told = reader(image, content) if reader else EIGHT
    by_mode = {"I": 32}.get(image.mode, 16 if image.mode.startswith("I;") else EIGHT)
    return told if told == FLOAT or told > EIGHT else by_mode


def of_tiff(image: Image.Image, content: bytes) -> int:
    """Read the tags of a TIFF file."""
    tags: Mapping[int, Any] = cast(TiffImageFile, image).tag_v2
    formats = tags.get(TIFF_FORMAT, (1,))
    if TIFF_FLOAT in (formats if isinstance(formats, tuple) else (formats,)):
        return FLOAT
    bits = tags.get(TIFF_BITS, (1,))
    return int(max(bits if isinstance(bits, tuple) else (bits,)))


def of_pnm(image: Image.Image, content: bytes) -> int:
    """Read the maximum value in the header of a PPM or PGM file."""
    head = PNM_HEADER.match(content)
    return int(head.group(1)).bit_length() if head else EIGHT


def of_jpeg2000(image: Image.Image, content: bytes) -> int:
    """Read the depth of each component from the ``SIZ`` marker (ISO/IEC 15444-1, A.5.1)."""
    start = content.find(JPEG2000_SIZE)
    if start < 0:
        return EIGHT
    count = int.from_bytes(content[start + 40 : start + 42])
    return max([EIGHT, *((content[start + 42 + 3 * place] & 0x7F) + 1 for place in range(count))])


def of_avif(image: Image.Image, content: bytes) -> int:
    """Read the flags of the AV1 configuration box (AV1 in ISOBMFF, 2.3.3)."""
    start = content.find(b"av1C")
    flags = content[start + 6] if 0 <= start < len(content) - 6 else 0
    if not flags & 0x40:
        return EIGHT
    return 12 if flags & 0x20 else 10


def of_dds(image: Image.Image, content: bytes) -> int:
    """Recognise block compression 6, which holds half-precision floats."""
    return FLOAT if "BC6" in str(cast(ImageFile, image).tile) else EIGHT


READERS: dict[str, Callable[[Image.Image, bytes], int]] = {
    "PNG": lambda image, content: content[24],
    "TIFF": of_tiff,
    "PPM": of_pnm,
    "JPEG2000": of_jpeg2000,
    "SGI": lambda image, content: 8 * content[3],
    "PSD": lambda image, content: int.from_bytes(content[22:24]),
    "AVIF": of_avif,
    "DDS": of_dds,
}
"""Readers by Pillow's name of the format; all other formats hold at most eight bits, or their mode states more."""


def scaled_to_eight(content: bytes, bits: int) -> npt.NDArray[np.uint8]:
    """Decode an image of up to 16 bits per channel and scale it linearly: value * 255 / (2**bits - 1), rounded.

    Args:
        content: the whole file.
        bits: number of bits that the values have, 9 to 16.

    Returns:
        (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA, uint8.

    Raises:
        ValueError: OpenCV cannot decode it, or a value is above 2**bits - 1.
    """
    flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
    stored = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    if stored is None or stored.dtype != np.uint16:
        raise ValueError("is in a format from which more than 8 bits per channel cannot be read; save it as 16-bit PNG or TIFF")
    largest, white = int(stored.max()), 2**bits - 1
    if largest > white:
        raise ValueError(f"holds the value {largest}, more than {bits} bits allow; use --data.bits {largest.bit_length()}")
    eight = np.rint(stored * (255 / white)).astype(np.uint8)
    eight = eight[..., None] if eight.ndim == 2 else eight  # noqa: PLR2004 - grey
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[eight.shape[2]]  # OpenCV's order is blue, green, red
    return np.ascontiguousarray(eight[..., order])
