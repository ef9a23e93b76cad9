"""Image files, decoded once into a memory-mapped array of bytes that all workers and several runs share.

A cache is keyed by the content of the files and by the size, crop, magnification and bits of its images. Paths, sizes, times and
inodes of the files are only a shortcut to that key: if they are unchanged, no file is opened. A file replaced by another of the
same size and modification time is noticed by its inode or its status-change time (ctime), which no program can set. A cache is
built in a temporary folder and moved into place when complete, so that the remains of a killed process are never read.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import platformdirs
from filelock import FileLock, Timeout
from tqdm import tqdm

from bcc_lightning.datasets.decoding import UnreadableImageError, decode, image_facts
from bcc_lightning.datasets.depth import EIGHT
from bcc_lightning.datasets.framing import Magnification, fit_square, odd_frames, show_field
from bcc_lightning.datasets.identity import content_hash
from bcc_lightning.datasets.listing import CellListing
from bcc_lightning.errors import UserError
from bcc_lightning.files import whole_file, write_json

CACHE_DIR_VARIABLE = "BCC_CACHE_DIR"
"""Environment variable that names the folder of all caches."""

LAYOUT = "3"
"""Part of every key; to be raised when the layout or the decoding changes."""

STILL_SECONDS = 2
"""Seconds for which the newest file must have been unchanged before it was read. File times can be that coarse (FAT): a later
change within the same interval would have the same time."""

SIDES = ".sides.npy"
"""Ending of the file that holds the sides of the images."""

Sides = npt.NDArray[np.int64]

NAMED = 3
"""Number of bad files that an error names."""

CHUNK = 1024
SPARE = 64 * 2**20
"""Bytes to leave free on the disk."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class CachedImages:
    """Decoded images of a listing.

    Attributes:
        images: (N, S, S, 3) uint8 RGB, memory-mapped.
        digests: (N, 32) uint8, SHA-256 of each file, memory-mapped.
        content: hash of the content of all files with their paths, independent of their order, hexadecimal.
        native_side: side in pixels of the largest square that is cropped from a file, before it is shrunk.
        field: side in micrometres of the square that is shown of each file; None where the size of pixels is unknown.
        odd: files whose size fits the field of view badly, see `odd_frames`.
    """

    images: npt.NDArray[np.uint8]
    digests: npt.NDArray[np.uint8]
    content: str
    native_side: int
    field: float | None = None
    odd: int = 0


def cached_images(
    listing: CellListing,
    image_size: int,
    crop: int | None,
    cache_dir: str | None,
    bits: int = EIGHT,
    reread: bool = False,
    enlarge: bool = False,
    magnification: Magnification | None = None,
) -> CachedImages:
    """Open the cache of a listing; build it if there is none.

    Images are cropped to their central square, to `crop` pixels, or to as many micrometres, and resized to one side:
    `image_size`, or the largest side among them if that is smaller.

    Args:
        listing: the files.
        image_size: largest side S of a stored image in pixels.
        crop: side of the central square that is cropped first; None takes the largest.
        cache_dir: folder of all caches; by default ``$BCC_CACHE_DIR``, else the user's cache folder.
        bits: see `bcc_lightning.datasets.decoding.decode`.
        reread: read and decode all files again, even if they seem unchanged.
        enlarge: store `image_size` also where all images are smaller.
        magnification: sizes of the pixels, if they are known: all images then show the same field of view, mirrored beyond
            their borders where they are smaller.

    Raises:
        UserError: a file cannot be read, or the cache cannot be written.
    """
    home = cache_home(cache_dir)
    key, newest = stat_key(listing)
    known, shape = home / "known" / f"{key}.json", StoredShape(image_size, crop, bits, enlarge, magnification)
    with refuse_bad_disk(home):
        known.parent.mkdir(parents=True, exist_ok=True)
        survey = None if reread else trusted_survey(known, newest)
        if survey and (cached := open_cache(home, survey, shape, len(listing))):
            return cached
        with waiting_for(home / f"{known.stem}.lock"):
            survey = (None if reread else trusted_survey(known, newest)) or survey_files(listing, known)
            folder = cache_folder(home, survey, shape)
            with waiting_for(folder.with_suffix(".lock")):
                if reread or open_cache(home, survey, shape, len(listing)) is None:
                    build(listing, survey, folder, shape)
            cached = open_cache(home, survey, shape, len(listing))
    if cached is None:
        raise UserError(f"the cache {folder} was removed while it was being opened; start the command again")
    return cached


