"""The package from Python: what a notebook needs, as functions."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from bcc_lightning.cli.arguments import Call, experiment_names
from bcc_lightning.cli.command import quieten
from bcc_lightning.engine.cross_validation import cross_validate
from bcc_lightning.engine.fold_plan import CrossValidation
from bcc_lightning.engine.run import run_experiment
from bcc_lightning.errors import UserError
from bcc_lightning.prediction.classifier import TrainedClassifier
from bcc_lightning.tracking.finished_runs import FinishedRun, find_run, finished_runs
from bcc_lightning.tracking.store import Tracking
from bcc_lightning.tracking.trained_networks import find_network, of_run_or_folds


def fit(experiment: str | list[str], **overrides: Any) -> FinishedRun:  # noqa: ANN401 - any argument of an experiment
    """Train an experiment, evaluate it once on the test set, explain it and file the run.

    Args:
        experiment: name or file of an experiment, or several that stack.
        **overrides: what is to be other than the experiment says, by group: ``data={"root": "cells"}``, ``model={"lr": 1e-4}``,
            ``trainer={"max_epochs": 3}``, ``selection``, ``tracking``; also ``seed_everything``, ``folds`` and ``repeats``. A
            text for `data` or `model` names another class.

    Returns:
        The finished run, with its metrics and files.

    Raises:
        UserError: something in the arguments, the data or the surroundings has to be mended.
    """
    quieten()
    names = [experiment] if isinstance(experiment, str) else experiment
    call = Call.read([*(part for name in names for part in ("--exp", name)), *flags(overrides)])
    plan = CrossValidation.of(call)
    summary = cross_validate(plan) if plan else run_experiment(call)
    if summary is None:
        raise UserError("this process only trains along; the first process has the run")
    return find_run(call.tracking, summary.run_id)


class Verb(ModuleType):
    """A command's module that is called like the function of the same name here.

    Once ``bcc_lightning.fit`` is imported, the name stands for the module; ``bcc_lightning.fit("quickstart")`` still works then.
    """

    def __call__(self, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - of any function
        """Call the function."""
        return globals()[self.__name__.rpartition(".")[2]](*arguments, **named)


def flags(overrides: Mapping[str, Any]) -> list[str]:
    """Write arguments of Python as flags of the command line."""
    found: list[str] = []
    for name, value in overrides.items():
        if isinstance(value, Mapping):
            if "class_path" in value:
                found.append(f"--{name}={value['class_path']}")
            found += [f"--{name}.{key}={text(inner)}" for key, inner in value.items() if key != "class_path"]
        else:
            found.append(f"--{name}={text(value)}")
    return found


def text(value: object) -> str:
    """Write a value as the command line takes it."""
    return str(value) if isinstance(value, str | Path) else json.dumps(value)


def load(source: str | Path | FinishedRun, folder: str = "mlruns") -> TrainedClassifier:
    """Load a trained network.

    Args:
        source: a run, its id or the beginning of it, the name of an experiment (its newest finished run), a checkpoint file, or
            ``models:/NAME@ALIAS``.
        folder: folder of the runs.

    Raises:
        UserError: there is no such run or file.
    """
    network = (
        of_run_or_folds(source)
        if isinstance(source, FinishedRun)
        else find_network(Tracking(folder=folder), str(source), folds=True)
    )
    return TrainedClassifier.of(network)


def experiments() -> list[str]:
    """List the names of all experiments."""
    return list(experiment_names())


def runs(experiment: str | None = None, folder: str = "mlruns") -> list[FinishedRun]:
    """List the finished runs, the newest first.

    Args:
        experiment: name of an experiment; by default all.
        folder: folder of the runs.
    """
    return finished_runs(Tracking(folder=folder), experiment)
