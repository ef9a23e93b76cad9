"""Batches of cells: which are drawn (a function of seed, epoch and process) and how a batch is assembled and augmented."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import one_hot
from torch.utils.data import Dataset, DistributedSampler

from bcc_lightning.balancing.balance import Draws, EveryCell
from bcc_lightning.datasets.cells import CellImages
from bcc_lightning.transforms.laboratory import Laboratories
from bcc_lightning.transforms.mixing import Mixing
from bcc_lightning.transforms.pipelines import Pipeline, batch_entropy, seed_pipeline
from bcc_lightning.transforms.square import begins_with_turns, turn_batch, without_turns


class Draw(NamedTuple):
    """One cell drawn in one epoch. It carries the epoch, so that persistent workers need no message about it."""

    epoch: int
    position: int


class EpochSampler(DistributedSampler[Draw]):
    """Distributes the cells of a set among the processes of a data-parallel run.

    Training cells are drawn again each epoch and padded with the first ones, so that all processes take the same number of
    steps. Evaluation cells keep their order and are not padded: each is seen exactly once. It is a `DistributedSampler`
    because Lightning does not replace those and sets their epoch.

    Args:
        size: number of cells N.
        shuffle: draw in random order, and pad.
        seed: seed of the order.
        rank: number of this process.
        world_size: number of processes.
        draws: chooses the cells of a shuffled epoch; by default each once.
    """

    def __init__(
        self,
        size: int,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        draws: Draws | None = None,
    ) -> None:
        self.draws = draws if draws is not None and shuffle else EveryCell(size)
        order = range(self.draws.size)
        super().__init__(order, num_replicas=world_size, rank=rank, shuffle=shuffle, seed=seed)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Draw]:
        """Yield the draws of this process for the current epoch."""
        return (Draw(self.epoch, int(position)) for position in self._order()[self.rank :: self.num_replicas])

    def __len__(self) -> int:
        """Return the number of draws of this process."""
        return len(range(self.rank, self._total(), self.num_replicas))

    def _total(self) -> int:
        size = self.draws.size
        return -(-size // self.num_replicas) * self.num_replicas if self.shuffle else size

    def _order(self) -> npt.NDArray[np.int64]:
        if not self.shuffle:
            return np.arange(self.draws.size)
        return np.resize(self.draws.order(self.seed, self.epoch), self._total())


class CellBatch(NamedTuple):
    """A batch, as a data module passes it to a module.

    Attributes:
        image: (B, 3, H, W) uint8 RGB, channels_last in memory.
        label: (B,) int64, index into the class names.
        weight: (B,) float32, weight of each cell in the loss.
        position: (B,) int64, position of each cell in its set.
        target: (B, C) float32, share of each class in a mixed image, rows sum to 1; None if images are not mixed.
    """

    image: Tensor
    label: Tensor
    weight: Tensor
    position: Tensor
    target: Tensor | None = None


class CellDataset(Dataset[CellBatch]):
    """Assembles batches from a set; augmentation depends on seed, epoch and cells, never on the worker.

    A loader passes whole batches of draws to `__getitems__`, so that a batch without augmentation is one indexing of the array.

    Args:
        cells: the cells of the set.
        weights: (N,) float32, weight of each cell in the loss.
        pipeline: augmentation, or None.
        seed: seed of augmentation and mixing.
        mixing: mixes the cells of a batch, or None.
        num_classes: number of classes C, needed for mixing only.
        name: name of the set, under which an evaluation is recorded.
    """

    def __init__(
        self,
        cells: CellImages,
        weights: npt.NDArray[np.float32],
        pipeline: Pipeline | None = None,
        seed: int = 0,
        mixing: Mixing | None = None,
        num_classes: int = 0,
        name: str = "",
    ) -> None:
        self.cells = cells
        self.weights = weights
        self.turns = pipeline is not None and begins_with_turns(pipeline)
        self.pipeline = without_turns(pipeline) if pipeline is not None and self.turns else pipeline
        self.seed = seed
        self.mixing = mixing
        self.num_classes = num_classes
        self.name = name

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self.cells)

    def __getitem__(self, draw: Draw) -> CellBatch:
        """Return one cell as a batch of one."""
        return self.__getitems__([draw])

    def __getitems__(self, drawn: list[Draw] | list[int]) -> CellBatch:
        """Assemble a batch.

        Args:
            drawn: epoch and position of each cell; positions alone, as other samplers than ours give them, are of epoch 0.
        """
        draws = [draw if isinstance(draw, Draw) else Draw(0, draw) for draw in drawn]
        position = np.array([draw.position for draw in draws])
        images = self.cells.take(position)
        if self.turns:
            turn_batch(images, self.seed, draws[0].epoch, position)
        if self.pipeline is not None:
            seed_pipeline(self.pipeline, self.seed, draws[0].epoch, position)
            for image in images:  # `take` returned a copy
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


def in_laboratories(batch: CellBatch, laboratories: Laboratories, entropy: int, views: int = 1) -> CellBatch:
    """Show each cell of a batch in another laboratory, where the batch is.

    Args:
        batch: the batch.
        laboratories: draw the differences.
        entropy: seed of the draw.
        views: how many laboratories each cell is shown in; the batch then holds all first views, then all second ones.
    """
    if views > 1:
        image, label, weight, position = (torch.cat([part] * views) for part in batch[:4])
        target = None if batch.target is None else torch.cat([batch.target] * views)
        batch = CellBatch(image, label, weight, position, target)
    return batch._replace(image=laboratories(batch.image, entropy))


def keep_batch(batch: CellBatch) -> CellBatch:
    """Return the batch unchanged: `CellDataset` already assembles whole batches."""
    return batch
