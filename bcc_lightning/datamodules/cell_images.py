"""Labelled cell images in memory, and the batches cut from them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import one_hot
from torch.utils.data import Dataset

from bcc_lightning.datamodules.listing import SplitName
from bcc_lightning.datamodules.names import Names
from bcc_lightning.datamodules.sampling import Draw
from bcc_lightning.errors import UserError
from bcc_lightning.transforms.mixing import Mixing
from bcc_lightning.transforms.pipelines import Pipeline, batch_entropy, seed_pipeline
from bcc_lightning.transforms.turns import begins_with_turns, turn_batch, without_turns


class CellBatch(NamedTuple):
    """What a data module gives to a module.

    Attributes:
        image: (B, 3, H, W) uint8 RGB, channels_last in memory.
        label: (B,) int64, index into the class names.
        weight: (B,) float32, weight of each cell in the loss.
        position: (B,) int64, position of each cell in its split.
        target: (B, C) float32, share of each class in a mixed image, rows sum to 1; None where images are not mixed.
    """

    image: Tensor
    label: Tensor
    weight: Tensor
    position: Tensor
    target: Tensor | None = None


@dataclass(frozen=True)
class CellImages:
    """Cells of a data set or of one split, as positions in one stored array: workers and runs share its pages.

    Attributes:
        images: (M, S, S, 3) uint8 RGB, all stored images; in memory or memory-mapped.
        labels: (N,) int64, index into the class names.
        ids: N names by which a cell is found again, e.g. ``test/00017`` or a relative path.
        rows: (N,) int64, where in `images` each cell lies; None where M = N and the order is the same.
        splits: (N,) int8, split that the data set's makers chose, see `listing.SPLITS`; None where they chose none.
        groups: (N,) int64, patient or slide; None where unknown.
        weights: (N,) float32, weight in the loss; None where all are 1.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    ids: Sequence[str]
    rows: npt.NDArray[np.int64] | None = None
    splits: npt.NDArray[np.int8] | None = None
    groups: npt.NDArray[np.int64] | None = None
    weights: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        """Number of cells N."""
        return len(self.labels)

    @property
    def side(self) -> int:
        """Side S of the stored images in pixels."""
        return int(self.images.shape[1])

    def take(self, positions: npt.NDArray[np.int64] | slice) -> npt.NDArray[np.uint8]:
        """Get the images of cells: (M,) positions to (M, S, S, 3) uint8."""
        return np.asarray(self.images[positions if self.rows is None else self.rows[positions]])

    def part(self, positions: npt.NDArray[np.int64]) -> "CellImages":
        """Choose cells: (M,) positions; no image is copied."""
        return CellImages(
            self.images,
            self.labels[positions],
            self.ids.take(positions) if isinstance(self.ids, Names) else [self.ids[i] for i in positions.tolist()],
            positions if self.rows is None else self.rows[positions],
            None if self.splits is None else self.splits[positions],
            None if self.groups is None else self.groups[positions],
            None if self.weights is None else self.weights[positions],
        )

    def counts(self, num_classes: int) -> npt.NDArray[np.int64]:
        """Count the cells of each class: (C,) int64."""
        return np.bincount(self.labels, minlength=num_classes)


def check_labels(labels: npt.NDArray[np.int64], class_names: Sequence[str], source: str) -> None:
    """Refuse labels outside the class list.

    Args:
        labels: (N,) integers.
        class_names: names of the C classes; 0 to C-1 are allowed.
        source: where the labels come from, for the message.

    Raises:
        UserError: a label is below 0 or above C-1.
    """
    wrong = np.flatnonzero((labels < 0) | (labels >= len(class_names)))
    if len(wrong):
        raise UserError(
            f"{source} has {len(wrong)} labels outside 0 to {len(class_names) - 1} ({', '.join(class_names)}), "
            f"the first is {labels[wrong[0]]} at row {wrong[0]}; correct the file or choose the data set it belongs to"
        )


def split_sha256(splits: Mapping[SplitName, CellImages]) -> str:
    """Hash which cell stands in which split, whatever the order: the sum of the hashes of all cells, modulo 2**256."""
    total = 0
    for name, split in splits.items():
        for cell in split.ids:
            total += int.from_bytes(hashlib.sha256(f"{name}\t{cell}".encode()).digest())
    return f"{total % 2**256:064x}"


class CellDataset(Dataset[CellBatch]):
    """Cuts batches from a split; augmentation depends on seed, epoch and cells, never on the worker.

    A loader hands whole batches of draws to `__getitems__`, so that a batch without augmentation is one slice of the array.

    Args:
        cells: the split.
        weights: (N,) float32, weight of each cell in the loss.
        pipeline: augmentation, or None.
        seed: seed of augmentation and mixing.
        mixing: mixes the cells of a batch, or None.
        num_classes: number of classes C, needed for mixing only.
    """

    def __init__(
        self,
        cells: CellImages,
        weights: npt.NDArray[np.float32],
        pipeline: Pipeline | None = None,
        seed: int = 0,
        mixing: Mixing | None = None,
        num_classes: int = 0,
    ) -> None:
        self.cells = cells
        self.weights = weights
        self.turns = pipeline is not None and begins_with_turns(pipeline)
        self.pipeline = without_turns(pipeline) if pipeline is not None and self.turns else pipeline
        self.seed = seed
        self.mixing = mixing
        self.num_classes = num_classes

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.cells)

    def __getitem__(self, draw: Draw) -> CellBatch:
        """Get one cell as a batch of one."""
        return self.__getitems__([draw])

    def __getitems__(self, draws: list[Draw]) -> CellBatch:
        """Cut a batch.

        Args:
            draws: epoch and position of each cell.
        """
        position = np.array([draw.position for draw in draws])
        images = self.cells.take(position)
        if self.turns:
            turn_batch(images, self.seed, draws[0].epoch, position)
        if self.pipeline is not None:
            seed_pipeline(self.pipeline, self.seed, draws[0].epoch, position)
            for image in images:  # `take` has made a copy
                image[:] = self.pipeline(image=image)["image"]
        batch = CellBatch(
            torch.from_numpy(images).permute(0, 3, 1, 2),
            torch.from_numpy(self.cells.labels[position]),
            torch.from_numpy(self.weights[position]),
            torch.from_numpy(position),
        )
        return batch if self.mixing is None else self._mix(self.mixing, batch, draws[0].epoch)

    def _mix(self, mixing: Mixing, batch: CellBatch, epoch: int) -> CellBatch:
        drawn = batch_entropy(self.seed, epoch, batch.position.numpy())
        target = one_hot(batch.label, self.num_classes).float()
        images, target, weight = mixing(batch.image, target, batch.weight, drawn)
        return batch._replace(image=images, target=target, weight=weight)


def keep_batch(batch: CellBatch) -> CellBatch:
    """Collate nothing: `CellDataset` already cuts whole batches."""
    return batch
