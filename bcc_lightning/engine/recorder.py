"""What is recorded of a run: all of it on the first process, nothing on those that only train along with it."""

import getpass
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch
from lightning import Callback, Trainer

from bcc_lightning.architectures.contamination import contamination
from bcc_lightning.callbacks.checkpoints import epoch_of
from bcc_lightning.callbacks.epochs import Throughput
from bcc_lightning.cli.experiment import ExperimentCLI
from bcc_lightning.datasets.identity import identify, whole
from bcc_lightning.datasets.nucleus import NUCLEUS, nucleus_of
from bcc_lightning.datasets.split_file import write_split
from bcc_lightning.engine.beginning import name_of, print_beginning
from bcc_lightning.engine.console import print_result, print_unfinished
from bcc_lightning.engine.drawing import (
    draw_confusion,
    draw_curves,
    draw_data,
    draw_reliability,
    explain_cells,
    file_predictions,
    keep_mistakes,
)
from bcc_lightning.engine.outside import measure_outside
from bcc_lightning.engine.parameters import record_configuration
from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.hierarchy import hierarchy_intervals
from bcc_lightning.evaluation.metrics import TEST, VALIDATION, Predictions, confusion_matrix, in_words, metrics_of
from bcc_lightning.evaluation.reliability import collapse, intervals, support
from bcc_lightning.files import read_json, write_json
from bcc_lightning.novelty.guard import FILED
from bcc_lightning.prediction.mlflow_model import log_model
from bcc_lightning.printable import printable
from bcc_lightning.steps import duration, is_heard, step
from bcc_lightning.tracking.filing import ending, file_run
from bcc_lightning.tracking.logger import RunLogger
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.run_files import RunFolder, Stopwatch, Summary
from bcc_lightning.tracking.system_metrics import measured
from bcc_lightning.tuning.channel import TrialChannel
from bcc_lightning.tuning.trial import open_trial_run, report_end, tag_end


class Recorder:
    """Records nothing: for processes that only train along with the first.

    Attributes:
        folder: the run's folder; None if nothing is written.
        logger: where Lightning logs metrics.
        summary: figures of the run; None likewise.
    """

    folder: RunFolder | None = None
    logger: RunLogger | Literal[False] = False
    summary: Summary | None = None

    def begin(self) -> None:
        """Record what the run is made of."""

    def callbacks(self) -> list[Callback]:
        """Return callbacks that measure and report a training."""
        return []

    def say_beginning(self, trainer: Trainer) -> None:
        """Print what the run is made of, before it trains."""

    def say_trained(self) -> None:
        """Print how long the training took, and which weights are kept."""

    @contextmanager
    def timed(self, part: str, said: str = "") -> Iterator[None]:
        """Measure the wall time of a part of the run, such as ``fit``; `said` says what is done in it, see `step`."""
        yield

    def record_test(self, name: str, predictions: Predictions) -> None:
        """Record the predictions of an evaluated set."""

    def record_outside(self) -> None:
        """Record what remains on further sets of what the validation set promises."""

    def explain(self, name: str) -> None:
        """Draw where the network looked in cells of an evaluated set."""

    def close(self, error: BaseException | None) -> str | None:
        """File the run, whatever has happened.

        Args:
            error: what ended it early, if anything.

        Returns:
            A sentence that says what could not be filed yet; None if all was.
        """

    def finish(self) -> None:
        """Print the figures of a run that has finished, and delete its folder."""

    def release(self) -> None:
        """Allow other processes to resume the run."""


