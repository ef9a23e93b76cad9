"""Image files decoded once into a memory-mapped array of bytes, shared by all workers and by several runs at once.

A cache is keyed by the content of the files and by the size and crop of its images. Paths, sizes and times of change are only
a shortcut to that key: where they are as before, no file is opened. A cache is built beside its place and moved there when it is
whole, so that what a killed process leaves is never read.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import platformdirs
from filelock import FileLock, Timeout
from tqdm import tqdm

from bcc_lightning.datamodules.decoding import UnreadableImageError, decode, image_facts
from bcc_lightning.datamodules.listing import CellListing
from bcc_lightning.errors import UserError
from bcc_lightning.whole_file import whole_file, write_json

CACHE_DIR_VARIABLE = "BCC_CACHE_DIR"
"""Environment variable that names the folder of all caches."""

LAYOUT = "1"
"""Part of every key; another layout or another way of decoding gets another number."""

NAMED = 3
"""How many bad files an error names."""

CHUNK = 1024
SPARE = 64 * 2**20
"""Bytes that stay free on the disk."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class CachedImages:
    """Decoded images of a listing.

    Attributes:
        images: (N, S, S, 3) uint8 RGB, memory-mapped.
        digests: (N, 32) uint8, SHA-256 of each file, memory-mapped.
        sha256: of the content of all files with their paths, hexadecimal.
        native_side: side in pixels of the largest square that is cut out of a file, before it is shrunk.
    """

    images: npt.NDArray[np.uint8]
    digests: npt.NDArray[np.uint8]
    sha256: str
    native_side: int


def cached_images(listing: CellListing, image_size: int, crop: int | None, cache_dir: str | None) -> CachedImages:
    """Open the cache of a listing; build it where there is none.

    Images are cropped to their centred square, or to `crop` pixels, and brought to one side: `image_size`, or the largest side
    among them where that is smaller.

    Args:
        listing: the files.
        image_size: largest side S of a stored image in pixels.
        crop: side of the centred square that is cut out first; None takes the largest.
        cache_dir: folder of all caches; by default ``$BCC_CACHE_DIR``, else the user's cache folder.

    Raises:
        UserError: a file cannot be read, or the cache cannot be written.
    """
    home = Path(cache_dir or os.environ.get(CACHE_DIR_VARIABLE) or platformdirs.user_cache_path("bcc_lightning"))
    known = home / "known" / f"{stat_key(listing)}.json"
    with refuse_bad_disk(home):
        known.parent.mkdir(parents=True, exist_ok=True)
        if known.is_file() and (cached := open_cache(home, json.loads(known.read_text()), image_size, crop)):
            return cached
        with waiting_for(home / f"{known.stem}.lock"):
            survey = json.loads(known.read_text()) if known.is_file() else survey_files(listing, known)
            folder = cache_folder(home, survey, image_size, crop)
            with waiting_for(folder.with_suffix(".lock")):
                if not folder.is_dir():
                    build(listing, survey, folder, image_size, crop)
            cached = open_cache(home, survey, image_size, crop)
    if cached is None:
        raise UserError(f"the cache {folder} vanished while it was opened; start again")
    return cached


