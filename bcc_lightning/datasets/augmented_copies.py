"""The files of a balanced folder: originals and augmented copies as PNG."""

import hashlib
import io
import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from bcc_lightning.datasets.decoding import UnreadableImageError, read_image
from bcc_lightning.errors import UserError
from bcc_lightning.files import whole_file
from bcc_lightning.transforms.pipelines import Pipeline, make_pipeline, seed_pipeline

STEM = 40
"""Characters of the source's name that are kept in the file name: at most 160 bytes, so that long non-Latin names fit."""
ATTEMPTS = 200
"""How often a copy is drawn again when it equals another image of the same cell."""


class Source(NamedTuple):
    """A training cell and the number of its augmented copies.

    Attributes:
        path: relative to the listing's root.
        class_name: its class.
        copies: number of augmented copies in addition to the original.
    """

    path: str
    class_name: str
    copies: int

    def file(self, copy: int) -> str:
        """Return the file name of a copy, 0 for the original; sources with the same name get different hashes of their paths."""
        path = self.path.encode()
        stem = Path(self.path).stem[:STEM]
        return f"{self.class_name}/{stem}_{hashlib.sha256(path).hexdigest()[:12]}_{copy:03d}.png"

    def files(self) -> list[str]:
        """Return the file names of the original and all copies."""
        return [self.file(copy) for copy in range(self.copies + 1)]


class Copier:
    """Writes originals and copies; threads may share it.

    Args:
        augment: augmentation of the copies.
        seed: seed of the augmentation.
    """

    def __init__(self, augment: str | dict[str, Any], seed: int) -> None:
        if make_pipeline(augment) is None:
            raise UserError(
                f"augmentation '{augment}' changes nothing, the copies would be byte-identical; choose another, e.g. standard"
            )
        self.augment = augment
        self.seed = seed
        self.of_thread = threading.local()

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline of this thread; each has its own random state."""
        if not hasattr(self.of_thread, "pipeline"):
            self.of_thread.pipeline = make_pipeline(self.augment)
        pipeline: Pipeline = self.of_thread.pipeline
        return pipeline

    def write(self, root: Path, out: Path, source: Source, whole: dict[str, str]) -> dict[str, str]:
        """Write the files of a source that are missing or damaged; return the SHA-256 of each."""
        image = readable(root / source.path)
        seen: set[str] = set()
        written = {}
        for copy, file in enumerate(source.files()):
            if file not in whole:
                content = self.copy(image, source, copy, seen)
                with whole_file(out / file) as draft:
                    draft.write_bytes(content)
                written[file] = sha256(content)
            seen.add(whole.get(file) or written[file])
        return written

    def copy(self, image: npt.NDArray[np.uint8], source: Source, copy: int, seen: set[str]) -> bytes:
        """Return the PNG of a copy that differs from those seen so far, or of the original if `copy` is 0.

        Raises:
            UserError: the augmentation cannot make enough different images of a cell.
        """
        if copy == 0:
            return as_png(image)
        path = np.frombuffer(hashlib.sha256(source.path.encode()).digest()[:16], "<u4").astype(np.int64)
        for attempt in range(ATTEMPTS):
            seed_pipeline(self.pipeline, self.seed, copy, np.append(path, attempt))
            content = as_png(self.pipeline(image=image)["image"])
            if sha256(content) not in seen:
                return content
        raise UserError(
            f"augmentation '{self.augment}' makes only {len(seen)} different images of {source.path}, but class "
            f"{source.class_name} needs {source.copies + 1} of each cell; choose a stronger one, e.g. standard"
        )


def readable(file: Path) -> npt.NDArray[np.uint8]:
    """Read an image of the data set.

    Raises:
        UserError: the file cannot be read; the message names it.
    """
    try:
        return read_image(file)
    except UnreadableImageError as error:
        raise UserError(f"{error}; remove or replace it, `python -m bcc_lightning.data audit` lists all such files") from error
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}); restore it or leave it out") from error


def as_png(image: npt.NDArray[np.uint8]) -> bytes:
    """Encode (H, W, 3) uint8 as PNG, without loss."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def sha256(content: bytes) -> str:
    """Hash bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
