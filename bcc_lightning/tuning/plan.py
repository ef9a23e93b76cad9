"""The plan of a search; it is stored in the study, so that a worker needs only the storage and the name of the study."""

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bcc_lightning.argument_types import built_from, check_types
from bcc_lightning.errors import UserError
from bcc_lightning.trust import OPTION
from bcc_lightning.tuning.options import Direction
from bcc_lightning.tuning.space import Space, read_space

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler


FIT = "bcc_lightning.fit"
"""The program that a trial runs."""


def maximize() -> list[Direction]:
    """Return the directions of a search for the highest accuracy."""
    return ["maximize"]


@dataclass(frozen=True)
class Plan:
    """What is searched and how. It holds all that workers need, but no password and nothing that concerns only one machine.

    Attributes:
        study: name of the study.
        experiment: name of the experiment, or names joined by ``+``.
        argv: arguments of each trial, without the searched parameters.
        space: content of the search space's YAML file.
        metrics: metrics to optimise; the first is one of the validation set.
        directions: for each metric, whether larger or smaller is better.
        trials: total number of trials, not counting retries.
        sampler: name in `SAMPLERS`.
        pruner: name in `PRUNERS`.
        seed: seed of the proposals.
        epochs: epochs of a trial that is not stopped early.
        folds: number of folds if each trial is a cross-validation; else 0.
        batch_size: images per batch where it is not searched; halved when a trial that ran out of memory is repeated.
        accumulate: batches per optimiser step where it is not searched; doubled in the same case.
        own: the experiment's own values of the searched parameters, which the first trial uses.
        logs: folder for the output of each trial.
        program: command of a trial, before its arguments; if empty, ``-m bcc_lightning.fit`` of this Python.
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
        """Command of a trial, before its arguments."""
        return self.program or [sys.executable, "-m", FIT]

    @classmethod
    def read(cls, content: object, study: str) -> "Plan":
        """Read a plan from a storage, where another version or another program may have written it.

        Args:
            content: the stored plan.
            study: name of the study, for errors.

        Raises:
            UserError: the content is not a plan.
        """
        if not isinstance(content, dict):
            raise UserError(f"study {study} was not started by this program, so it does not say what its trials run")
        plan = built_from(cls, content, f"study {study}")
        check_types(f"study {study}", cls, content)
        return plan

    def as_dict(self) -> dict[str, Any]:
        """Return a plain dict for JSON."""
        return asdict(self)


SEARCHED = ("experiment", "argv", "space", "metrics", "directions", "folds", "program")
"""Fields of the plan that cannot change within a study, since its trials could not be compared."""


def searched(plan: Plan, name: str) -> Any:  # noqa: ANN401 - one of the plan's fields
    """Return a field of the plan without the place where runs are stored, which changes when the folder moves."""
    from bcc_lightning.cli.arguments import PLACES  # imports torch, which workers do not need
    from bcc_lightning.cli.command import without

    value = getattr(plan, name)
    return without(value, *PLACES) if name == "argv" else value


def refuse_another_search(before: Plan, now: Plan) -> None:
    """Refuse to mix trials in one study that cannot be compared.

    Raises:
        UserError: the plans differ in what is searched.
    """
    differing = [name for name in SEARCHED if searched(before, name) != searched(now, name)]
    if differing:
        first = differing[0]
        raise UserError(
            f"study '{now.study}' has searched with another {first} so far: {getattr(before, first)}, not {getattr(now, first)}. "
            "Next step: start another study with --study NAME, or continue this one with the same arguments as before"
        )


def refuse_foreign_program(plan: Plan, program: list[str]) -> None:
    """Refuse a plan that would run another program than this worker was started for: others may write to the storage.

    Args:
        plan: the plan from the storage.
        program: command of the trials, as given on the worker's command line; empty for `fit`.

    Raises:
        UserError: the plan names another program, or trusts packages.
    """
    if plan.program != program:
        raise UserError(f"study {plan.study} would run {plan.program or FIT}, not {program or FIT}; its plan was changed")
    if any(argument.partition("=")[0] == OPTION for argument in plan.argv):
        raise UserError(f"study {plan.study} holds {OPTION}; give it after -- when you start the worker instead")


def make_sampler(plan: Plan, number: int) -> "BaseSampler":
    """Build the sampler of a trial.

    Args:
        plan: the search.
        number: number of the trial, which seeds its random generator: with one seed for all, workers would propose the same.
    """
    seed = int(np.random.SeedSequence([plan.seed, number]).generate_state(1)[0])
    return SAMPLERS[plan.sampler](plan, seed)


def make_pruner(plan: Plan) -> "BasePruner":
    """Build the pruner of a study."""
    return PRUNERS[plan.pruner](plan)


def tpe(plan: Plan, seed: int) -> "BaseSampler":
    """Build a tree-structured Parzen estimator of all parameters; it counts running trials as bad, so that workers spread."""
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, multivariate=True, group=plan.search_space.is_conditional, constant_liar=True)


def random(plan: Plan, seed: int) -> "BaseSampler":
    """Build a sampler that draws each parameter independently."""
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def gp(plan: Plan, seed: int) -> "BaseSampler":
    """Build a Gaussian process, for few and costly trials; importing it takes seconds, because it needs torch."""
    from optuna.samplers import GPSampler

    return GPSampler(seed=seed, deterministic_objective=False)


def nsga2(plan: Plan, seed: int) -> "BaseSampler":
    """Build the genetic algorithm NSGA-II, for two metrics."""
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(seed=seed, population_size=20)


def nothing(plan: Plan) -> "BasePruner":
    """Build a pruner that stops no trial."""
    from optuna.pruners import NopPruner

    return NopPruner()


def median(plan: Plan) -> "BasePruner":
    """Build a pruner that stops a trial whose best value so far is worse than the median of the other trials at the same epoch.

    The first sixth of the epochs is not judged.
    """
    from optuna.pruners import MedianPruner

    return MedianPruner(n_startup_trials=4, n_warmup_steps=0 if plan.folds else plan.epochs // 6)


def hyperband(plan: Plan) -> "BasePruner":
    """Build a pruner that trains many trials for few epochs and the best of them for more, in several brackets."""
    from optuna.pruners import HyperbandPruner

    return HyperbandPruner(min_resource=max(1, plan.epochs // 27), max_resource=max(2, plan.folds or plan.epochs))


def wilcoxon(plan: Plan) -> "BasePruner":
    """Build a pruner that stops a cross-validation whose folds are worse than the same folds of the best trial."""
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
"""The pruner that compares the value of each fold; the others compare the mean of the folds so far."""