def stat_key(listing: CellListing) -> str:
    """Hash paths, sizes and times of change of all files, which costs no reading."""
    digest = hashlib.sha256(f"{LAYOUT}\n{listing.root.resolve()}\n".encode())
    for path in listing.paths:
        try:
            stat = os.stat(listing.root / path)
        except OSError as error:
            raise UserError(f"{listing.root / path} cannot be read ({error.strerror}); restore it or leave it out") from error
        digest.update(f"{path}\t{stat.st_size}\t{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:32]


def survey_files(listing: CellListing, known: Path) -> dict[str, object]:
    """Read every file once: hash its content, look at its head.

    Returns:
        ``sha256`` of everything, ``side``: the largest short side of an image.
    """
    digests = np.empty((len(listing), 32), np.uint8)
    whole, side, row = hashlib.sha256(), 0, 0
    for path, (digest, short) in zip(
        listing.paths, in_threads(partial(survey_file, listing.root), listing.paths, "reading", len(listing)), strict=True
    ):
        whole.update(path.encode() + b"\0" + digest)
        digests[row] = np.frombuffer(digest, np.uint8)
        side, row = max(side, short), row + 1
    with whole_file(known.with_suffix(".npy")) as draft, draft.open("wb") as stream:
        np.save(stream, digests)
    survey: dict[str, object] = {"sha256": whole.hexdigest(), "side": side, "digests": known.stem}
    write_json(known, survey)
    return survey


def survey_file(root: Path, path: str) -> tuple[bytes, int]:
    """Hash a file and measure its short side, in pixels; 0 where it is no image, which decoding will tell."""
    content = read_content(root / path)
    try:
        facts = image_facts(content)
        return hashlib.sha256(content).digest(), min(facts.width, facts.height)
    except UnreadableImageError:
        return hashlib.sha256(content).digest(), 0


def read_content(file: Path) -> bytes:
    """Read a file of the data set; what goes wrong is not the cache's fault."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}); restore it or leave it out") from error


def cache_folder(home: Path, survey: dict[str, object], image_size: int, crop: int | None) -> Path:
    """Name the folder of a cache by content, size and crop."""
    side = stored_side(survey, image_size, crop)
    key = hashlib.sha256(f"{LAYOUT} {survey['sha256']} {side} {crop}".encode()).hexdigest()[:32]
    return home / f"{side}px-{key}"


def stored_side(survey: dict[str, object], image_size: int, crop: int | None) -> int:
    """Work out the side of the stored images: what the network sees, or less where the files have less."""
    return max(1, min(image_size, native_side(survey, crop)))


def native_side(survey: dict[str, object], crop: int | None) -> int:
    """Work out the side of the largest square that is cut out of a file, in pixels."""
    side = int(str(survey["side"]))
    return side if crop is None else min(crop, side)


def open_cache(home: Path, survey: dict[str, object], image_size: int, crop: int | None) -> CachedImages | None:
    """Open a cache if it is there."""
    try:
        images = np.load(cache_folder(home, survey, image_size, crop) / "images.npy", mmap_mode="r")
        digests = np.load(home / "known" / f"{survey['digests']}.npy", mmap_mode="r")
    except FileNotFoundError:
        return None
    return CachedImages(images, digests, str(survey["sha256"]), native_side(survey, crop))


def build(listing: CellListing, survey: dict[str, object], folder: Path, image_size: int, crop: int | None) -> None:
    """Decode all files into a new cache folder; what fails leaves nothing behind."""
    draft = folder.with_suffix(".partial")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        decode_into(draft / "images.npy", listing, stored_side(survey, image_size, crop), crop)
    except BaseException:
        shutil.rmtree(draft)
        raise
    draft.replace(folder)


def decode_into(file: Path, listing: CellListing, side: int, crop: int | None) -> None:
    """Decode all files of a listing into one array.

    Raises:
        UserError: files cannot be read; the first are named.
    """
    images = new_array(file, (len(listing), side, side, 3))
    bad: list[str] = []
    decoded = in_threads(partial(decode_file, listing.root, side=side, crop=crop), listing.paths, "decoding", len(listing))
    for row, image in enumerate(decoded):
        if isinstance(image, str):
            bad.append(image)
        else:
            images[row] = image
    if bad:
        raise UserError(
            f"{len(bad)} of {len(listing)} files cannot be read: {'; '.join(bad[:NAMED])}{' ...' if bad[NAMED:] else ''}. "
            f"Remove or replace them; `python -m bcc_lightning.data audit --root {listing.root} --out audit` lists all"
        )
    images.flush()


def new_array(file: Path, shape: tuple[int, int, int, int]) -> "np.memmap[tuple[int, ...], np.dtype[np.uint8]]":
    """Make a memory-mapped array whose bytes are reserved first: writing to a full disk through a map would kill the process."""
    needed, free = int(np.prod(shape)), shutil.disk_usage(file.parent).free
    if needed + SPARE > free:
        raise OSError(None, f"{needed / 2**30:.2f} GiB are needed, {free / 2**30:.2f} GiB are free")
    array = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)
    with file.open("r+b") as stream:
        os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)
    return array


def decode_file(root: Path, path: str, side: int, crop: int | None) -> npt.NDArray[np.uint8] | str:
    """Decode a file, crop it and bring it to a side; a file that cannot be read gives a sentence instead."""
    try:
        return fit_square(decode(read_content(root / path))[0], side, crop)
    except UnreadableImageError as error:
        return f"{path} {error}"


def fit_square(image: npt.NDArray[np.uint8], side: int, crop: int | None = None) -> npt.NDArray[np.uint8]:
    """Cut out the centred square and bring it to a side.

    Args:
        image: (H, W, 3) uint8.
        side: S in pixels; shrunk by area averaging, enlarged bilinearly.
        crop: side of the square in pixels, at most the image's short side, which is the default.

    Returns:
        (S, S, 3) uint8.
    """
    height, width = image.shape[:2]
    square = min(height, width, crop or height)
    top, left = (height - square) // 2, (width - square) // 2
    image = image[top : top + square, left : left + square]
    if square == side:
        return image
    method = cv2.INTER_AREA if square > side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (side, side), interpolation=method), np.uint8)


def in_threads(function: Callable[[T], R], items: Iterable[T], what: str, total: int) -> Iterator[R]:
    """Map a function over items in threads, in order, a chunk at a time so that no more than a chunk is held."""
    with ThreadPoolExecutor() as pool, tqdm(total=total, desc=f"{what} images", disable=None, leave=False) as bar:
        rest = iter(items)
        while chunk := list(islice(rest, CHUNK)):
            for result in pool.map(function, chunk):
                yield result
                bar.update()


@contextmanager
def waiting_for(lock: Path) -> Iterator[None]:
    """Hold a lock; say so where another process has it."""
    held = FileLock(lock)
    try:
        held.acquire(timeout=0.1)
    except Timeout:
        print(f"another process builds the cache {lock.stem}; waiting for it")
        held.acquire()
    try:
        yield
    finally:
        held.release()


@contextmanager
def refuse_bad_disk(home: Path) -> Iterator[None]:
    """Turn what a full or read-only disk raises into an error that names the folder and the way out."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f"the cache of decoded images cannot be written to {home} ({reason}); free space there, or name another folder with "
            f"--data.cache_dir DIR or {CACHE_DIR_VARIABLE}=DIR"
        ) from error
