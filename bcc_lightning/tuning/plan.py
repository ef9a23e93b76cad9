"""What a search is: kept in the study, so that a worker anywhere needs no more than storage and name."""

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bcc_lightning.argument_types import built_from, check_types
from bcc_lightning.errors import UserError
from bcc_lightning.tuning.space import Space, read_space

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler


Direction = Literal["maximize", "minimize"]

FIT = "bcc_lightning.fit"
"""The program that a trial runs."""


def maximize() -> list[Direction]:
    """Give the directions of a search for the highest accuracy."""
    return ["maximize"]


@dataclass(frozen=True)
class Plan:
    """A search. What workers need is here; no password is, nor anything that belongs to one machine alone.

    Attributes:
        study: name of the study.
        experiment: name of the experiment, or names joined by ``+``.
        argv: arguments of each trial, without those that are searched.
        space: content of the file with the search space.
        metrics: what is optimised; the first is a metric of the validation part.
        directions: whether larger or smaller is better, for each metric.
        trials: how many there are to be in all, retries apart.
        sampler: who proposes, see `bcc_lightning.tuning.plan.SAMPLERS`.
        pruner: who stops trials early, see `bcc_lightning.tuning.plan.PRUNERS`.
        seed: seed of the proposals.
        epochs: epochs of a trial that is not stopped.
        folds: folds of a cross-validation that each trial is; 0 for none.
        batch_size: cells per batch where it is not searched; halved after a trial has run out of memory.
        accumulate: batches per step of the optimiser where it is not searched; doubled then.
        own: the experiment's own values of what is searched; the first trial.
        logs: folder that gets the output of each trial.
        program: what is run, before its arguments; ``-m bcc_lightning.fit`` of this Python if empty.
    """

    study: str
    experiment: str
    argv: list[str]
    space: dict[str, Any]
    metrics: list[str] = field(default_factory=lambda: ["val/accuracy"])
    directions: list[Direction] = field(default_factory=maximize)
    trials: int = 20
    sampler: str = "tpe"
    pruner: str = "none"
    seed: int = 0
    epochs: int = 30
    folds: int = 0
    batch_size: int = 32
    accumulate: int = 1
    own: dict[str, Any] = field(default_factory=dict)
    logs: str = "."
    program: list[str] = field(default_factory=list)

    @property
    def search_space(self) -> Space:
        """The search space."""
        return read_space(self.space, f"space of study {self.study}")

    @property
    def command(self) -> list[str]:
        """The program that a trial runs, before its arguments."""
        return self.program or [sys.executable, "-m", FIT]

    @classmethod
    def read(cls, content: object, study: str) -> "Plan":
        """Read a plan from a storage, where another version or another program may have written it.

        Raises:
            UserError: it is none.
        """
        if not isinstance(content, dict):
            raise UserError(f"study {study} was not started by this program, so nothing says what its trials run")
        plan = built_from(cls, content, f"study {study}")
        check_types(f"study {study}", cls, content)
        return plan

    def as_dict(self) -> dict[str, Any]:
        """Give a plain dict for JSON."""
        return asdict(self)


def make_sampler(plan: Plan, number: int) -> "BaseSampler":
    """Make the sampler of a trial.

    Args:
        plan: the search.
        number: number of the trial. Each has a generator of its own: workers that share a seed would propose the same.
    """
    seed = int(np.random.SeedSequence([plan.seed, number]).generate_state(1)[0])
    return SAMPLERS[plan.sampler](plan, seed)


def make_pruner(plan: Plan) -> "BasePruner":
    """Make the pruner of a study."""
    return PRUNERS[plan.pruner](plan)


def tpe(plan: Plan, seed: int) -> "BaseSampler":
    """Tree-structured Parzen estimator over all parameters at once; counts running trials as bad ones, so that workers spread."""
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, multivariate=True, group=plan.search_space.is_conditional, constant_liar=True)


def random(plan: Plan, seed: int) -> "BaseSampler":
    """Independent draws."""
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def gp(plan: Plan, seed: int) -> "BaseSampler":
    """Gaussian process, for few and costly trials; imports torch, which takes seconds."""
    from optuna.samplers import GPSampler

    return GPSampler(seed=seed, deterministic_objective=False)


def nsga2(plan: Plan, seed: int) -> "BaseSampler":
    """Genetic algorithm for two metrics."""
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(seed=seed, population_size=20)


def nothing(plan: Plan) -> "BasePruner":
    """Stop no trial."""
    from optuna.pruners import NopPruner

    return NopPruner()


def median(plan: Plan) -> "BasePruner":
    """Stop a trial whose best value so far is below the median of the others at the same epoch, after a sixth of the epochs."""
    from optuna.pruners import MedianPruner

    return MedianPruner(n_startup_trials=4, n_warmup_steps=0 if plan.folds else plan.epochs // 6)


def hyperband(plan: Plan) -> "BasePruner":
    """Give many trials few epochs and the best of them more, in several brackets."""
    from optuna.pruners import HyperbandPruner

    return HyperbandPruner(min_resource=max(1, plan.epochs // 27), max_resource=max(2, plan.folds or plan.epochs))


def wilcoxon(plan: Plan) -> "BasePruner":
    """Stop a cross-validation whose folds are worse than those of the best trial, pair by pair."""
    from optuna.pruners import WilcoxonPruner

    return WilcoxonPruner()


SAMPLERS: dict[str, Callable[[Plan, int], "BaseSampler"]] = {"tpe": tpe, "random": random, "gp": gp, "nsga2": nsga2}

PRUNERS: dict[str, Callable[[Plan], "BasePruner"]] = {
    "median": median,
    "hyperband": hyperband,
    "wilcoxon": wilcoxon,
    "none": nothing,
}

OF_FOLDS = "wilcoxon"
"""The pruner that wants each fold's own value; the others want the mean so far."""