class StoredShape(NamedTuple):
    """How images are stored.

    Attributes:
        image_size: largest side.
        crop: side of the square that is cropped first.
        bits: see `cached_images`.
        enlarge: whether smaller images are enlarged.
        magnification: by which each file is cropped or mirrored to the same field of view.
    """

    image_size: int
    crop: int | None
    bits: int
    enlarge: bool = False
    magnification: Magnification | None = None

    def native_side(self, sides: Sides) -> int:
        """Return the largest side of a square that is shown of a file, in pixels; `sides` are those of the files, (N,)."""
        shown = self.cropped(sides) if self.magnification is None else self.magnification.crops(self.cropped(sides))
        return int(shown.max())

    def field(self, sides: Sides) -> float | None:
        """Return the side in micrometres of the square that is shown of each file."""
        return self.magnification.field_of(self.cropped(sides)) if self.magnification else None

    def crops(self, sides: Sides) -> list[int | None]:
        """Return the side in pixels of the square that is shown of each file; None takes the largest."""
        known = self.magnification
        return [self.crop] * len(sides) if known is None else known.crops(self.cropped(sides)).tolist()

    def cropped(self, sides: Sides) -> Sides:
        """Return the sides of the squares that are cropped from the files first."""
        return sides if self.crop is None else np.minimum(sides, self.crop)


def stat_key(listing: CellListing) -> tuple[str, int]:
    """Hash paths, sizes, times and inodes of all files, without opening them.

    Returns:
        The hash, and the newest time, in nanoseconds since 1970.
    """
    digest, newest = hashlib.sha256(f"{LAYOUT}\n{listing.root.resolve()}\n".encode()), 0
    for path in listing.paths:
        try:
            stat = os.stat(listing.root / path)
        except OSError as error:
            raise UserError(f"{listing.root / path} cannot be read ({error.strerror}); restore it or leave it out") from error
        newest = max(newest, stat.st_mtime_ns, stat.st_ctime_ns)
        digest.update(f"{path}\t{stat.st_size}\t{stat.st_mtime_ns}\t{stat.st_ctime_ns}\t{stat.st_ino}\n".encode())
    return digest.hexdigest()[:32], newest


def trusted_survey(known: Path, newest: int) -> dict[str, Any] | None:
    """Read the stored survey of the files; None if there is none, or if a file may have changed just after it was read."""
    try:
        survey: dict[str, Any] = {**json.loads(known.read_text()), "sides": np.load(known.with_suffix(SIDES))}
    except (FileNotFoundError, ValueError, EOFError):
        return None
    return survey if newest + STILL_SECONDS * 10**9 <= survey["read_at"] else None


def survey_files(listing: CellListing, known: Path) -> dict[str, Any]:
    """Read every file once: hash its content and read its header.

    Returns:
        ``sha256``: hash of all files in their order; ``content``: hash independent of their order; ``sides``: (N,) short sides
        of the images in pixels; ``read_at``: when reading began, in nanoseconds since 1970.
    """
    read_at = time.time_ns()
    digests, sides = np.empty((len(listing), 32), np.uint8), np.zeros(len(listing), np.int64)
    whole = hashlib.sha256()
    read = in_threads(partial(survey_file, listing.root), listing.paths, "reading", len(listing))
    for row, (path, (digest, side)) in enumerate(zip(listing.paths, read, strict=True)):
        whole.update(path.encode() + b"\0" + digest)
        digests[row], sides[row] = np.frombuffer(digest, np.uint8), side
    for suffix, values in ((".npy", digests), (SIDES, sides)):
        with whole_file(known.with_suffix(suffix)) as draft, draft.open("wb") as stream:
            np.save(stream, values)
    content = content_hash(listing.paths, digests)
    survey = {"sha256": whole.hexdigest(), "content": content, "digests": known.stem, "read_at": read_at}
    write_json(known, survey)
    return {**survey, "sides": sides}


def survey_file(root: Path, path: str) -> tuple[bytes, int]:
    """Hash a file and read its short side in pixels; 0 if it is not an image, which decoding reports later."""
    content = read_content(root / path)
    try:
        facts = image_facts(content)
        return hashlib.sha256(content).digest(), min(facts.width, facts.height)
    except UnreadableImageError:
        return hashlib.sha256(content).digest(), 0


def read_content(file: Path) -> bytes:
    """Read a file of the data set; an error names the file, not the cache."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}); restore it or leave it out") from error


def cache_home(cache_dir: str | None = None) -> Path:
    """Return the folder of all caches: the one that is given, ``$BCC_CACHE_DIR``, or the user's cache folder."""
    return Path(cache_dir or os.environ.get(CACHE_DIR_VARIABLE) or platformdirs.user_cache_path("bcc_lightning"))


