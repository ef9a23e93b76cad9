"""Who proposes the next trial, and who stops one early: Optuna's samplers and pruners by name."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from bcc_lightning.tuning.plan import Plan

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler


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