class RunRecorder(Recorder):
    """Records a run in MLflow.

    Args:
        experiment: the configured experiment.
        run: the run in MLflow.
        trial: channel to the search whose trial the run is.
    """

    folder: RunFolder
    logger: RunLogger
    summary: Summary

    def __init__(self, experiment: ExperimentCLI, run: TrackedRun, trial: TrialChannel | None = None) -> None:
        self.experiment = experiment
        self.run = run
        self.trial = trial
        self.folder = run.folder
        self.logger = RunLogger(run)
        self.copy: str | None = experiment.config["summary"]
        self.throughput = Throughput()
        self.summary = Summary(
            run.run_id,
            experiment.experiment_name,
            tested_on=VALIDATION if trial else TEST,
            started=datetime.fromtimestamp(run.started / 1000).astimezone().isoformat(timespec="seconds"),
            provenance=provenance(),
        )
        self._watch = Stopwatch()
        self._load = ExitStack()

    def begin(self) -> None:
        """Record configuration, data, code and machine, and tell a search which run its trial has."""
        self._load.enter_context(measured(self.run))
        with step("recording data, configuration and code"):
            self.describe()
        if self.trial:
            open_trial_run(self.trial, self.run, self.experiment.datamodule.facts())

    def describe(self) -> None:
        """Record what the run is made of."""
        experiment, summary, data = self.experiment, self.summary, self.experiment.datamodule
        record_configuration(experiment, self.run)
        summary.data = data.facts()
        summary.identity = data.identity()
        summary.classes = list(data.class_names)
        sets = {str(name): cells for name, cells in data.splits.items()} | ({} if self.trial else data.external)
        summary.cells = {name: cells.counts(len(summary.classes)).tolist() for name, cells in sets.items()}
        summary.grouped = data.cells.groups is not None
        summary.notices = data.notices()
        write_split(data.division, self.folder.split)
        write_json(self.folder.data_record, data.record())
        if not experiment.has_trained:
            write_json(self.folder.weight_origins, experiment.weight_origins())
        summary.weights = read_json(self.folder.weight_origins) or {}
        summary.test_time = experiment.model.test_views
        summary.parameters = sum(p.numel() for p in experiment.model.parameters())
        summary.trained = sum(p.numel() for p in experiment.model.parameters() if p.requires_grad)
        seen = contamination(summary.weights.values(), [data.folder, str(data.root), *map(str, data.test_on)])
        summary.warnings += [sentence for sentence in seen if sentence not in summary.warnings]
        warning = experiment.warning()
        weights = {f"weights.{part}": origin for part, origin in summary.weights.items()}
        weights |= {"contamination": " ".join(seen)} if seen else {}
        self.run.set_tags({**summary.provenance, **summary.data, **weights, **({"warning": warning} if warning else {})})
        self.log_data()
        draw_data(self.folder, data)

    def log_data(self) -> None:
        """Log the data set and the further test sets, of which the hash covers names and labels of the cells."""
        data = self.experiment.datamodule
        self.run.log_data(self.summary.data["data.name"], self.summary.data["data.sha256"], "training", str(data.root))
        for name, cells in data.external.items():
            self.run.log_data(name, whole(identify("", cells, data.class_names)), "testing", name)

    def callbacks(self) -> list[Callback]:
        """Return the callback that measures speed."""
        return [self.throughput]

    def say_beginning(self, trainer: Trainer) -> None:
        """Print what the run is made of."""
        print_beginning(self.experiment, self.run, self.summary, trainer)

    def say_trained(self) -> None:
        """Print the seconds and the epoch."""
        if is_heard():
            epoch, speed = epoch_of(self.folder.checkpoints / "best.ckpt"), self.throughput.images_per_second
            at = f" at {speed:,.0f} images/s" if speed else ""
            kept = "" if epoch is None else f"; the weights of epoch {epoch + 1} are kept"
            print(f"training took {duration(self.summary.seconds['fit'])}{at}{kept}", flush=True)

    @contextmanager
    def timed(self, part: str, said: str = "") -> Iterator[None]:
        """Add the wall time of a part to the summary."""
        watch = Stopwatch()
        try:
            with step(said) if said else nullcontext():
                yield
        finally:
            self.summary.seconds[part] = self.summary.seconds.get(part, 0.0) + watch.seconds

    def record_test(self, name: str, predictions: Predictions) -> None:
        """Write predictions, and the confusion matrix of a set that the network is judged by."""
        cells, model = self.experiment.datamodule.evaluated_cells(name), self.experiment.model
        file_predictions(self.folder, cells, predictions, model.class_names, name)
        if name not in model.unjudged:
            draw_confusion(self.folder, predictions, model.class_names, name)
            keep_mistakes(self.folder, cells, predictions, model.class_names, name)

    def record_outside(self) -> None:
        """Record what other laboratories' cells are compared with, and what the validation set's promises are worth there."""
        data = self.experiment.datamodule
        self.summary.data[NUCLEUS] = f"{nucleus_of(data.splits['train']):.4f}"
        found, reference = measure_outside(self.experiment.model, data)
        epoch = max(self.logger.history.epochs, default=0)  # that of the test
        self.logger.log_metrics({**{name: value for name, (value, _) in found.items()}, "epoch": epoch})
        self.summary.intervals |= {name: interval for name, (_, interval) in found.items()}
        if reference:
            reference.write(self.folder.artifacts / FILED)

    def explain(self, name: str) -> None:
        """Draw class activation maps."""
        model, cells = self.experiment.model, self.experiment.datamodule.evaluated_cells(name)
        with step(f"drawing where the network looked in cells of {in_words(name)}"):
            explain_cells(self.folder, model, cells, model.test_predictions[name])

    def close(self, error: BaseException | None) -> str | None:
        """File the run, tell a search how its trial ended, and print what an unfinished run leaves."""
        summary = self.summary
        self._load.close()
        summary.status, summary.failure = ending(error)
        summary.seconds["total"] = self._watch.seconds
        summary.images_per_second = self.throughput.images_per_second
        steps = self.last_steps()
        if self.trial:
            trial = self.trial
            steps.append(lambda: tag_end(trial, self.run, summary))
        try:
            with step("drawing figures, writing the report and filing the run"):
                waiting = file_run(self.run, summary, *steps, copy=self.copy)
            if self.trial and waiting is None:  # the search does not go on with a trial, so that nothing is kept for that
                self.folder.remove()
        finally:
            if self.trial:
                report_end(self.trial, summary)
        if summary.status != "FINISHED":
            print_unfinished(self.run, summary, waiting)
        return waiting

    def last_steps(self) -> list[Callable[[], None]]:
        """List what is done before the run is filed."""
        return [
            self.fill,
            lambda: draw_curves(self.folder, self.logger.history, self.summary.best_epoch),
            lambda: draw_reliability(self.folder, self.judged),
        ]

    @property
    def judged(self) -> dict[str, Predictions]:
        """Predictions of the sets that the network is judged by."""
        model = self.experiment.model
        return {name: found for name, found in model.test_predictions.items() if name not in model.unjudged}

    def fill(self) -> None:
        """Fill in the figures of the run: metrics of the kept epoch, those of the evaluated sets, and their intervals."""
        summary, model, history = self.summary, self.experiment.model, self.logger.history
        selection, best = self.experiment.selection, self.folder.checkpoints / "best.ckpt"
        kept = epoch_of(best)
        if kept is None:
            kept = history.kept_epoch(selection.monitor, selection.mode, selection.keep)
        summary.best_epoch = kept if model.learns else None
        summary.metrics = history.at(kept)
        if best.is_file():
            summary.checkpoint = best.relative_to(self.folder.artifacts).as_posix()
        for name, predictions in self.judged.items():
            matrix = confusion_matrix(predictions, len(model.class_names))
            if name in {TEST, VALIDATION}:
                summary.confusion = matrix.tolist()
            else:
                summary.further_confusion[name] = matrix.tolist()
            summary.warnings += collapse(matrix, model.class_names, in_words(name))
            summary.notes += support(matrix, model.class_names, in_words(name))
            summary.intervals |= metrics_of(name, intervals(predictions, model.class_names))
            summary.intervals |= metrics_of(name, hierarchy_intervals(predictions, model.levels))

    def finish(self) -> None:
        """Log the model, print the closing table, and delete the folder."""
        if self.trial is None:
            publish(self.run, self.summary, self.experiment.model.class_names)
        print_result(self.run, self.summary, self.experiment.tracking)
        self.folder.remove()

    def release(self) -> None:
        """Allow other processes to resume the run."""
        self.run.claim.release()


