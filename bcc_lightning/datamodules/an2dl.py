"""AN2DL: the cells of a course challenge, 96x96, contaminated with 1,800 copies of two images that are not cells.

Politecnico di Milano, Artificial Neural Networks and Deep Learning 2024-25, first homework (Codabench 4430).
"""

from functools import cached_property
from hashlib import sha256
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from bcc_lightning.argument_types import check_types
from bcc_lightning.datamodules.base import CellDataModule
from bcc_lightning.datasets.cells import CellImages, Names, check_labels
from bcc_lightning.datasets.classes import EIGHT_CELL_CLASSES
from bcc_lightning.datasets.identity import content_numbers, without_copies
from bcc_lightning.datasets.npz import as_cells, file_hash, read_npz
from bcc_lightning.datasets.places import an2dl_file, refuse_missing_an2dl

NON_CELL_COPIES = 10
"""An image with this many copies or more is not a cell: the largest group of identical cells in PBC, the source, is smaller."""

THUMBNAIL = 16
ALIKE = 10.0
"""Mean difference of two thumbnails, in grey levels, below which they show the same image, re-encoded or rescaled."""


class AN2DL(CellDataModule):
    """The challenge's ``training_set.npz`` without its outliers, divided 80/10/10 by class.

    Images that occur ten times or more, everything that looks like them, and further copies of a cell are left out.

    Args:
        keep_outliers: train on the unchanged file.
        **base: see `CellDataModule`.
    """

    class_names = EIGHT_CELL_CLASSES
    folder = "an2dl"

    def __init__(
        self,
        keep_outliers: bool = False,
        val_share: float = 0.1,
        test_share: float = 0.1,
        **base: Any,  # noqa: ANN401 - the base class's own arguments
    ) -> None:
        check_types("data", AN2DL, locals())
        super().__init__(val_share=val_share, test_share=test_share, **base)
        self.file = an2dl_file(self.root)
        self.keep_outliers = keep_outliers

    @cached_property
    def kept(self) -> npt.NDArray[np.bool_]:
        """(M,) bool: the rows of the file that are kept."""
        images, labels = self._file
        return np.ones(len(labels), np.bool_) if self.keep_outliers else without_outliers(images, labels)

    @property
    def dropped(self) -> list[str]:
        """Ids of the outliers."""
        return [f"{row:05d}" for row in np.flatnonzero(~self.kept)]

    def read(self) -> CellImages:
        """Read the file without its outliers."""
        images, labels = self._file
        rows = np.flatnonzero(self.kept)
        return CellImages(images, labels[rows], Names.of(f"{row:05d}" for row in rows), rows)

    def fingerprint(self) -> str:
        """Return the hash of the file."""
        return file_hash(self.file, "sha256")

    def notices(self) -> list[str]:
        """Add the number of rows that were left out."""
        left_out = len(self.dropped)
        said = [f"Left out: {left_out:,} images that are not cells, copies, or cells with several labels."] if left_out else []
        return [*super().notices(), *said]

    def facts(self) -> dict[str, str]:
        """Add the number of rows that were left out."""
        return {**super().facts(), "data.outliers_left_out": str(int((~self.kept).sum()))}

    @cached_property
    def _file(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        refuse_missing_an2dl(self.root)
        arrays = read_npz(self.file, ["images", "labels"])
        images, labels = as_cells(arrays["images"], arrays["labels"], str(self.file))
        check_labels(labels, self.class_names, str(self.file))
        return images, labels


def without_outliers(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Find the rows that show cells, each cell once.

    Args:
        images: (M, S, S, 3) uint8.
        labels: (M,) labels.

    Returns:
        (M,) bool: False for images with `NON_CELL_COPIES` copies or more and for images that look like them, for further copies
        of a cell, and for cells with several labels.
    """
    digests = np.stack([np.frombuffer(sha256(image.tobytes()).digest(), np.uint8) for image in images])
    kept = without_copies(digests, labels, np.zeros(len(labels), np.int8))
    _, first, copies = np.unique(content_numbers(digests), return_index=True, return_counts=True)
    thumbnails = np.stack([cv2.resize(image, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA) for image in images])
    small = thumbnails.reshape(len(images), -1).astype(np.float32)
    for repeated in first[copies >= NON_CELL_COPIES]:
        kept &= np.abs(small - small[repeated]).mean(axis=1) > ALIKE
    return kept
