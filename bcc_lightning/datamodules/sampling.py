"""Which cell is drawn when: a function of seed, epoch and process, and of nothing else."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import DistributedSampler

from bcc_lightning.balancing.draws import Draws, EveryCell


class Draw(NamedTuple):
    """One cell drawn in one epoch. The epoch travels with it, so that long-lived workers need not be told."""

    epoch: int
    position: int


class EpochSampler(DistributedSampler[Draw]):
    """Deals the cells of a split out to the processes of a data-parallel run.

    Training cells are drawn anew each epoch and filled up by the first ones, so that all processes take the same number of
    steps. Evaluation cells keep their order and are not filled up: each is seen exactly once. It is a `DistributedSampler`
    because Lightning leaves those in place and tells them the epoch.

    Args:
        size: number of cells N.
        shuffle: draw in random order, and fill up.
        seed: seed of the order.
        rank: number of this process.
        world_size: number of processes.
        draws: which cells a shuffled epoch consists of; by default each once.
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
        """Number of draws of this process."""
        return len(range(self.rank, self._total(), self.num_replicas))

    def _total(self) -> int:
        size = self.draws.size
        return -(-size // self.num_replicas) * self.num_replicas if self.shuffle else size

    def _order(self) -> npt.NDArray[np.int64]:
        if not self.shuffle:
            return np.arange(self.draws.size)
        return np.resize(self.draws.order(self.seed, self.epoch), self._total())
