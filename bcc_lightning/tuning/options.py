"""Search the hyper-parameters of an experiment, on this machine or on a cluster.

These are the options of ``python -m bcc_lightning.tune``; no library is loaded for them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal, cast

from jsonargparse import Namespace

from bcc_lightning.cli.options import OptionParser
from bcc_lightning.errors import UserError

EXAMPLE = "--exp house --trials 20 -- --data CellFolder --data.root cells"
BEHIND = "; flags of the experiment go after --, as in: tune --exp NAME -- --data.root DIR"

SMALLER_IS_BETTER = ("loss", "seconds", "parameters", "ece")
"""Ends of the names of metrics that are minimised where --direction is not given."""

Direction = Literal["maximize", "minimize"]
ExecutorName = Literal["local", "in_process", "slurm", "ray"]

MONITOR = "val/accuracy"
"""Metric by which most experiments select their weights."""

LEAST = {"trials": 1, "workers": 1, "folds": 2, "confirm": 1, "timeout": 1}
"""Smallest allowed value of each option."""


@dataclass(frozen=True)
class JobOptions:
    """Resources of a job, in which one worker runs.

    Args:
        partition: partition of the jobs; by default the cluster's default.
        account: account to charge; by default the user's own.
        minutes: time limit of a job; by default the partition's. A worker that reaches it stops cleanly and is replaced.
        gpus: GPUs of a job; by default one if the partition has GPUs.
        cpus: CPU cores of a job.
        memory: memory of a job in gigabytes; by default the cluster's default.
        more: further options of sbatch by name, such as ``{"qos": "long"}``.
    """

    partition: str | None = None
    account: str | None = None
    minutes: int | None = None
    gpus: int | None = None
    cpus: int = 2
    memory: int | None = None
    more: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ActorOptions:
    """Resources of an actor, in which one worker runs.

    Args:
        address: address of the cluster, as ``ray.init`` takes it; by default ``RAY_ADDRESS``, or the cluster on this machine.
        gpus: GPUs of an actor, or a fraction of one; by default one if the cluster has GPUs.
        cpus: CPU cores of an actor.
    """

    address: str = "auto"
    gpus: float | None = None
    cpus: int = 2


@dataclass(frozen=True)
class Options:
    """Options of the command; flags of the experiment follow after ``--``.

    Args:
        exp: names or files of experiments; later ones override earlier ones.
        trials: total number of trials; a study that has fewer is continued.
        space: name in ``experiments/search``, or a YAML file; by default the experiment's own, else ``standard``.
        sampler: algorithm that proposes the parameters.
        pruner: rule that stops trials early; by default ``median``, or ``none`` with two metrics or the schedule ``one_cycle``.
        timeout: seconds after which no further trial is started.
        metric: a metric of the validation set; after a comma a second one, which may also be ``seconds`` or ``parameters``.
        direction: ``maximize`` or ``minimize`` for each metric; by default it follows from the name of the metric.
        executor: where trials run.
        workers: number of trials at a time; by default one for each GPU of this machine, or one.
        storage: ``sqlite:///FILE`` (by default in ``mlruns``), ``journal:FILE`` or ``postgresql://USER@HOST/DATABASE``.
        study: name of the study; by default the name of the experiment.
        seed: seed of the proposals.
        folds: number of folds, if each trial is to be a cross-validation.
        confirm: number of seeds with which the best parameters are trained again and tested at the end.
        detach: start the workers and exit; the workers go on.
        out: file for the best parameters; by default a new one in ``mlruns/tuned``. A file that is named here is replaced.
        slurm: resources of each worker with ``--executor slurm``.
        ray: resources of each worker with ``--executor ray``.
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
    """Read the command's own options, and the experiment's flags after ``--``.

    Raises:
        UserError: an option is unknown or has a value that is not allowed.
    """
    own, flags = (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else (argv, [])
    parser = OptionParser("tune", __doc__, EXAMPLE, hint=BEHIND)
    experiment = "name or file of an experiment (repeatable)"
    parser.add_argument("--exp", action="append", type=str, required=True, metavar="NAME", help=experiment)
    parser.add_argument("--detach", action="store_true", help="start the workers and exit; the workers go on")
    parser.add_class_arguments(Options, skip={"exp", "detach"})
    values: Namespace = parser.instantiate(parser.read(own))
    options = Options(**{field.name: values[field.name] for field in fields(Options)})
    for name, least in LEAST.items():
        value = getattr(options, name)
        if value is not None and value < least:
            raise UserError(f"--{name} is {value}, it must be {least} or more")
    read_metrics(options, options.metric or MONITOR)
    return options, flags


def read_metrics(options: Options, monitor: str) -> tuple[list[str], list[Direction]]:
    """Read which metrics are optimised, and whether each is maximised or minimised.

    Args:
        options: options of the command.
        monitor: metric by which the experiment selects its weights; the default.

    Raises:
        UserError: there are more than two metrics, the first is not one of the validation set, or one is of the test set.
    """
    metrics = [part.strip() for part in (options.metric or monitor).split(",")]
    if not metrics[0].startswith("val/") or len(metrics) not in {1, 2} or any(name.startswith("test") for name in metrics):
        raise UserError(
            f"--metric is '{options.metric or monitor}', it must be a metric of the validation set such as val/accuracy, and "
            "after a comma may name a second one, also seconds or parameters; the test set is not used in a search"
        )
    if len(metrics) > 1 and options.pruner not in {None, "none"}:
        raise UserError(f"--pruner {options.pruner}: a search with two metrics stops no trial early; leave --pruner out")
    default = ["minimize" if name.endswith(SMALLER_IS_BETTER) else "maximize" for name in metrics]
    directions = [part.strip() for part in options.direction.split(",")] if options.direction else default
    if len(directions) != len(metrics) or set(directions) - {"maximize", "minimize"}:
        raise UserError(f"--direction is '{options.direction}', it must be maximize or minimize for each of {', '.join(metrics)}")
    return metrics, cast(list[Direction], directions)
