"""An ensemble: weights of its members fitted on the validation set, then one test."""

from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn.functional import nll_loss

from bcc_lightning.architectures.soft_voting import TINY, pool
from bcc_lightning.cli.experiment import ExperimentCLI
from bcc_lightning.engine.recorder import Recorder
from bcc_lightning.engine.votes import Voter, align
from bcc_lightning.evaluation.figures import members_figure, save_figure
from bcc_lightning.evaluation.metrics import TEST, VALIDATION, Predictions, final_metrics, metrics_of, validation_metrics
from bcc_lightning.modules.checkpoint import save_classifier
from bcc_lightning.modules.ensemble import Ensemble
from bcc_lightning.tracking.run_files import RunFolder

EPOCH = 0
"""Where the metrics of an ensemble are logged, which has no epochs."""

TOLERANCE = 1e-10


class Voting:
    """Weighs the members of an ensemble on the validation set, and evaluates what they answer together.

    Args:
        experiment: the configured ensemble; the weights of its members are set.
        recorder: where it is recorded.
    """

    def __init__(self, experiment: ExperimentCLI, recorder: Recorder) -> None:
        self.experiment = experiment
        self.recorder = recorder
        self.trainer = experiment.build_trainer([], False)
        self.module = cast(Ensemble, experiment.model)
        self.voters: list[Voter] = []

    def train(self) -> None:
        """Collect the members' answers for the validation set, and weigh the members."""
        config, data = self.experiment.resolved_config(), self.experiment.datamodule
        self.voters = [
            Voter(network, member, config, data, self.trainer)
            for network, member in zip(self.experiment.members, self.module.members, strict=True)
        ]
        votes, cells = self.votes(VALIDATION)
        if self.module.hparams["weighting"] == "fitted":
            self.module.shares.copy_(torch.from_numpy(fit_shares(of_true_class(votes, cells))))
        together = pooled(votes, cells, self.module.shares)
        self.log({"val/loss": loss(together), **validation_metrics(together)})
        if self.recorder.folder:
            save_classifier(self.module, self.recorder.folder.checkpoints / "best.ckpt")

    def test(self, name: str) -> Predictions:
        """Evaluate the ensemble on a set."""
        votes, cells = self.votes(name)
        together = pooled(votes, cells, self.module.shares)
        self.module.test_predictions[name] = together
        losses = {"test/loss": loss(together)} if name == TEST else {}
        if name not in self.module.unjudged:
            self.log({**losses, **metrics_of(name, final_metrics(together, self.module.class_names))})
        if name == TEST and self.recorder.summary:
            self.recorder.summary.members = self.member_rows(votes, cells)
            self.record_members(self.recorder.summary.members, together)
        return together

    def votes(self, name: str) -> tuple[Tensor, Predictions]:
        """Collect the answers of all members for an evaluated set, as `align` returns them."""
        return align([voter.answer(name) for voter in self.voters], self.experiment.datamodule.evaluated_cells(name))

    def log(self, metrics: dict[str, float]) -> None:
        """Log metrics, on the process that writes."""
        if self.recorder.logger:
            self.recorder.logger.log_metrics({**metrics, "epoch": EPOCH})

    def member_rows(self, votes: Tensor, cells: Predictions) -> list[dict[str, str | float]]:
        """List name, title, weight and test accuracy of each member."""
        accuracy = (votes.argmax(dim=2) == cells.label).double().mean(dim=1)
        return [
            {"name": network.name, "title": network.title, "weight": float(share), "test/accuracy": float(right)}
            for network, share, right in zip(self.experiment.members, self.module.shares, accuracy, strict=True)
        ]

    def record_members(self, members: list[dict[str, str | float]], test: Predictions) -> None:
        """Tag the run with members and weights, and draw the ensemble beside its members."""
        if not (self.recorder.logger and self.recorder.folder):
            return
        self.recorder.logger.run.set_tags(
            {
                "ensemble.members": ", ".join(str(member["name"]) for member in members),
                "ensemble.weights": ", ".join(f"{member['weight']:.4f}" for member in members),
                "ensemble.weighting": str(self.module.hparams["weighting"]),
            }
        )
        draw_members(self.recorder.folder, members, test)


def draw_members(folder: RunFolder, members: list[dict[str, str | float]], test: Predictions) -> None:
    """Draw the test accuracy of an ensemble beside those of its members."""
    cells = len(test.label)
    bars = {str(member["title"]): round(float(member["test/accuracy"]) * cells) for member in members}
    most_frequent = int(test.label.bincount().max()) / cells
    save_figure(members_figure({**bars, "ensemble": test.correct}, cells, most_frequent), folder.figure("members"))


def of_true_class(votes: Tensor, cells: Predictions) -> npt.NDArray[np.float64]:
    """Select the probabilities of the true classes: (M, N, C) to (N, M)."""
    return np.asarray(votes[:, torch.arange(len(cells.label)), cells.label].T, np.float64)


def pooled(votes: Tensor, cells: Predictions, shares: Tensor) -> Predictions:
    """Average the members' probabilities (M, N, C) with the weights (M,)."""
    return Predictions(cells.position, cells.label, pool(votes, shares))


def loss(predictions: Predictions) -> float:
    """Compute the mean negative log-likelihood of the true classes."""
    return float(nll_loss(predictions.probability.clamp_min(TINY).log(), predictions.label))


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