def cache_folder(home: Path, survey: dict[str, Any], shape: StoredShape) -> Path:
    """Return the folder of a cache, named after content, size, crop and bits."""
    side = stored_side(survey, shape)
    kind = f"{side} {shape.crop} {shape.bits}{shape.magnification or ''}"
    key = hashlib.sha256(f"{LAYOUT} {survey['sha256']} {kind}".encode()).hexdigest()[:32]
    return home / f"{side}px-{key}"


def stored_side(survey: dict[str, Any], shape: StoredShape) -> int:
    """Return the side of the stored images: the network's input size, or less if the files are smaller and not enlarged."""
    return shape.image_size if shape.enlarge else max(1, min(shape.image_size, shape.native_side(survey["sides"])))


def open_cache(home: Path, survey: dict[str, Any], shape: StoredShape, cells: int) -> CachedImages | None:
    """Open a cache; None if it is missing or damaged."""
    try:
        images = np.load(cache_folder(home, survey, shape) / "images.npy", mmap_mode="r")
        digests = np.load(home / "known" / f"{survey['digests']}.npy", mmap_mode="r")
    except (FileNotFoundError, ValueError, EOFError):
        return None
    side = stored_side(survey, shape)
    if images.shape != (cells, side, side, 3) or digests.shape != (cells, 32):
        return None
    sides = survey["sides"]
    odd = int(odd_frames(shape.magnification.crops(shape.cropped(sides)), sides).sum()) if shape.magnification else 0
    return CachedImages(images, digests, survey["content"], shape.native_side(sides), shape.field(sides), odd)


def build(listing: CellListing, survey: dict[str, Any], folder: Path, shape: StoredShape) -> None:
    """Decode all files into a new cache folder that replaces a damaged one; a failure leaves nothing behind."""
    draft = folder.with_suffix(".partial")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        decode_into(draft / "images.npy", listing, survey, shape)
    except BaseException:
        shutil.rmtree(draft)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    draft.replace(folder)


def decode_into(file: Path, listing: CellListing, survey: dict[str, Any], shape: StoredShape) -> None:
    """Decode all files of a listing into one array.

    Raises:
        UserError: files cannot be read; the first are named.
    """
    side = stored_side(survey, shape)
    images = new_array(file, (len(listing), side, side, 3))
    bad: list[str] = []
    files = zip(listing.paths, shape.crops(survey["sides"]), strict=True)
    decoded = in_threads(partial(decode_file, listing.root, side, shape), files, "decoding", len(listing))
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
    """Create a memory-mapped array and reserve its bytes first: writing to a full disk through a map would kill the process."""
    needed, free = int(np.prod(shape)), shutil.disk_usage(file.parent).free
    if needed + SPARE > free:
        raise OSError(None, f"{needed / 2**30:.2f} GiB are needed, {free / 2**30:.2f} GiB are free")
    array = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)
    with file.open("r+b") as stream:
        os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)
    return array


def decode_file(root: Path, side: int, shape: StoredShape, file: tuple[str, int | None]) -> npt.NDArray[np.uint8] | str:
    """Decode a file, crop and resize it; for a file that cannot be read, return a sentence instead."""
    path, crop = file
    try:
        image = decode(read_content(root / path), shape.bits)[0]
        return show_field(image, side, crop) if shape.magnification and crop else fit_square(image, side, crop)
    except UnreadableImageError as error:
        return f"{path} {error}"


def in_threads(function: Callable[[T], R], items: Iterable[T], what: str, total: int) -> Iterator[R]:
    """Map a function over items in threads, in order, a chunk at a time to limit memory."""
    with ThreadPoolExecutor() as pool, tqdm(total=total, desc=f"{what} images", disable=None, leave=False) as bar:
        rest = iter(items)
        while chunk := list(islice(rest, CHUNK)):
            for result in pool.map(function, chunk):
                yield result
                bar.update()


@contextmanager
def waiting_for(lock: Path) -> Iterator[None]:
    """Hold a lock; print a line if another process has it."""
    held = FileLock(lock)
    try:
        held.acquire(timeout=0.1)
    except Timeout:
        print(f"Another process is building the cache {lock.stem}; waiting for it.")
        held.acquire()
    try:
        yield
    finally:
        held.release()


@contextmanager
def refuse_bad_disk(home: Path) -> Iterator[None]:
    """Turn the error of a full or read-only disk into one that names the folder and the next step."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f"the cache of decoded images cannot be written to {home} ({reason}); free space there, or name another folder with "
            f"--data.cache_dir DIR or {CACHE_DIR_VARIABLE}=DIR"
        ) from error
