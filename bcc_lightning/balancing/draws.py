"""The order in which training cells are drawn: a function of seed and epoch, so that a resumed run draws what it would have."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.int64]


class Draws(Protocol):
    """What an epoch consists of."""

    @property
    def size(self) -> int:
        """Number of draws S of an epoch, the same for every epoch."""
        ...

    def order(self, seed: int, epoch: int) -> Positions:
        """Draw an epoch: (S,) int64, positions of cells in the training part, shuffled."""
        ...


@dataclass(frozen=True)
class EveryCell:
    """Each cell once an epoch.

    Attributes:
        size: number of cells.
    """

    size: int

    def order(self, seed: int, epoch: int) -> Positions:
        """Shuffle the cells."""
        return np.random.default_rng([seed, epoch]).permutation(self.size)


@dataclass(frozen=True)
class Weighted:
    """As many draws as there are cells, with replacement.

    Attributes:
        probabilities: (N,) float64 that sum to 1, how likely each cell is drawn.
    """

    probabilities: npt.NDArray[np.float64]

    @property
    def size(self) -> int:
        """Number of cells."""
        return len(self.probabilities)

    def order(self, seed: int, epoch: int) -> Positions:
        """Draw cells by their probabilities; some come twice, some not at all."""
        return np.random.default_rng([seed, epoch]).choice(self.size, self.size, p=self.probabilities)


@dataclass(frozen=True)
class EqualClasses:
    """The same number of draws from every class.

    Where a class has n cells and is drawn k times, each of its cells comes ``k // n`` times, and ``k % n`` of them once more.
    Those few are dealt from a shuffled pack that is used up over ``ceil(n / (k % n))`` epochs before it is shuffled anew, so
    that none waits longer than the next pack.

    Attributes:
        members: for each class, (n,) positions of its cells; none is empty.
        per_class: k, draws from each class.
    """

    members: tuple[Positions, ...]
    per_class: int

    @property
    def size(self) -> int:
        """Classes times draws from each."""
        return len(self.members) * self.per_class

    def order(self, seed: int, epoch: int) -> Positions:
        """Draw from each class and shuffle the classes together."""
        drawn = [self._draw(cells, seed, epoch, number) for number, cells in enumerate(self.members)]
        return np.random.default_rng([seed, epoch]).permutation(np.concatenate(drawn))

    def _draw(self, cells: Positions, seed: int, epoch: int, number: int) -> Positions:
        times, few = divmod(self.per_class, len(cells))
        whole = np.tile(cells, times)
        if not few:
            return whole
        pack, turn = divmod(epoch, -(-len(cells) // few))
        # Zeros at the end do not change a seed sequence; the 1 keeps this one apart from the order's.
        shuffled = np.random.default_rng([seed, number, pack, 1]).permutation(cells)
        # The last turn of a pack is filled up with its first cells, which are others than those left: few < n.
        return np.concatenate([whole, shuffled.take(np.arange(turn * few, (turn + 1) * few), mode="wrap")])
