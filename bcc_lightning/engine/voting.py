"""An ensemble: weights of its members fitted on the validation set, then one test."""

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn.functional import nll_loss

from bcc_lightning.architectures.soft_voting import TINY, pool
from bcc_lightning.callbacks.figures import draw_data, explain_cells, file_predictions
from bcc_lightning.cli.experiment import ExperimentCLI
from bcc_lightning.datamodules import CellDataModule
from bcc_lightning.engine.votes import align, cells_to_test, member_votes
from bcc_lightning.evaluation.figures import members_figure, save_figure
from bcc_lightning.evaluation.metrics import Predictions, external_metrics, final_metrics, validation_metrics
from bcc_lightning.modules.checkpoint import save_classifier
from bcc_lightning.modules.ensemble import Ensemble
from bcc_lightning.tracking.logger import RunLogger
from bcc_lightning.tracking.run_files import RunFolder, Stopwatch
from bcc_lightning.tracking.trained_networks import Source

EPOCH = 0
"""Where the metrics of an ensemble are logged, which has no epochs."""


def vote(
    cli: ExperimentCLI, module: Ensemble, folder: RunFolder | None, logger: RunLogger | None, seconds: dict[str, float]
) -> list[dict[str, str | float]]:
    """Weigh the members on the validation part, then test the ensemble once.

    Args:
        cli: the configured ensemble.
        module: the ensemble; its weights are set.
        folder: the run's folder; None on processes that do not write.
        logger: where metrics go; None likewise.
        seconds: is filled in with the wall time of ``fit`` and ``test``.

    Returns:
        Name, title, weight and test accuracy of each member.
    """
    watch, trainer, data = Stopwatch(), cli.build_trainer([], False), cli.datamodule
    said = [member_votes(source, cli.resolved_config(), data, trainer) for source in cli.members]
    val = align([member.val for member in said], data.splits["val"])
    if module.hparams["weighting"] == "fitted":
        module.shares.copy_(torch.from_numpy(fit_shares(of_true_class(*val))))
    seconds["fit"] = watch.seconds
    watch = Stopwatch()
    tests = {name: align([member.tests[name] for member in said], cells) for name, cells in cells_to_test(data).items()}
    module.test_predictions = {name: pooled(*votes, module.shares) for name, votes in tests.items()}
    members = member_rows(cli.members, module.shares, *tests[None])
    if folder and logger:
        logger.log_metrics({**measure(module, pooled(*val, module.shares)), "epoch": EPOCH})
        logger.run.set_tags(tags(module, members))
        file_ensemble(module.to(trainer.strategy.root_device), data, folder, members)
    seconds["test"] = watch.seconds
    return members


def of_true_class(votes: Tensor, cells: Predictions) -> npt.NDArray[np.float64]:
    """Take the probabilities of the true classes: (M, N, C) to (N, M)."""
    return np.asarray(votes[:, torch.arange(len(cells.label)), cells.label].T, np.float64)


def pooled(votes: Tensor, cells: Predictions, shares: Tensor) -> Predictions:
    """Average the members' probabilities (M, N, C) with the weights (M,)."""
    return Predictions(cells.position, cells.label, pool(votes, shares))


def measure(module: Ensemble, val: Predictions) -> dict[str, float]:
    """Compute the metrics of the contract, but for those of training."""
    values = {"val/loss": loss(val), **validation_metrics(val)}
    for name, test in module.test_predictions.items():
        found = final_metrics(test, module.class_names)
        values |= {"test/loss": loss(test), **found} if name is None else external_metrics(name, found)
    return values


def loss(predictions: Predictions) -> float:
    """Compute the mean negative log-likelihood of the true classes."""
    return float(nll_loss(predictions.probability.clamp_min(TINY).log(), predictions.label))


def member_rows(sources: list[Source], shares: Tensor, votes: Tensor, cells: Predictions) -> list[dict[str, str | float]]:
    """Lay out name, title, weight and test accuracy of each member."""
    accuracy = (votes.argmax(dim=2) == cells.label).double().mean(dim=1)
    return [
        {"name": source.name, "title": source.title, "weight": float(share), "test/accuracy": float(right)}
        for source, share, right in zip(sources, shares, accuracy, strict=True)
    ]


def tags(module: Ensemble, members: list[dict[str, str | float]]) -> dict[str, str]:
    """Name the members and their weights."""
    return {
        "ensemble.members": ", ".join(str(member["name"]) for member in members),
        "ensemble.weights": ", ".join(f"{member['weight']:.4f}" for member in members),
        "ensemble.weighting": str(module.hparams["weighting"]),
    }


def file_ensemble(module: Ensemble, data: CellDataModule, folder: RunFolder, members: list[dict[str, str | float]]) -> None:
    """Write checkpoint, predictions, figures and maps of a tested ensemble."""
    save_classifier(module, folder.checkpoints / "best.ckpt")
    draw_data(folder, data)
    for name, cells in cells_to_test(data).items():
        file_predictions(folder, cells, module.test_predictions[name], module.class_names, name)
    test = module.test_predictions[None]
    bars = {str(member["title"]): round(float(member["test/accuracy"]) * len(test.label)) for member in members}
    most_frequent = int(test.label.bincount().max()) / len(test.label)
    figure = members_figure({**bars, "ensemble": test.correct}, len(test.label), most_frequent)
    save_figure(figure, folder.figure("members"))
    explain_cells(folder, module, data.splits["test"], test)


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
