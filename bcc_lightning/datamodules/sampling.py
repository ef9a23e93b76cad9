"""Which cell is drawn when: a function of seed, epoch and process, and of nothing else."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import DistributedSampler


class Draw(NamedTuple):
    """One cell drawn in one epoch. The epoch travels with it, so that long-lived workers need not be told."""

    epoch: int
    position: int


class EpochSampler(DistributedSampler[Draw]):
    """Draws each cell of a split, dealt out to the processes of a data-parallel run.

    Training cells are shuffled anew each epoch and filled up by the first ones, so that all processes take the same number of
    steps. Evaluation cells keep their order and are not filled up: each is seen exactly once. It is a `DistributedSampler`
    because Lightning leaves those in place and tells them the epoch.

    Args:
        size: number of cells N.
        shuffle: draw in random order, and fill up.
        seed: seed of the order.
        rank: number of this process.
        world_size: number of processes.
        probabilities: (N,) draw with replacement by these instead, each epoch N cells; sums to 1.
    """

    def __init__(
        self,
        size: int,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        probabilities: npt.NDArray[np.float64] | None = None,
    ) -> None:
        super().__init__(range(size), num_replicas=world_size, rank=rank, shuffle=shuffle, seed=seed)  # type: ignore[arg-type]
        self.size = size
        self.probabilities = probabilities

    def __iter__(self) -> Iterator[Draw]:
        """Yield the draws of this process for the current epoch."""
        return (Draw(self.epoch, int(position)) for position in self._order()[self.rank :: self.num_replicas])

    def __len__(self) -> int:
        """Number of draws of this process."""
        total = -(-self.size // self.num_replicas) * self.num_replicas if self.shuffle else self.size
        return len(range(self.rank, total, self.num_replicas))

    def _order(self) -> npt.NDArray[np.int64]:
        if not self.shuffle:
            return np.arange(self.size)
        rng = np.random.default_rng([self.seed, self.epoch])
        if self.probabilities is None:
            order = rng.permutation(self.size)
        else:
            order = rng.choice(self.size, self.size, p=self.probabilities)
        return np.resize(order, -(-self.size // self.num_replicas) * self.num_replicas)
