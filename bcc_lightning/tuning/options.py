"""The options of ``python -m bcc_lightning.tune``."""

from dataclasses import dataclass, field, fields
from typing import Literal, cast

from jsonargparse import ArgumentParser, Namespace

from bcc_lightning.errors import UserError
from bcc_lightning.tuning.executors import ExecutorName
from bcc_lightning.tuning.executors.ray import ActorOptions
from bcc_lightning.tuning.executors.slurm import JobOptions
from bcc_lightning.tuning.plan import Direction

DESCRIPTION = "Search hyper-parameters of an experiment, on this machine or many."

SMALLER_IS_BETTER = ("loss", "seconds", "parameters", "ece")
"""Ends of the names of metrics that are minimised unless --direction says otherwise."""

LEAST = {"trials": 1, "workers": 1, "folds": 2, "confirm": 1, "timeout": 1}


@dataclass(frozen=True)
class Options:
    """Options of the command; those of the experiment follow behind ``--``.

    Args:
        exp: names or files of experiments; several stack.
        trials: how many there are to be in all; the same command goes on with a study that has fewer.
        space: name in ``experiments/search``, or a YAML file; by default that of the experiment, else ``standard``.
        sampler: who proposes; by default ``tpe``.
        pruner: who stops trials early; by default ``median``, or ``none`` with two metrics or a schedule ``one_cycle``.
        timeout: seconds after which no further trial is begun.
        metric: a metric of the validation part; a second one, also ``seconds`` or ``parameters``, behind a comma.
        direction: ``maximize`` or ``minimize``, one for each metric; by default as the metrics' names say.
        executor: where trials run.
        workers: how many run at once; by default one for each GPU of this machine, or one.
        storage: ``sqlite:///FILE``, ``journal:FILE`` or ``postgresql://USER@HOST/DATABASE``; by default a file in ``mlruns``.
        study: name of the study; by default that of the experiment.
        seed: seed of the proposals.
        folds: make each trial a cross-validation of so many folds.
        confirm: train the best parameters with so many seeds at the end, and test them.
        detach: leave the workers alone once they are placed.
        out: file for the best parameters; by default ``experiments/NAME_tuned.yaml``.
        slurm: what each worker gets with ``--executor slurm``.
        ray: what each worker gets with ``--executor ray``.
    """

    exp: list[str]
    trials: int = 20
    space: str | None = None
    sampler: Literal["tpe", "random", "gp", "nsga2"] = "tpe"
    pruner: Literal["median", "hyperband", "wilcoxon", "none"] | None = None
    timeout: float | None = None
    metric: str | None = None
    direction: str | None = None
    executor: ExecutorName = "local"
    workers: int | None = None
    storage: str | None = None
    study: str | None = None
    seed: int = 0
    folds: int | None = None
    confirm: int | None = None
    detach: bool = False
    out: str | None = None
    slurm: JobOptions = field(default_factory=JobOptions)
    ray: ActorOptions = field(default_factory=ActorOptions)


def read_options(argv: list[str]) -> tuple[Options, list[str]]:
    """Read the command's own options, and the experiment's flags behind ``--``.

    Raises:
        UserError: an option is unknown or has a value that is not allowed.
    """
    own, flags = (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else (argv, [])
    parser = ArgumentParser(prog="python -m bcc_lightning.tune", description=DESCRIPTION, exit_on_error=False)
    parser.add_argument("--exp", type=str, action="append", required=True, help="name or file of an experiment; several stack")
    parser.add_argument("--detach", action="store_true", help="leave the workers alone once they are placed")
    parser.add_class_arguments(Options, skip={"exp", "detach"})
    try:
        values: Namespace = parser.instantiate(parser.parse_args(own))
    except Exception as error:  # jsonargparse raises its own and argparse's
        raise UserError(f"{error}; flags of the experiment stand behind --, as in: tune --exp NAME -- --data.root DIR") from error
    options = Options(**{field.name: values[field.name] for field in fields(Options)})
    for name, least in LEAST.items():
        value = getattr(options, name)
        if value is not None and value < least:
            raise UserError(f"--{name} is {value}, it must be {least} or more")
    return options, flags


def read_metrics(options: Options, monitor: str) -> tuple[list[str], list[Direction]]:
    """Read what is optimised, and which way.

    Raises:
        UserError: there are more than two, or the first says nothing before a trial has ended.
    """
    metrics = [part.strip() for part in (options.metric or monitor).split(",")]
    if not metrics[0].startswith("val/") or len(metrics) not in {1, 2} or any(name.startswith("test") for name in metrics):
        raise UserError(
            f"--metric is '{options.metric or monitor}', it must be a metric of the validation part such as val/accuracy, "
            "and may name a second one behind a comma, also seconds or parameters; the test part has no say in a search"
        )
    if len(metrics) > 1 and options.pruner not in {None, "none"}:
        raise UserError(f"--pruner {options.pruner}: a search with two metrics stops no trial early; leave --pruner out")
    default = ["minimize" if name.endswith(SMALLER_IS_BETTER) else "maximize" for name in metrics]
    directions = [part.strip() for part in options.direction.split(",")] if options.direction else default
    if len(directions) != len(metrics) or set(directions) - {"maximize", "minimize"}:
        raise UserError(f"--direction is '{options.direction}', it must be maximize or minimize for each of {', '.join(metrics)}")
    return metrics, cast(list[Direction], directions)