def publish(run: TrackedRun, summary: Summary, class_names: list[str]) -> None:
    """Log the network of a finished run as an MLflow model; a fault costs the model only, since the run has been filed."""
    try:
        with step("filing the network as an MLflow model"):
            registered = log_model(run, summary, class_names)
    except UserError as error:
        print(printable(f"warning: {error}"), file=sys.stderr)
    else:
        if registered:
            print(printable(f"registered as {registered}"))


PACKAGES = ("torch", "lightning", "timm", "torchmetrics", "albumentations", "mlflow", "grad-cam")


def provenance() -> dict[str, str]:
    """Collect the tags that every run carries."""
    from bcc_lightning import __version__

    tags = {f"version.{name}": version(name) for name in PACKAGES}
    tags |= {"version.python": platform.python_version(), "version.bcc_lightning": __version__}
    tags |= {"device": device_name(), "mlflow.user": getpass.getuser(), "mlflow.source.name": "python -m bcc_lightning.fit"}
    if commit := git_commit():
        tags["mlflow.source.git.commit"] = commit
    return tags


def device_name() -> str:
    """Name the accelerators, or the processor and its threads."""
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {name_of(torch.device('cuda'))}"
    return name_of(torch.device("cpu"))


def git_commit() -> str | None:
    """Get the commit of the code, with ``-dirty`` behind it when files differ; None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
