"""Whether probabilities mean what they say: calibration errors, the reliability diagram, and temperature scaling."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn.functional import nll_loss
from torchmetrics.functional.classification import multiclass_calibration_error

from bcc_lightning.evaluation.metrics import CALIBRATION_BINS, Predictions

SMALLEST = torch.finfo(torch.float32).tiny
"""Probabilities below are raised to it, so that they have a logarithm."""

TEMPERATURES = (0.05, 20.0)
"""Range in which a temperature is sought; validation cells that are all classified correctly would drive it to 0."""


@dataclass(frozen=True)
class Bin:
    """A bin of the reliability diagram.

    Attributes:
        low: lower end of the probabilities in it.
        high: upper end.
        cells: number of cells whose predicted class has a probability in it.
        confidence: mean of these probabilities.
        accuracy: share of these cells that were classified correctly.
    """

    low: float
    high: float
    cells: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """How far probabilities are from the frequencies that they promise.

    Attributes:
        ece: expected calibration error of the predicted class in bins of equal width, ``test/ece`` (Naeini et al., AAAI 2015).
        classwise: the same for each class against the rest, averaged over all classes (Kull et al., NeurIPS 2019).
        adaptive: the same for the predicted class, in bins that hold equally many cells (Nixon et al., CVPR workshops 2019).
        log_loss: mean of -log of the true class's probability.
        bins: the reliability diagram; bins without cells are left out.
    """

    ece: float
    classwise: float
    adaptive: float
    log_loss: float
    bins: list[Bin]


def calibration(predictions: Predictions) -> Calibration:
    """Compute the calibration errors of predictions of at least one cell."""
    from torch_uncertainty.metrics.classification import AdaptiveCalibrationError, ClasswiseCalibrationError

    probability = predictions.probability.clamp(0, 1)  # a sum of rounded terms can exceed 1, which is then read as a logit
    label, classes = predictions.label, probability.shape[1]
    classwise = ClasswiseCalibrationError(classes, CALIBRATION_BINS)
    # A bin without a cell would have no mean.
    adaptive = AdaptiveCalibrationError("multiclass", min(CALIBRATION_BINS, len(label)), num_classes=classes)
    return Calibration(
        float(multiclass_calibration_error(probability, label, classes, CALIBRATION_BINS)),
        float(classwise(probability, label)),
        float(adaptive(probability, label)),
        log_loss(predictions),
        reliability_bins(predictions),
    )


def log_loss(predictions: Predictions) -> float:
    """Compute the mean of -log of the true class's probability."""
    return float(nll_loss(log_probability(predictions), predictions.label))


def reliability_bins(predictions: Predictions) -> list[Bin]:
    """Sort cells by the probability of their predicted class into bins of equal width; those without cells are left out."""
    confidence, right = predictions.probability.amax(dim=1).numpy(), (predictions.predicted == predictions.label).numpy()
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    of_cells = np.clip(np.digitize(confidence, edges) - 1, 0, CALIBRATION_BINS - 1)
    found = []
    for number in np.unique(of_cells).tolist():
        members = of_cells == number
        means = float(confidence[members].mean()), float(right[members].mean())
        found.append(Bin(float(edges[number]), float(edges[number + 1]), int(members.sum()), *means))
    return found


def fit_temperature(validation: Predictions) -> float:
    """Find the temperature at which validation cells get the smallest log loss (Guo et al., ICML 2017).

    Logarithms of probabilities are logits but for a constant per cell, which the softmax takes away again: the temperature is
    that of the network's own logits.

    Args:
        validation: predictions of the validation set, which no other set may replace.

    Returns:
        The temperature: above 1 for probabilities that are too high, below 1 for those that are too low.
    """
    logits = log_probability(validation).double()

    def loss(log_temperature: float) -> float:
        """Compute the log loss at a temperature."""
        return float(nll_loss((logits / np.exp(log_temperature)).log_softmax(dim=1), validation.label))

    # In the reciprocal of the temperature the loss is convex, so there is one minimum in the logarithm too.
    found = minimize_scalar(loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded", options={"xatol": 1e-6})
    # The search never reaches the ends, and stops anywhere on a plateau: cells that are all right soon have no loss at all.
    return min((*TEMPERATURES, float(np.exp(found.x))), key=lambda temperature: loss(float(np.log(temperature))))


def is_at_limit(temperature: float) -> bool:
    """Check whether a temperature is at an end of the range in which it was sought, so that there may be a better one beyond."""
    return temperature in TEMPERATURES


def at_temperature(predictions: Predictions, temperature: float) -> Predictions:
    """Scale predictions by a temperature; the predicted classes stay the same."""
    scaled = (log_probability(predictions) / temperature).softmax(dim=1)
    return Predictions(predictions.position, predictions.label, scaled)


def log_probability(predictions: Predictions) -> Tensor:
    """Return the logarithms of the probabilities: (N, C) float32, finite."""
    return predictions.probability.clamp_min(SMALLEST).log()
