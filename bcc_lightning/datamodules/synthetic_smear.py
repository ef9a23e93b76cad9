"""SyntheticSmear: painted cells, so that everything runs with no download."""

import hashlib
from typing import Any

import numpy as np

from bcc_lightning.datamodules.base import SPLITS, CellDataModule, SplitName, refuse_below
from bcc_lightning.datamodules.cell_images import CellImages
from bcc_lightning.datamodules.classes import EIGHT_CELL_CLASSES
from bcc_lightning.datamodules.smear_painter import paint_cells
from bcc_lightning.errors import UserError


class SyntheticSmear(CellDataModule):
    """Eight painted cell classes that differ in nucleus, granules, size and stain. Never a stand-in for real cells.

    Args:
        train_cells: number of training cells.
        val_cells: number of validation cells.
        test_cells: number of test cells.
        difficulty: 0 paints textbook cells, 1 lets the classes overlap.
        painting_seed: which cells are painted; not the seed of the training.
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
        super().__init__(**base)
        refuse_below(1, train_cells=train_cells, val_cells=val_cells, test_cells=test_cells)
        self.sizes = dict(zip(SPLITS, (train_cells, val_cells, test_cells), strict=True))
        self.difficulty = difficulty
        self.painting_seed = painting_seed

    def read_splits(self) -> dict[SplitName, CellImages]:
        """Paint the three splits, each from a seed of its own, classes in turn."""
        return {split: self._paint(split, place) for place, split in enumerate(SPLITS)}

    def fingerprint(self) -> str:
        """Hash the painted pixels."""
        pixels = hashlib.sha256()
        for split in SPLITS:
            pixels.update(self.splits[split].images.data)
        return pixels.hexdigest()

    def _paint(self, split: SplitName, place: int) -> CellImages:
        labels = np.arange(self.sizes[split], dtype=np.int64) % len(self.class_names)
        seed = self.painting_seed * len(SPLITS) + place
        try:
            images = paint_cells(labels, self.image_size, self.difficulty, seed)
        except ValueError as error:  # names the value and its range
            raise UserError(
                f"SyntheticSmear cannot be painted: {error}; change --data.image_size or --data.difficulty"
            ) from error
        return CellImages(images, labels, [f"{split}/{row:05d}" for row in range(len(labels))])
