"""SyntheticSmear: painted cells, so that everything runs without a download."""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from bcc_lightning.argument_types import check_types
from bcc_lightning.datamodules.base import CellDataModule, refuse_below
from bcc_lightning.datasets.cells import CellImages, Names
from bcc_lightning.datasets.classes import EIGHT_CELL_CLASSES
from bcc_lightning.datasets.listing import SPLITS
from bcc_lightning.datasets.smear_painter import paint_cells
from bcc_lightning.errors import UserError


class SyntheticSmear(CellDataModule):
    """Eight painted cell classes that differ in nucleus, granules, size and stain. They do not replace real cells.

    Args:
        train_cells: number of training cells.
        val_cells: number of validation cells.
        test_cells: number of test cells.
        difficulty: 0 paints textbook cells, 1 lets the classes overlap.
        painting_seed: seed of the painted cells, not of the training.
        **base: see `CellDataModule`.
    """

    class_names = EIGHT_CELL_CLASSES
    folder = "synthetic_smear"

    def __init__(
        self,
        train_cells: int = 1600,
        val_cells: int = 400,
        test_cells: int = 800,
        difficulty: float = 0.3,
        painting_seed: int = 0,
        **base: Any,  # noqa: ANN401 - the base class's own arguments
    ) -> None:
        check_types("data", SyntheticSmear, locals())
        super().__init__(**base)
        refuse_below(1, train_cells=train_cells, val_cells=val_cells, test_cells=test_cells)
        self.sizes = dict(zip(SPLITS, (train_cells, val_cells, test_cells), strict=True))
        self.difficulty = difficulty
        self.painting_seed = painting_seed

    def read(self) -> CellImages:
        """Paint the three sets, each from its own seed, classes in turn."""
        sizes = list(self.sizes.values())
        labels = [np.arange(size, dtype=np.int64) % len(self.class_names) for size in sizes]
        return CellImages(
            np.concatenate([self._paint(part, place) for place, part in enumerate(labels)]),
            np.concatenate(labels),
            Names.of(f"{split}/{row:05d}" for split, size in self.sizes.items() for row in range(size)),
            splits=np.repeat(np.arange(len(SPLITS), dtype=np.int8), sizes),
        )

    def fingerprint(self) -> str:
        """Return the hash of the painted pixels."""
        return hashlib.sha256(self.cells.images.data).hexdigest()

    def _paint(self, labels: npt.NDArray[np.int64], place: int) -> npt.NDArray[np.uint8]:
        seed = self.painting_seed * len(SPLITS) + place
        try:
            return paint_cells(labels, self.image_size, self.difficulty, seed)
        except ValueError as error:  # its message names the value and its range
            raise UserError(
                f"SyntheticSmear cannot be painted: {error}; change --data.image_size or --data.difficulty"
            ) from error
