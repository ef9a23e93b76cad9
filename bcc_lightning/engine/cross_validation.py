"""``fit --folds K``: each fold is a run of its own with everything new, below one parent run with mean and deviation."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import yaml
from lightning.pytorch.utilities import rank_zero_only

from bcc_lightning.cli.command import take_option
from bcc_lightning.cli.experiment import ExperimentCLI, configuration_arguments, flatten
from bcc_lightning.datamodules.base import VALIDATION
from bcc_lightning.datasets.spelling import SetName
from bcc_lightning.datasets.split_file import write_split
from bcc_lightning.engine.console import print_folds, print_unfinished
from bcc_lightning.engine.fold_plan import CrossValidation, fold_arguments, resume_fold
from bcc_lightning.engine.record import provenance
from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.figures import confusion_figure, folds_figure, save_figure
from bcc_lightning.evaluation.reliability import equal_folds
from bcc_lightning.files import refuse_unwritable, whole_file
from bcc_lightning.modules.test_time_augmentation import describe_views
from bcc_lightning.tracking.claim import Claim, claimed, is_trained
from bcc_lightning.tracking.filing import end_failed, ending, file_run
from bcc_lightning.tracking.finished_runs import FinishedRun
from bcc_lightning.tracking.recipe import Progress
from bcc_lightning.tracking.resume import is_complete, refuse_other_data, resume_arguments, write_record
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.run_files import PARENT, PARENT_VARIABLE, RunFolder, Summary
from bcc_lightning.tracking.store import Tracking
from bcc_lightning.tuning.channel import TrialChannel
from bcc_lightning.tuning.trial import open_trial_run, report_end, tag_end

RunFold = Callable[[list[str], TrialChannel | None], Summary | None]


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
        for number, fold in enumerate(plan.unfinished):
            begun = interrupted_fold(plan.resumed) if plan.resumed and number == 0 else None
            run_fold(resume_fold(plan, begun) if begun else fold_arguments(plan, fold), None)
        return
    with claimed(plan.resumed) if plan.resumed else nullcontext() as claim:
        if plan.resumed:
            plan.read_finished(plan.resumed)
        cli = configured_parent(plan)
        if plan.summary:
            refuse_unwritable("--summary", Path(plan.summary))
        cli.datamodule.prepare_data()
        cli.datamodule.setup("fit")  # what is wrong with the data shows before a run is opened
        if folder := plan.resumed:
            refuse_other_data(folder.path.name, folder.data_record, folder.first_split, cli.datamodule)
        print(describe_folds(cli.datamodule.fold_sizes(), plan.repeats))
        with open_parent(cli, plan, claim) as run:
            run_folds(cli, plan, run, run_fold, trial)


def configured_parent(plan: CrossValidation) -> ExperimentCLI:
    """Configure the first fold, which stands for all, and check the flags of a cross-validation that is gone on with."""
    if plan.resumed is None:
        return ExperimentCLI(configuration_arguments(*take_option(fold_arguments(plan, 0), "--exp")))
    begun = interrupted_fold(plan.resumed)
    progress = Progress.of([begun.last_checkpoint] if begun else [], len(plan.finished), is_complete(plan.resumed))
    return ExperimentCLI(resume_arguments(plan.resumed, plan.argv), plan.resumed, progress)


def run_folds(
    cli: ExperimentCLI, plan: CrossValidation, run: TrackedRun, run_fold: RunFold, trial: TrialChannel | None = None
) -> None:
    """Train the folds that are left, and file the parent run however that ends.

    Args:
        cli: the configured parent.
        plan: what is to be done.
        run: the parent run.
        run_fold: runs an experiment from its arguments.
        trial: channel to the search whose trial this is.

    Raises:
        UserError: something in the arguments or the data has to be mended; the parent run says so.
    """
    summary = Summary(run.run_id, cli.experiment_name, test_time=describe_views(cli.model.hparams["test_time"]))
    summary.tested_on = VALIDATION if trial else summary.tested_on
    if trial:
        open_trial_run(trial, run, cli.datamodule.facts())
    waiting = None
    try:
        with ending(summary), child_runs(run.run_id):
            for fold in plan.numbers:
                run_unfinished(plan, run, fold, lambda argv: run_fold(argv, trial))
                if trial:
                    report_fold(trial, plan, fold)
            sum_up(summary, plan)
            run.log_metrics(summary.metrics, 0)
            draw_folds(summary, run.folder, cli.model.class_names)
    finally:
        waiting = close_parent(plan, run, summary, trial)
    if waiting:
        raise UserError(waiting)
    if summary.status == "FINISHED":  # else pruned
        print_folds(run, summary)
    run.folder.remove()


def describe_folds(sizes: list[dict[SetName, int]], repeats: int = 1) -> str:
    """Describe how many cells each fold trains on, validates and is tested on.

    Args:
        sizes: cells of each set, by fold.
        repeats: how often the cells are divided anew.
    """

    def cells(name: SetName) -> str:
        """Format the number of cells of a set, as a range where the folds differ."""
        low, high = min(size[name] for size in sizes), max(size[name] for size in sizes)
        return f"{low}" if low == high else f"{low} to {high}"

    total = sum(sizes[0].values())
    once = sum(size["test"] for size in sizes) == total
    role = "validation (a slice of the training folds)" if once else "validation (each fold in turn)"
    tested = "every cell is tested once" if once else "all folds share this test set"
    again = f", {repeats} times over" if repeats > 1 else ""
    return (
        f"{len(sizes)} folds of {total} cells{again}: each trains on {cells('train')}, uses {cells('val')} for {role} "
        f"and is tested on {cells('test')}; {tested}"
    )


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


def open_parent(cli: ExperimentCLI, plan: CrossValidation, claim: Claim | None) -> TrackedRun:
    """Start the parent run, or go on with it."""
    tracking: Tracking = cli.config_init["tracking"]
    if claim:
        run = TrackedRun.reopen(tracking, claim.folder.path.name, claim)
    else:
        name = tracking.run_name or f"{cli.experiment_name}-{plan.folds}folds-seed{cli.config['seed_everything']}"
        run = TrackedRun.create(tracking, name, {"experiment": cli.experiment_name, "folds": str(len(plan.numbers))})
    config = cli.resolved_config()
    try:
        write_split(cli.datamodule.splits, run.folder.first_split)
        write_record(cli.datamodule, run.folder.data_record)
        plan.keep(run.folder)
        with whole_file(run.folder.config) as draft:
            draft.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
        run.log_params(flatten(config))
        run.set_tags(provenance())
    except BaseException as error:
        end_failed(run, error)
        raise
    return run


def run_unfinished(plan: CrossValidation, run: TrackedRun, fold: int, run_fold: Callable[[list[str]], Summary | None]) -> None:
    """Run a fold if it has not been finished; one that was interrupted goes on."""
    if str(fold) in plan.finished:
        return
    print(f"\nfold {fold + 1} of {len(plan.numbers)}")
    if begun := interrupted_fold(run.folder):
        summary = run_fold(resume_fold(plan, begun))
    elif plan.resumed and (done := filed_fold(run, fold)):
        summary = done.summary
    else:
        summary = run_fold([*fold_arguments(plan, fold), "--tracking.run_name", f"fold {fold}"])
    if summary is not None:
        refuse_changed_data(plan, fold, summary)
        plan.finished[str(fold)] = summary.as_dict()
        plan.keep(run.folder)


def refuse_changed_data(plan: CrossValidation, fold: int, summary: Summary) -> None:
    """Refuse a fold whose data are not those of the folds before it: their mean would mix two data sets.

    Raises:
        UserError: with the components of the data that differ.
    """
    for other in plan.finished.values():
        differing = [name for name, value in other["identity"].items() if summary.identity.get(name) != value]
        if differing:
            raise UserError(
                f"the data changed before fold {fold + 1} was trained: {', '.join(differing)} differ from those before it. "
                "Next step: bring back the data that it began with and resume, or start the cross-validation again"
            )


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
    summary.warnings = equal_folds([f["metrics"][summary.accuracy_of_folds] for f in folds])
    summary.warnings += [f"Fold {n}: {text}" for n, fold in enumerate(folds, start=1) for text in fold["warnings"]]
    summary.notes = [f"Fold {n}: {text}" for n, fold in enumerate(folds, start=1) for text in fold["notes"]]
    summary.confusion = np.sum([fold["confusion"] for fold in folds], axis=0).tolist()
    accuracy = summary.accuracy_of_folds
    summary.folds = [
        {
            "run_id": f["run_id"],
            accuracy: f["metrics"][accuracy],
            "most_frequent": f["metrics"][accuracy.replace("accuracy", "most_frequent")],
            "cells": f["data"]["data.cells"],
            "confusion": f["confusion"],
        }
        for f in folds
    ]


def draw_folds(summary: Summary, folder: RunFolder, class_names: list[str]) -> None:
    """Draw the confusion matrix of all folds together, and each fold's accuracy with its interval.

    Args:
        summary: of the parent, summed up.
        folder: folder of the parent's run.
        class_names: names of the C classes.
    """
    matrices = [np.asarray(fold["confusion"]) for fold in summary.folds]
    save_figure(confusion_figure(np.sum(matrices, axis=0), class_names, "All folds together"), folder.figure("confusion_matrix"))
    counts = [(int(np.trace(matrix)), int(matrix.sum())) for matrix in matrices]
    most_frequent = float(np.mean([fold["most_frequent"] for fold in summary.folds]))
    save_figure(folds_figure(counts, most_frequent, summary.tested_on), folder.figure("folds"))


@contextmanager
def child_runs(parent: str) -> Iterator[None]:
    """Make all runs that start meanwhile children of a run."""
    os.environ[PARENT_VARIABLE] = parent
    try:
        yield
    finally:
        del os.environ[PARENT_VARIABLE]


def interrupted_fold(parent: RunFolder) -> RunFolder | None:
    """Find the fold of a parent run that was interrupted; one that had not begun is deleted instead."""
    for file in sorted(parent.path.parent.glob("*/state/parent")):
        folder = RunFolder(file.parents[1])
        if file.read_text(encoding="utf-8") != parent.path.name:
            continue
        if folder.config.is_file():
            return folder
        if not is_trained(folder):
            folder.remove()
    return None


def filed_fold(parent: TrackedRun, fold: int) -> FinishedRun | None:
    """Find a fold that was filed just before its process died, so that the parent does not know of it."""
    condition = f"tags.`{PARENT}` = '{parent.run_id}' AND params.`data.fold` = '{fold}' AND attributes.status = 'FINISHED'"
    found = parent.client.search_runs([parent.experiment_id], condition, max_results=1)
    return FinishedRun(parent.client, found[0], parent.tracking) if found else None
