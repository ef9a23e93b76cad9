"""Selective classification: how the error falls if the least sure cells are left to a person."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bcc_lightning.evaluation.metrics import Predictions

DRAWN = 500
"""Most points of the curve that are kept for the figure."""


@dataclass(frozen=True)
class RiskCoverage:
    """The risk-coverage curve: cells are answered from the surest to the least sure.

    Attributes:
        aurc: mean error over all coverages (Geifman and El-Yaniv, NeurIPS 2017); None for a single cell.
        augrc: mean, over all coverages, of the share of all cells that are answered wrongly (Traub et al., NeurIPS 2024), which
            counts a mistake among the surest cells no more than any other; None likewise.
        best_aurc: `aurc` if all mistakes came last, the lowest that is possible at this accuracy; None likewise.
        coverage: shares of cells that are answered, ascending to 1.
        risk: error among them.
    """

    aurc: float | None
    augrc: float | None
    best_aurc: float | None
    coverage: list[float]
    risk: list[float]


def risk_coverage(predictions: Predictions) -> RiskCoverage:
    """Compute the risk-coverage curve of predictions of at least one cell; the probability of the predicted class ranks them."""
    from torch_uncertainty.metrics.classification import AUGRC, AURC

    curve, generalised, best = AURC(), AUGRC(), AURC()
    for metric in (curve, generalised):
        metric.update(predictions.probability, predictions.label)
    wrong = predictions.predicted.ne(predictions.label)
    best.update(torch.where(wrong.unsqueeze(1), torch.tensor([0.6, 0.4]), torch.tensor([0.9, 0.1])), wrong.long())
    risk: npt.NDArray[np.float32] = curve.partial_compute().numpy()
    cells = len(risk)
    kept = np.unique(np.linspace(0, cells - 1, min(cells, DRAWN)).round().astype(np.int64))
    coverage = (kept + 1) / cells
    return RiskCoverage(value(curve), value(generalised), value(best), coverage.tolist(), risk[kept].tolist())


def value(metric: Any) -> float | None:  # noqa: ANN401 - a metric of a library without types
    """Return a metric's value; None where a single cell leaves it undefined."""
    found = float(metric.compute())
    return found if np.isfinite(found) else None
