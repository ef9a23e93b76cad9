"""``fit --folds K``: each fold is a run of its own with everything new, below one parent run with mean and deviation."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from lightning.pytorch.utilities import rank_zero_only

from bcc_lightning.cli import ExperimentCLI, configuration_arguments, flatten
from bcc_lightning.command import take_option
from bcc_lightning.console import print_folds, print_unfinished
from bcc_lightning.datamodules.base import VALIDATION
from bcc_lightning.errors import UserError
from bcc_lightning.modules.views import describe_views
from bcc_lightning.tracking.folder import PARENT_VARIABLE, RunFolder
from bcc_lightning.tracking.provenance import provenance
from bcc_lightning.tracking.recording import end_failed, ending, file_run
from bcc_lightning.tracking.resume import find_resumable
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.store import Tracking
from bcc_lightning.tracking.summary import Summary
from bcc_lightning.tuning.channel import TrialChannel
from bcc_lightning.tuning.trial_run import open_trial_run, report_end, tag_end
from bcc_lightning.whole_file import whole_file, write_json
from bcc_lightning.writable import refuse_unwritable

RunFold = Callable[[list[str], TrialChannel | None], Summary | None]


@dataclass
class CrossValidation:
    """What a cross-validation is to do and has done; lies in the parent run's folder for resuming.

    Attributes:
        argv: arguments of each fold, without those that tell folds apart.
        folds: number of folds K.
        repeats: how often the cells are divided anew.
        finished: summary of each finished fold.
        parent: run id of the parent; empty before it is started.
        summary: file that gets the summary; None for none.
    """

    argv: list[str]
    folds: int
    repeats: int = 1
    finished: dict[str, dict[str, Any]] = field(default_factory=dict)
    parent: str = ""
    summary: str | None = None


def cross_validation_plan(argv: list[str]) -> CrossValidation | None:
    """Read from the arguments whether a cross-validation is wanted, new or to be gone on with.

    Raises:
        UserError: the number of folds or repeats is none.
    """
    resumed, rest = take_option(argv, "--resume")
    folds, rest = take_option(rest, "--folds")
    repeats, rest = take_option(rest, "--repeats")
    summary, rest = take_option(rest, "--summary")
    if resumed:
        tracking = tracking_of(rest)
        folder = find_resumable(tracking.work, resumed[-1])
        if folder.parent.is_file():
            folder = RunFolder(tracking.work / folder.parent.read_text())
        return CrossValidation(**json.loads(folder.folds.read_text())) if folder.folds.is_file() else None
    if not folds:
        if repeats:
            raise UserError("--repeats needs --folds K")
        return None
    return CrossValidation(
        rest,
        whole("--folds", folds[-1], 2),
        whole("--repeats", repeats[-1] if repeats else "1", 1),
        summary=summary[-1] if summary else None,
    )


def whole(option: str, value: str, least: int) -> int:
    """Read a whole number.

    Raises:
        UserError: it is none, or too small.
    """
    if not value.isdecimal() or int(value) < least:
        raise UserError(f"{option} is '{value}', it must be a whole number from {least}")
    return int(value)


def tracking_of(argv: list[str]) -> Tracking:
    """Read from the arguments where runs are kept."""
    given = {key.name: take_option(argv, f"--tracking.{key.name}")[0] for key in fields(Tracking)}
    return Tracking(**{name: values[-1] for name, values in given.items() if values})


def cross_validate(plan: CrossValidation, run_fold: RunFold, trial: TrialChannel | None = None) -> None:
    """Train all folds, file mean and standard deviation.

    Args:
        plan: what is to be done.
        run_fold: runs an experiment from its arguments.
        trial: channel to the search whose trial this is; each fold is reported, and none reads its test part.

    Raises:
        UserError: something in the arguments or the data has to be mended; the parent run says so.
    """
    if rank_zero_only.rank != 0:  # type: ignore[attr-defined]  # files nothing, but trains along
        for fold in range(plan.folds * plan.repeats):
            run_fold(fold_arguments(plan, fold), None)
        return
    cli = ExperimentCLI(fold_arguments(plan, 0, parse=True))
    if plan.summary:
        refuse_unwritable("--summary", Path(plan.summary))
    cli.datamodule.prepare_data()
    cli.datamodule.setup("fit")  # what is wrong with the data shows before a run is opened
    run = open_parent(cli, plan)
    summary = Summary(run.run_id, cli.experiment_name, test_time=describe_views(cli.model.hparams["test_time"]))
    summary.tested_on = VALIDATION if trial else summary.tested_on
    if trial:
        open_trial_run(trial, run)
    waiting = None
    try:
        with ending(summary), child_runs(run.run_id):
            for fold in range(plan.folds * plan.repeats):
                run_unfinished(plan, run, fold, lambda argv: run_fold(argv, trial))
                if trial:
                    report_fold(trial, plan, fold)
            sum_up(summary, plan)
            run.log_metrics(summary.metrics, 0)
    finally:
        waiting = close_parent(plan, run, summary, trial)
    if waiting:
        raise UserError(waiting)
    if summary.status == "FINISHED":  # else pruned
        print_folds(run, summary)
    run.folder.remove()


def close_parent(plan: CrossValidation, run: TrackedRun, summary: Summary, trial: TrialChannel | None) -> str | None:
    """File the parent run, copy its summary out and tell the search; returns what waits, or None."""
    steps = [lambda: tag_end(trial, run, summary)] if trial else []
    try:
        waiting = file_run(run, summary, *steps, copy=plan.summary)
    finally:
        if trial:
            report_end(trial, summary)
    if summary.status != "FINISHED":
        print_unfinished(run, summary, waiting)
    return waiting


def fold_arguments(plan: CrossValidation, fold: int, parse: bool = False) -> list[str]:
    """Put together the arguments of a fold."""
    argv = [*plan.argv, "--data.folds", str(plan.folds), "--data.fold", str(fold)]
    return configuration_arguments(*take_option(argv, "--exp")) if parse else argv


def open_parent(cli: ExperimentCLI, plan: CrossValidation) -> TrackedRun:
    """Start the parent run, or go on with it."""
    tracking: Tracking = cli.config_init["tracking"]
    if plan.parent:
        return TrackedRun.reopen(tracking, plan.parent)
    name = tracking.run_name or f"{cli.experiment_name}-{plan.folds}folds-seed{cli.config['seed_everything']}"
    run = TrackedRun.create(tracking, name, {"experiment": cli.experiment_name, "folds": str(plan.folds * plan.repeats)})
    plan.parent = run.run_id
    config = cli.resolved_config()
    try:
        with whole_file(run.folder.config) as draft:
            draft.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
        run.log_params(flatten(config))
        run.set_tags(provenance())
        keep(plan, run)
    except BaseException as error:
        end_failed(run, error)
        raise
    return run


def run_unfinished(plan: CrossValidation, run: TrackedRun, fold: int, run_fold: Callable[[list[str]], Summary | None]) -> None:
    """Run a fold if it has not been finished; one that was interrupted goes on."""
    if str(fold) in plan.finished:
        return
    interrupted = [path.parents[1] for path in run.folder.path.parent.glob("*/state/parent") if path.read_text() == run.run_id]
    print(f"\nfold {fold + 1} of {plan.folds * plan.repeats}")
    if interrupted:
        summary = run_fold(["--resume", interrupted[0].name, *tracking_flags(plan.argv)])
    else:
        summary = run_fold([*fold_arguments(plan, fold), "--tracking.run_name", f"fold {fold}"])
    if summary is not None:
        plan.finished[str(fold)] = summary.as_dict()
        keep(plan, run)


def report_fold(trial: TrialChannel, plan: CrossValidation, fold: int) -> None:
    """Report a finished fold to the search.

    Raises:
        UserError: validation gives no such metric.
        Pruned: the search has seen enough.
    """
    metric = trial.greeting.metric
    folds = [plan.finished[key]["metrics"] for key in sorted(plan.finished, key=int)]
    if metric not in folds[-1]:
        known = sorted(name for name in folds[-1] if name.startswith("val/"))
        raise UserError(f"--metric '{metric}' is no metric of the validation part; there are: {', '.join(known)}")
    values = [float(metrics[metric]) for metrics in folds]
    trial.report(fold, float(np.mean(values)) if trial.greeting.mean else values[-1])
    trial.raise_if_pruned()


def tracking_flags(argv: list[str]) -> list[str]:
    """Choose the flags that say where runs are kept."""
    folders, _ = take_option(argv, "--tracking.folder")
    return ["--tracking.folder", folders[-1]] if folders else []


def keep(plan: CrossValidation, run: TrackedRun) -> None:
    """Keep what has been done."""
    write_json(run.folder.folds, vars(plan))


def sum_up(summary: Summary, plan: CrossValidation) -> None:
    """Fill in mean and standard deviation (of the sample, N - 1) of each metric over the folds, and where they come from."""
    folds = [plan.finished[key] for key in sorted(plan.finished, key=int)]
    for name in folds[0]["metrics"]:
        values = [fold["metrics"][name] for fold in folds if name in fold["metrics"]]
        if name.startswith(("test", "val/")) and len(values) == len(folds):
            summary.metrics |= {name: float(np.mean(values)), f"{name}_sd": float(np.std(values, ddof=1))}
    varying = {"data.cells", "split.sha256"}
    summary.data = {name: fact for name, fact in folds[0]["data"].items() if name not in varying}
    summary.parameters = folds[0]["parameters"]
    accuracy = summary.accuracy_of_folds
    summary.folds = [{"run_id": f["run_id"], accuracy: f["metrics"][accuracy], "cells": f["data"]["data.cells"]} for f in folds]


@contextmanager
def child_runs(parent: str) -> Iterator[None]:
    """Make all runs that start meanwhile children of a run."""
    os.environ[PARENT_VARIABLE] = parent
    try:
        yield
    finally:
        del os.environ[PARENT_VARIABLE]
