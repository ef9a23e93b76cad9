"""Weights and draws of training cells that correct for rare classes.

The draws of an epoch follow from seed and epoch alone, so that a resumed run draws the cells it would have drawn anyway.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from bcc_lightning.argument_types import check_choice
from bcc_lightning.errors import UserError

Positions = npt.NDArray[np.int64]
Frequencies = npt.NDArray[np.float64]


class Draws(Protocol):
    """The cells that make up an epoch."""

    @property
    def size(self) -> int:
        """Return the number of draws S in an epoch, the same for every epoch."""
        ...

    @property
    def frequencies(self) -> Frequencies:
        """Return how often each of the N cells is drawn in an epoch on average: (N,)."""
        ...

    def order(self, seed: int, epoch: int) -> Positions:
        """Draw an epoch: (S,) int64, positions of cells in the training set, shuffled."""
        ...


@dataclass(frozen=True)
class EveryCell:
    """Each cell once per epoch.

    Attributes:
        size: number of cells.
    """

    size: int

    @property
    def frequencies(self) -> Frequencies:
        """Return 1 for each cell."""
        return np.ones(self.size)

    def order(self, seed: int, epoch: int) -> Positions:
        """Shuffle the cells."""
        return np.random.default_rng([seed, epoch]).permutation(self.size)


@dataclass(frozen=True)
class Weighted:
    """As many draws as there are cells, with replacement.

    Attributes:
        probabilities: (N,) float64, the probability that a draw takes each cell; they sum to 1.
    """

    probabilities: npt.NDArray[np.float64]

    @property
    def size(self) -> int:
        """Return the number of cells."""
        return len(self.probabilities)

    @property
    def frequencies(self) -> Frequencies:
        """Return what the probabilities come to in so many draws."""
        return self.probabilities * self.size

    def order(self, seed: int, epoch: int) -> Positions:
        """Draw cells by their probabilities; some are drawn several times, some not at all."""
        return np.random.default_rng([seed, epoch]).choice(self.size, self.size, p=self.probabilities)


@dataclass(frozen=True)
class EqualClasses:
    """The same number of draws from every class.

    Where a class has n cells and is drawn k times, each of its cells is drawn ``k // n`` times, and ``k % n`` of them once more.
    These few are dealt from a shuffled pack. It lasts for ``ceil(n / (k % n))`` epochs and is then shuffled again, so that every
    cell is among these few at least once per pack.

    Attributes:
        members: for each class, (n,) positions of its cells, at least one.
        per_class: number of draws k from each class.
    """

    members: tuple[Positions, ...]
    per_class: int

    @property
    def size(self) -> int:
        """Return the number of classes times the draws from each."""
        return len(self.members) * self.per_class

    @property
    def frequencies(self) -> Frequencies:
        """Return the draws from each class, divided among its cells."""
        found = np.empty(sum(map(len, self.members)))
        for cells in self.members:
            found[cells] = self.per_class / len(cells)
        return found

    def order(self, seed: int, epoch: int) -> Positions:
        """Draw from each class and shuffle all draws."""
        drawn = [self._draw(cells, seed, epoch, number) for number, cells in enumerate(self.members)]
        return np.random.default_rng([seed, epoch]).permutation(np.concatenate(drawn))

    def _draw(self, cells: Positions, seed: int, epoch: int, number: int) -> Positions:
        times, few = divmod(self.per_class, len(cells))
        whole = np.tile(cells, times)
        if not few:
            return whole
        pack, turn = divmod(epoch, -(-len(cells) // few))
        # The final 1 makes this seed differ from that of the order; zeros at the end would not change a seed sequence.
        shuffled = np.random.default_rng([seed, number, pack, 1]).permutation(cells)
        # The last epoch of a pack is filled up with its first cells. These differ from the remaining ones, since few < n.
        return np.concatenate([whole, shuffled.take(np.arange(turn * few, (turn + 1) * few), mode="wrap")])


Balance = Literal["none", "class_weights", "weighted_sampler", "oversample", "undersample", "smote", "laboratories"]


@dataclass(frozen=True)
class Balancing:
    """The effect of balancing on the training cells.

    Attributes:
        weights: (N,) float32, weight of each cell in the loss.
        draws: the cells that make up an epoch.
    """

    weights: npt.NDArray[np.float32]
    draws: Draws


def balance_cells(
    labels: npt.NDArray[np.int64],
    num_classes: int,
    balance: Balance,
    class_names: Sequence[str] | None = None,
    laboratories: npt.NDArray[np.int64] | None = None,
) -> Balancing:
    """Compute the balancing of a training set.

    With ``class_weights``, a cell of a class with n of the N cells has weight N / (C n), so that all classes have the same total
    weight. With ``weighted_sampler``, all classes are drawn equally often on average; with ``oversample``, as often as the
    largest class has cells; with ``undersample``, as often as the smallest class has cells. With ``smote``, the labels must
    include those of the cells made by `bcc_lightning.balancing.smote.synthesise`, and each cell is drawn once. With
    ``laboratories``, all laboratories are drawn equally often on average, whatever their classes.

    Args:
        labels: (N,) int64, labels of the training set, 0 to C-1.
        num_classes: number of classes C.
        balance: a name of `Balance`.
        class_names: names of the C classes, for messages.
        laboratories: (N,) where each cell comes from, if that is known.

    Raises:
        UserError: the name is unknown, a class has no training cell, or there are fewer than two laboratories.
    """
    check_choice("data.balance", balance, Balance)
    equal = np.ones(len(labels), np.float32)
    if balance == "none":
        return Balancing(equal, EveryCell(len(labels)))
    if balance == "laboratories":
        names, place, sizes = np.unique([] if laboratories is None else laboratories, return_inverse=True, return_counts=True)
        if len(names) < 2:  # noqa: PLR2004 - one has nothing to be balanced with
            raise UserError(
                f"--data.balance laboratories needs training cells of two laboratories or more, {len(names)} is known; give a "
                "table a column laboratory, or join sets with --data Mixed"
            )
        return Balancing(equal, Weighted(1 / (len(names) * sizes)[place]))
    counts = np.bincount(labels, minlength=num_classes)
    refuse_absent_classes(counts, balance, class_names)
    by_cell = (len(labels) / (num_classes * counts))[labels]
    if balance == "class_weights":
        return Balancing(by_cell.astype(np.float32), EveryCell(len(labels)))
    if balance == "weighted_sampler":
        return Balancing(equal, Weighted(by_cell / by_cell.sum()))
    if balance == "smote":
        return Balancing(equal, EveryCell(len(labels)))
    per_class = counts.max() if balance == "oversample" else counts.min()
    members = np.split(np.argsort(labels, kind="stable"), counts.cumsum()[:-1])
    return Balancing(equal, EqualClasses(tuple(members), int(per_class)))


def refuse_absent_classes(counts: npt.NDArray[np.int64], balance: str, class_names: Sequence[str] | None = None) -> None:
    """Refuse to balance where a class has no training cell.

    Args:
        counts: (C,) int64, number of training cells of each class.
        balance: a name of `Balance`, for the message.
        class_names: names of the C classes; without them, the message has their numbers.

    Raises:
        UserError: names the classes without a training cell.
    """
    if (counts > 0).all():
        return
    empty = ", ".join(class_names[number] if class_names else str(number) for number in np.flatnonzero(counts == 0).tolist())
    raise UserError(
        f"--data.balance {balance} needs a training cell of every class, class {empty} has none; use --data.balance none"
    )


NONE = "none"
REDRAWING = {"oversample", "weighted_sampler"}
"""Methods that draw a cell of a rare class several times per epoch."""


def combination_warning(
    balance: str, loss: str, augment: str, mixing: str, balanced_folder: bool = False, cell_weights: bool = False
) -> str | None:
    """Describe conflicts in a choice of corrections.

    Each correction alone works with hard and with soft labels: weights of two cells are mixed in the same shares as their images
    and labels, drawing and SMOTE do not change labels, and the focal loss has a soft form. Two of them together correct twice.

    Args:
        balance: a name of `Balance`.
        loss: a name of `bcc_lightning.modules.losses.LossName`.
        augment: name of the augmentation, ``none`` for none.
        mixing: name of the mixing of a batch, ``none`` for none.
        balanced_folder: whether the training set was written by `bcc_lightning.datasets.balanced_folder`.
        cell_weights: whether the data set has a weight for each cell.

    Returns:
        One sentence, or None where there is no conflict.
    """
    complaints = list(_complaints(balance, loss, augment, mixing, balanced_folder, cell_weights))
    return "; ".join(complaints) + "." if complaints else None


def _complaints(balance: str, loss: str, augment: str, mixing: str, balanced_folder: bool, cell_weights: bool) -> Iterator[str]:
    corrections = [f"--data.balance {balance}"] if balance != NONE and not balanced_folder else []
    corrections += ["the balanced folder"] if balanced_folder else []
    corrections += ["the focal loss"] if loss == "focal" else []
    corrections += ["the weights of the cells"] if cell_weights else []
    if balanced_folder and balance != NONE:
        yield f"the folder is already balanced, --data.balance {balance} changes nothing; use --data.balance none"
    if len(corrections) > 1:
        listed = f"{', '.join(corrections[:-1])} and {corrections[-1]}"
        yield f"{listed} each favour rare classes, and together may cause them to be predicted too often; keep one of them"
    if balance in REDRAWING and augment == NONE and not balanced_folder:
        yield f"--data.balance {balance} without augmentation draws the same images again and again; add --data.augment light"
    if balance == "smote" and mixing != NONE:
        yield f"smote blends two cells of a class, and {mixing} blends the result once more; keep one of them"
