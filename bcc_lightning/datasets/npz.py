"""Reading arrays from ``.npz`` files that may be missing, cut off, altered or hostile."""

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
"""How many times smaller than its content an array of more than 256 MiB may be packed; images are hardly ten times smaller."""


def file_hash(file: Path, algorithm: str) -> str:
    """Hash a file without reading it into memory at once: hexadecimal digest by ``md5`` or ``sha256``."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def read_npz(file: Path, keys: list[str]) -> dict[str, npt.NDArray[np.generic]]:
    """Read arrays from an npz file; pickled objects are refused, since loading them would run code.

    Args:
        file: the file.
        keys: names of the arrays.

    Raises:
        UserError: the file is cut off or no npz, lacks a key, or holds pickled objects.
    """
    try:
        refuse_bomb(file)
        with np.load(file, allow_pickle=False) as archive:
            missing = [key for key in keys if key not in archive]
            if missing:
                raise UserError(
                    f"{file} lacks {', '.join(missing)}; it must hold {', '.join(keys)}, it holds {', '.join(archive)}"
                )
            return {key: archive[key] for key in keys}
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise UserError(broken(file, error)) from error
        raise UserError(f"{file} holds pickled objects, which could run code, and is refused; save plain uint8 arrays") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, MemoryError) as error:
        raise UserError(broken(file, error)) from error


def refuse_bomb(file: Path) -> None:
    """Refuse an archive whose arrays would not fit into memory, or that are far larger than images can be packed.

    Only the archive's directory and the heads of its arrays are read.

    Raises:
        UserError: with the sizes.
    """
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        for entry in entries:
            if entry.file_size > SMALL and entry.file_size > LARGEST_RATIO * entry.compress_size:
                raise UserError(
                    f"{file} packs {entry.file_size:,} bytes of {entry.filename!a} into {entry.compress_size:,}, unlike images; "
                    "it is refused, since unpacking it could fill the memory"
                )
            with archive.open(entry) as stream:
                refuse_false_head(file, entry, stream)
    total, free = sum(entry.file_size for entry in entries), free_memory()
    if total > free:
        raise UserError(f"{file} holds {total:,} bytes unpacked, but {free:,} bytes of memory are free; use a machine with more")


def refuse_false_head(file: Path, entry: zipfile.ZipInfo, stream: IO[bytes]) -> None:
    """Refuse an array whose head promises more than the archive holds: NumPy would reserve memory for all of it."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    promised = math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and promised > entry.file_size:
        raise UserError(f"{file}: {entry.filename!a} promises {promised:,} bytes and holds {entry.file_size:,}; fetch it again")


def free_memory() -> int:
    """Read how much memory programs can still have, in bytes; a very large number where the system does not say."""
    try:
        fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return 2**63


def broken(file: Path, error: Exception) -> str:
    """Word the message for a file that cannot be decoded."""
    return f"{file} ({file.stat().st_size:,} bytes) is cut off or damaged ({error!s:.100}); fetch or copy it again"


def as_cells(
    images: npt.NDArray[np.generic], labels: npt.NDArray[np.generic], source: str
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Check shapes and types of images and labels.

    Args:
        images: (N, S, S, 3) uint8 is expected.
        labels: (N,) or (N, 1) whole numbers, also as floats, or (N, C) one-hot rows.
        source: where they come from, for the message.

    Returns:
        Images as they are, and (N,) int64 labels.

    Raises:
        UserError: shape, type or number is another.
    """
    side = images.shape[1] if images.ndim > 1 else 0
    if images.shape != (len(images), side, side, 3) or images.dtype != np.uint8:
        raise UserError(f"{source} holds images {images.shape} {images.dtype}; expected are (N, S, S, 3) uint8")
    found = f"{source} holds labels {labels.shape} {labels.dtype} for {len(images)} images"
    if not np.issubdtype(labels.dtype, np.number) or len(labels) != len(images) or labels.ndim not in {1, 2}:
        raise UserError(f"{found}; expected is one whole number, or one one-hot row, each")
    if not len(images):
        raise UserError(f"{source} holds no images; fetch or write the file again, or choose another data set")
    return images.astype(np.uint8, copy=False), whole_labels(np.asarray(labels, np.float64).reshape(len(labels), -1), found)


def whole_labels(values: npt.NDArray[np.float64], found: str) -> npt.NDArray[np.int64]:
    """Read labels from numbers: (N, 1) whole numbers, or (N, C) one-hot rows, which give the place of their one."""
    if values.shape[1] == 1:
        if (values != np.round(values)).any():
            raise UserError(f"{found}; they are no whole numbers, the first is {values[values != np.round(values)][0]}")
        return values[:, 0].astype(np.int64)
    if not (np.isin(values, (0, 1)).all() and (values.sum(axis=1) == 1).all()):
        raise UserError(f"{found}; a one-hot row holds one 1 and else 0")
    return np.asarray(values.argmax(axis=1), np.int64)
