"""Selective classification: how good a network is on the cells of which it is sure, when the others go to an examiner."""

import numpy as np
import numpy.typing as npt

from bcc_lightning.evaluation.metrics import Predictions


def selective(predictions: Predictions) -> dict[str, float]:
    """Sum up the curve of risk and coverage.

    Returns:
        ``aurc`` (area under the curve, Geifman et al. 2019), ``augrc`` (area under the generalised one, Traub et al. 2024, arXiv
        2407.01032), and ``error_at_90``, ``error_at_80``: share of mistakes among the 90 and 80 % surest cells.
    """
    from torch_uncertainty.metrics.classification import AUGRC, AURC

    coverage, risk = risk_coverage(predictions)
    found = {}
    for name, metric in (("aurc", AURC()), ("augrc", AUGRC())):
        metric.update(predictions.probability, predictions.label)
        found[name] = float(metric.compute()) if len(coverage) > 1 else float("nan")
    for share in (90, 80):
        found[f"error_at_{share}"] = float(risk[max(0, int(np.ceil(share / 100 * len(risk))) - 1)])
    return found


def risk_coverage(predictions: Predictions) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Compute the curve: cells are given to the network in the order of its confidence.

    Returns:
        (N,) share of cells that the network classifies, and (N,) share of mistakes among them.
    """
    confidence = predictions.probability.amax(dim=1).numpy()
    wrong = (predictions.predicted != predictions.label).numpy()
    order = np.argsort(-confidence, kind="stable")
    number = np.arange(1, len(order) + 1)
    return number / len(order), np.cumsum(wrong[order]) / number
