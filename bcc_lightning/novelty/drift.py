"""An alarm for cells that come from elsewhere: a martingale that grows only while cells are stranger than the network's own.

Each cell gets a p-value among the validation cells and the cells before it. A conformal martingale bets against these being
uniform (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2022, chapter 8). With cells like the network's own,
it ever reaches 100 with a probability of at most 1 % (Ville's inequality), however many cells follow.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bcc_lightning.evaluation.conformal import quiet_crepes
from bcc_lightning.novelty.detectors import Floats

ALARM = 100.0
"""Value from which on it is an alarm: false in at most one of so many batches."""

SOON = 1000
"""Cells among which even the clearest case raises the alarm, or never does: strange cells soon resemble those before them."""

SEED = 0
"""Seed by which ties between p-values are broken, so that the same cells give the same alarm."""


@dataclass(frozen=True)
class Drift:
    """What the alarm says of a batch.

    Attributes:
        cells: number of cells.
        at: number of cells after which the alarm was raised; None if it was not.
        largest: largest value of the martingale.
        own: number of validation cells that they were compared with.
        is_possible: whether so many cells would have raised it if all were stranger than the network's own.
    """

    cells: int
    at: int | None
    largest: float
    own: int
    is_possible: bool

    def __str__(self) -> str:
        """Describe it in a sentence."""
        if not self.is_possible:
            return (
                f"No alarm can be given: {self.cells:,} cells beside {self.own:,} validation cells are too few for one, however "
                "strange they are to the network."
            )
        if self.at is None:
            return f"No alarm: the {self.cells:,} cells are no stranger to the network than its own."
        return (
            f"Alarm after {self.at:,} of {self.cells:,} cells: they are stranger to the network than its own, as cells of "
            "another laboratory, stain or camera are. The figures of its test do not hold for them."
        )


def watch(own: Floats, scores: Floats) -> Drift:
    """Look for drift in cells, in their order.

    Args:
        own: (M,) scores of validation cells.
        scores: (N,) scores of the cells.
    """
    values = martingale(own, scores)
    raised = np.flatnonzero(values >= ALARM)
    at, largest = int(raised[0]) + 1 if len(raised) else None, float(values.max(initial=0))
    clearest = np.full(min(len(scores), SOON), np.inf)  # all are stranger than the own cells
    is_possible = at is not None or bool((martingale(own, clearest) >= ALARM).any())
    return Drift(len(scores), at, largest, len(own), is_possible)


def martingale(own: Floats, scores: Floats) -> Floats:
    """Compute the martingale after each cell (N,); for the arguments see `watch`."""
    martingales: Any = quiet_crepes().martingales
    mixed = np.random.default_rng(SEED).permutation(own)  # validation cells are sorted by class
    p_values = martingales.semi_online_p_values(np.concatenate([mixed, scores]), seed=SEED)[len(own) :]
    return np.asarray(martingales.SimpleJumper().apply(p_values, return_index=False), np.float64)
