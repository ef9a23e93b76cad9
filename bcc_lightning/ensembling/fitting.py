"""Weights of an ensemble's members, fitted on the validation part."""

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from bcc_lightning.architectures.soft_voting import TINY

TOLERANCE = 1e-10


def fit_shares(votes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Find the weights with the smallest negative log-likelihood of the true classes, by SLSQP (scipy).

    The weights are 0 or more and sum to 1. The likelihood of a mean is concave in its weights, so what is found is the best
    there is, wherever the search begins; it begins with equal weights.

    Args:
        votes: (N, M), probability that each of M members gives to the true class of each of N validation cells.

    Returns:
        (M,) weights.

    Raises:
        ArithmeticError: the search did not come to an end.
    """
    members = votes.shape[1]
    result = minimize(
        negative_log_likelihood,
        np.full(members, 1 / members),
        args=(votes,),
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * members,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"ftol": TOLERANCE, "maxiter": 1000},
    )
    if not result.success:
        raise ArithmeticError(f"weights could not be fitted: {result.message}")
    shares = np.clip(result.x, 0, None)
    return np.asarray(shares / shares.sum(), np.float64)


def negative_log_likelihood(
    shares: npt.NDArray[np.float64], votes: npt.NDArray[np.float64]
) -> tuple[float, npt.NDArray[np.float64]]:
    """Compute the mean negative log-likelihood of the true classes, and its gradient (M,); `votes` as in `fit_shares`."""
    mean = votes @ shares + TINY
    return float(-np.log(mean).mean()), -(votes / mean[:, None]).mean(axis=0)
