"""Calibration: whether a probability of 90 % is right in 90 % of the cells, before and after temperature scaling."""

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from bcc_lightning.evaluation.metrics import CALIBRATION_BINS, Predictions

TINY = float(torch.finfo(torch.float32).tiny)
COLDEST, HOTTEST = 0.05, 20.0
"""Range in which a temperature is searched."""


def fit_temperature(validation: Predictions) -> float:
    """Fit the temperature by which logits are divided, on validation cells (Guo et al. 2017, arXiv 1706.04599).

    Logarithms of probabilities are logits up to a constant for each cell, which the softmax takes out again.

    Args:
        validation: answers for cells that chose the weights, but that no weight was trained on.

    Returns:
        The temperature with the smallest negative log-likelihood, above 0; more than 1 for a network that is too sure.
    """
    logits, label = validation.probability.double().clamp_min(TINY).log(), validation.label

    def loss(log_temperature: float) -> float:
        """Compute the mean negative log-likelihood."""
        return float(torch.nn.functional.cross_entropy(logits / np.exp(log_temperature), label))

    found = minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def scaled(predictions: Predictions, temperature: float) -> Predictions:
    """Divide the logits of predictions by a temperature."""
    logits = predictions.probability.double().clamp_min(TINY).log() / temperature
    return Predictions(predictions.position, predictions.label, logits.softmax(dim=1).float())


def calibration(predictions: Predictions) -> dict[str, float]:
    """Compute how far probabilities are from the share of cells for which they are right.

    Returns:
        ``ece`` (of the largest probability, bins of equal width), ``ece_adaptive`` (bins with equally many cells),
        ``ece_classwise`` (mean over the probabilities of all classes), ``nll`` (mean negative log-likelihood) and ``brier``
        (mean squared error, summed over the classes).
    """
    from torch_uncertainty.metrics.classification import AdaptiveCalibrationError, CalibrationError, ClasswiseCalibrationError

    probability, label = predictions.probability, predictions.label
    classes = probability.shape[1]
    shape = {"task": "multiclass", "num_classes": classes, "num_bins": CALIBRATION_BINS}
    truth = torch.nn.functional.one_hot(label, classes)
    return {
        "ece": float(CalibrationError(**shape)(probability, label)),
        "ece_adaptive": float(AdaptiveCalibrationError(**shape)(probability, label)),
        "ece_classwise": float(ClasswiseCalibrationError(num_classes=classes, num_bins=CALIBRATION_BINS)(probability, label)),
        "nll": float(torch.nn.functional.nll_loss(probability.clamp_min(TINY).log(), label)),
        "brier": float((probability - truth).square().sum(dim=1).mean()),
    }


def reliability_bins(predictions: Predictions) -> npt.NDArray[np.float64]:
    """Sort cells by their largest probability into bins of equal width.

    Returns:
        (B, 3): mean probability, share that is right, and number of cells of each bin that has cells.
    """
    confidence: Tensor = predictions.probability.amax(dim=1)
    right = (predictions.predicted == predictions.label).double().numpy()
    place = np.minimum((confidence.numpy() * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    rows = [
        (float(confidence.numpy()[place == number].mean()), float(right[place == number].mean()), int((place == number).sum()))
        for number in range(CALIBRATION_BINS)
        if (place == number).any()
    ]
    return np.asarray(rows, np.float64).reshape(-1, 3)
