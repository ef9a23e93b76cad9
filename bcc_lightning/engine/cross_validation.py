"""``fit --folds K``: each fold is a run of its own with everything new, below one parent run with mean and deviation."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
from lightning import Callback

from bcc_lightning.cli.experiment import ExperimentCLI
from bcc_lightning.datasets.spelling import SetName
from bcc_lightning.datasets.split_file import write_split
from bcc_lightning.engine.beginning import print_place
from bcc_lightning.engine.console import print_result
from bcc_lightning.engine.fold_plan import CrossValidation, filed_fold, interrupted_fold
from bcc_lightning.engine.parameters import record_configuration
from bcc_lightning.engine.recorder import RunRecorder, publish
from bcc_lightning.engine.run import OpenRun, configured, is_first_process, open_tracked, read_cells, run_experiment
from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.figures import confusion_figure, folds_figure, save_figure
from bcc_lightning.evaluation.reliability import equal_folds
from bcc_lightning.files import refuse_unwritable, write_json
from bcc_lightning.printable import printable
from bcc_lightning.steps import hushed, is_hushed
from bcc_lightning.tracking.claim import Claim, claimed
from bcc_lightning.tracking.recipe import Progress
from bcc_lightning.tracking.resume import is_complete, refuse_other_data
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.run_files import PARENT_VARIABLE, RunFolder, Summary
from bcc_lightning.tuning.channel import TrialChannel


class ParentRecorder(RunRecorder):
    """Records the parent run of a cross-validation.

    Args:
        plan: what the cross-validation is to do.
        experiment: its first fold, which stands for all.
        run: the parent run in MLflow.
        trial: channel to the search whose trial it is.
    """

    def __init__(
        self, plan: CrossValidation, experiment: ExperimentCLI, run: TrackedRun, trial: TrialChannel | None = None
    ) -> None:
        super().__init__(experiment, run, trial)
        self.plan = plan
        self.copy = plan.call.summary

    def describe(self) -> None:
        """Record configuration, data and code; which cell is in which set differs from fold to fold."""
        data = self.experiment.datamodule
        write_split(data.division, self.folder.first_split)
        write_json(self.folder.data_record, data.record())
        self.plan.keep(self.folder)
        self.summary.test_time = self.experiment.model.test_views
        self.summary.classes = list(data.class_names)
        self.summary.grouped = data.cells.groups is not None
        self.summary.notices = data.notices()
        record_configuration(self.experiment, self.run)
        self.run.set_tags(self.summary.provenance)

    def callbacks(self) -> list[Callback]:
        """Return none: the folds train."""
        return []

    def last_steps(self) -> list[Callable[[], None]]:
        """List nothing: what there is of figures has been summed up."""
        return []

    def record_folds(self) -> None:
        """Sum up the folds, log means and deviations, and draw the folds beside one another."""
        sum_up(self.summary, self.plan)
        self.run.log_metrics(self.summary.metrics, 0)
        draw_folds(self.summary, self.folder, self.experiment.model.class_names)

    def finish(self) -> None:
        """Log the folds as one model, which vote, print mean and standard deviation, and delete the folder."""
        if self.trial is None:
            publish(self.run, self.summary, self.experiment.model.class_names)
        print_result(self.run, self.summary, self.experiment.tracking)
        self.folder.remove()


class Folds(OpenRun):
    """The parent run of a cross-validation, below which its folds are trained.

    Attributes:
        recorder: where it is recorded.
        plan: what is to be done, and has been done.
        trial: channel to the search whose trial it is.
    """

    recorder: ParentRecorder

    def __init__(self, recorder: ParentRecorder) -> None:
        super().__init__(recorder)
        self.plan = recorder.plan
        self.trial = recorder.trial

    @classmethod
    def open(
        cls, plan: CrossValidation, experiment: ExperimentCLI, claim: Claim | None, trial: TrialChannel | None = None
    ) -> "Folds":
        """Start the parent run, or go on with it."""
        name = f"{experiment.run_name} {plan.folds} folds"
        run = open_tracked(experiment, claim, name, {"folds": str(len(plan.numbers))})
        return cls(ParentRecorder(plan, experiment, run, trial))

    def run_fold(self, fold: int) -> None:
        """Run a fold if it has not been finished; one that was interrupted goes on."""
        plan = self.plan
        if str(fold) not in plan.finished:
            print(f"\nfold {fold + 1} of {len(plan.numbers)}")
            if begun := interrupted_fold(self.recorder.folder):
                summary = run_experiment(plan.resumed_fold_call(begun), self.trial)
            elif plan.resumed and (done := filed_fold(self.recorder.run, fold)):
                summary = done.summary
            else:
                summary = run_experiment(plan.fold_call(fold), self.trial)
            if summary is not None:
                refuse_changed_data(plan, fold, summary)
                plan.finished[str(fold)] = summary.as_dict()
                plan.keep(self.recorder.folder)
        if self.trial:
            report_fold(self.trial, plan, fold)


def cross_validate(plan: CrossValidation, trial: TrialChannel | None = None) -> Summary | None:
    """Train all folds, and file mean and standard deviation.

    Args:
        plan: what is to be done.
        trial: channel to the search whose trial this is; each fold is reported, and none is evaluated on its test set.

    Returns:
        The summary of the parent run, on the process that writes.

    Raises:
        UserError: something in the arguments or the data has to be mended; the parent run says so.
    """
    if not is_first_process():  # files nothing, but trains along
        for number, fold in enumerate(plan.unfinished):
            begun = interrupted_fold(plan.resumed) if plan.resumed and number == 0 else None
            run_experiment(plan.resumed_fold_call(begun) if begun else plan.fold_call(fold))
        return None
    with claimed(plan.resumed) if plan.resumed else nullcontext() as claim:
        if plan.resumed:
            plan.read_finished(plan.resumed)
        experiment = configured_parent(plan)
        with Folds.open(plan, experiment, claim, trial) as parent, child_runs(parent.recorder.run.run_id):
            print_place(parent.recorder.run)
            with hushed():
                for fold in plan.numbers:
                    parent.run_fold(fold)
            parent.recorder.record_folds()
    return parent.recorder.summary


def configured_parent(plan: CrossValidation) -> ExperimentCLI:
    """Configure the first fold, which stands for all, and read its data: what is wrong shows before a run is opened.

    Raises:
        UserError: a flag or the data cannot be those of a cross-validation that goes on.
    """
    folder = plan.resumed
    begun = interrupted_fold(folder) if folder else None
    checkpoints = [begun.last_checkpoint] if begun else []
    progress = Progress.of(checkpoints, len(plan.finished), is_complete(folder)) if folder else None
    experiment = configured(plan.parent_arguments, folder, progress)
    if plan.call.summary:
        refuse_unwritable("--summary", Path(plan.call.summary))
    read_cells(experiment.datamodule)
    if not is_hushed():
        for notice in experiment.datamodule.notices():
            print(printable(notice))
    if folder:
        refuse_other_data(folder.path.name, folder.data_record, folder.first_split, experiment.datamodule)
    print(describe_folds(experiment.datamodule.fold_sizes(), plan.repeats))
    return experiment


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
    folds = [figures["metrics"] for figures in plan.figures]
    if metric not in folds[-1]:
        known = sorted(name for name in folds[-1] if name.startswith("val/"))
        raise UserError(f"--metric '{metric}' is not a metric of the validation set; there are: {', '.join(known)}")
    values = [float(metrics[metric]) for metrics in folds]
    trial.report(fold, float(np.mean(values)) if trial.greeting.mean else values[-1])
    trial.raise_if_pruned()


def sum_up(summary: Summary, plan: CrossValidation) -> None:
    """Fill in mean and standard deviation (of the sample, N - 1) of each metric over the folds, and where they come from."""
    folds = plan.figures
    for name in folds[0]["metrics"]:
        values = [fold["metrics"][name] for fold in folds if name in fold["metrics"]]
        if name.startswith(("test", "val/")) and len(values) == len(folds):
            summary.metrics |= {name: float(np.mean(values)), f"{name}_sd": float(np.std(values, ddof=1))}
    varying = {"data.cells", "split.sha256"}
    summary.data = {name: fact for name, fact in folds[0]["data"].items() if name not in varying}
    summary.parameters, summary.trained = folds[0]["parameters"], folds[0].get("trained")
    summary.weights = folds[0].get("weights", {})
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
    """Make all runs that start in this context children of a run."""
    os.environ[PARENT_VARIABLE] = parent
    try:
        yield
    finally:
        del os.environ[PARENT_VARIABLE]
