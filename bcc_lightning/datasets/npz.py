"""Reading arrays from ``.npz`` files that may be missing, truncated, altered or malicious."""

import hashlib
import math
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from bcc_lightning.errors import UserError

LARGEST_RATIO, SMALL = 200, 2**28
"""Largest compression factor allowed for an array of more than 256 MiB; images hardly reach a factor of ten."""


def file_hash(file: Path, algorithm: str) -> str:
    """Return the hexadecimal ``md5`` or ``sha256`` digest of a file, read in chunks."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def read_npz(file: Path, keys: list[str]) -> dict[str, npt.NDArray[np.generic]]:
    """Read arrays from an npz file; pickled objects are refused because loading them would run code.

    Args:
        file: the file.
        keys: names of the arrays.

    Raises:
        UserError: the file is truncated or not an npz file, lacks a key, or holds pickled objects.
    """
    try:
        refuse_bomb(file)
        with np.load(file, allow_pickle=False) as archive:
            missing = [key for key in keys if key not in archive]
            if missing:
                raise UserError(
                    f"{file} lacks {', '.join(missing)}; it must hold {', '.join(keys)} but holds {', '.join(archive)}"
                )
            return {key: archive[key] for key in keys}
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise UserError(broken(file, error)) from error
        raise UserError(f"{file} is refused because it holds pickled objects, which could run code; save uint8 arrays") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, MemoryError) as error:
        raise UserError(broken(file, error)) from error


def refuse_bomb(file: Path) -> None:
    """Refuse an archive whose arrays would not fit into memory, or are compressed further than images can be.

    Only the archive's directory and the headers of its arrays are read.

    Raises:
        UserError: the message names the sizes.
    """
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        for entry in entries:
            if entry.file_size > SMALL and entry.file_size > LARGEST_RATIO * entry.compress_size:
                raise UserError(
                    f"{file} packs {entry.file_size:,} bytes of {entry.filename!a} into {entry.compress_size:,}, too few for "
                    "images; it is refused because unpacking it could fill the memory. Download or write the file again"
                )
            with archive.open(entry) as stream:
                refuse_false_head(file, entry, stream)
    total, free = sum(entry.file_size for entry in entries), free_memory()
    if total > free:
        raise UserError(f"{file} holds {total:,} bytes unpacked, but {free:,} bytes of memory are free; use a machine with more")


def refuse_false_head(file: Path, entry: zipfile.ZipInfo, stream: IO[bytes]) -> None:
    """Refuse an array whose header declares more bytes than the archive holds: NumPy would reserve memory for all of them."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    promised = math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and promised > entry.file_size:
        raise UserError(f"{file}: {entry.filename!a} states {promised:,} bytes but holds {entry.file_size:,}; download it again")


def free_memory() -> int:
    """Return the available memory in bytes; a very large number if the system does not report it."""
    try:
        fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return 2**63


def broken(file: Path, error: Exception) -> str:
    """Format the message for a file that cannot be decoded."""
    return f"{file} ({file.stat().st_size:,} bytes) is cut off or damaged ({error!s:.100}); download or copy it again"


def as_cells(
    images: npt.NDArray[np.generic], labels: npt.NDArray[np.generic], source: str
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Check shapes and types of images and labels.

    Args:
        images: expected are (N, S, S, 3) uint8.
        labels: (N,) or (N, 1) whole numbers, also as floats, or (N, C) one-hot rows.
        source: name of the file or data set, for the message.

    Returns:
        Images unchanged, and (N,) int64 labels.

    Raises:
        UserError: shape, type or number is different.
    """
    side = images.shape[1] if images.ndim > 1 else 0
    if images.shape != (len(images), side, side, 3) or images.dtype != np.uint8:
        raise UserError(f"{source} holds images {images.shape} {images.dtype}; expected: (N, S, S, 3) uint8")
    found = f"{source} holds labels {labels.shape} {labels.dtype} for {len(images)} images"
    if not np.issubdtype(labels.dtype, np.number) or len(labels) != len(images) or labels.ndim not in {1, 2}:
        raise UserError(f"{found}; expected: one whole number, or one one-hot row, for each image")
    if not len(images):
        raise UserError(f"{source} holds no images; download or write the file again, or choose another data set")
    return images.astype(np.uint8, copy=False), whole_labels(np.asarray(labels, np.float64).reshape(len(labels), -1), found)


def whole_labels(values: npt.NDArray[np.float64], found: str) -> npt.NDArray[np.int64]:
    """Read labels from (N, 1) whole numbers, or from (N, C) one-hot rows, whose label is the column with the 1."""
    if values.shape[1] == 1:
        if (values != np.round(values)).any():
            raise UserError(f"{found}; they are not whole numbers, the first is {values[values != np.round(values)][0]}")
        return values[:, 0].astype(np.int64)
    if not (np.isin(values, (0, 1)).all() and (values.sum(axis=1) == 1).all()):
        raise UserError(f"{found}; a one-hot row must hold a single 1 and otherwise 0")
    return np.asarray(values.argmax(axis=1), np.int64)
