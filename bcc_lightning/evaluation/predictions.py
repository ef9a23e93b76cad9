"""The predictions of one pass over a split, gathered from all processes."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


@dataclass  # not frozen: torchmetrics walks through what a metric computes and refuses frozen ones
class Predictions:
    """Predictions in the order of the split.

    Attributes:
        position: (N,) int64, position of each cell in its split, ascending.
        label: (N,) int64, true class.
        probability: (N, C) float32, rows sum to 1.
    """

    position: Tensor
    label: Tensor
    probability: Tensor

    @property
    def predicted(self) -> Tensor:
        """(N,) int64, the most probable class."""
        return self.probability.argmax(dim=1)

    @property
    def correct(self) -> int:
        """How many cells were classified rightly."""
        return int((self.predicted == self.label).sum())


class PredictionGatherer(Metric):
    """Collects predictions batch by batch and gathers them from all processes at the end of a pass."""

    full_state_update = False
    position: list[Tensor]
    label: list[Tensor]
    probability: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("position", "label", "probability"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, position: Tensor, label: Tensor, probability: Tensor) -> None:
        """Add a batch: (B,) int64, (B,) int64, (B, C) float32."""
        self.position.append(position)
        self.label.append(label)
        self.probability.append(probability)

    def gather(self) -> Predictions:
        """Return all predictions, in the order of the split, and forget them; torchmetrics turns one cell into no dimension."""
        found: Predictions = self.compute()
        self.reset()
        return Predictions(found.position.reshape(-1), found.label.reshape(-1), found.probability)

    def compute(self) -> Predictions:
        """Give all predictions, in the order of the split."""
        position = dim_zero_cat(self.position)
        order = torch.argsort(position)
        label, probability = dim_zero_cat(self.label), dim_zero_cat(self.probability)
        return Predictions(position[order].cpu(), label[order].cpu(), probability[order].cpu())
