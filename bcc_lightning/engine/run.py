"""A run: opened, trained, tested, explained, closed."""

import sys
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from lightning.pytorch.utilities import rank_zero_only

from bcc_lightning.cli.arguments import Call
from bcc_lightning.cli.experiment import ExperimentCLI
from bcc_lightning.datamodules.base import CellDataModule
from bcc_lightning.engine.ancestors import ancestors, refuse_learnt
from bcc_lightning.engine.console import print_result
from bcc_lightning.engine.recorder import Recorder, RunRecorder, publish
from bcc_lightning.engine.training import Learner, Training, refuse_idle_training
from bcc_lightning.errors import Pruned, UserError
from bcc_lightning.evaluation.metrics import TEST, VALIDATION, in_words
from bcc_lightning.files import refuse_unwritable
from bcc_lightning.modules.checkpoint import read_checkpoint
from bcc_lightning.printable import printable
from bcc_lightning.steps import is_hushed, step
from bcc_lightning.tracking.claim import Claim, claimed
from bcc_lightning.tracking.filing import file_run
from bcc_lightning.tracking.recipe import Progress
from bcc_lightning.tracking.resume import find_resumable, is_complete, refuse_other_data, resume_arguments
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.run_files import RunFolder, Summary, read_summary
from bcc_lightning.tuning.channel import TrialChannel
from bcc_lightning.tuning.trial import refuse_changed_data


def run_experiment(call: Call, trial: TrialChannel | None = None) -> Summary | None:
    """Run one experiment, new or resumed.

    Args:
        call: what is asked for.
        trial: channel to the search whose trial this is. A trial never sees the test set: its chosen weights are evaluated on the
            validation set.

    Returns:
        Its summary, on the process that writes.
    """
    if call.resume is None:
        return run_configured(configured(call.arguments), trial)
    folder = find_resumable(call.tracking.work, call.resume)
    with claimed(folder) as claim:
        return run_configured(resumed_experiment(folder, call), trial, claim)


def resumed_experiment(folder: RunFolder, call: Call) -> ExperimentCLI:
    """Read the configuration of a run that goes on, and check the flags before anything is loaded.

    Args:
        folder: the run's folder; where its configuration says it was does not matter, since it may have moved.
        call: the call, with its flags.

    Raises:
        UserError: a flag cannot take effect, or would give the run a second recipe.
    """
    if folder.last_checkpoint.is_file():
        read_checkpoint(folder.last_checkpoint)  # what is wrong with it shows before the run is opened
    progress = Progress.of([folder.last_checkpoint], is_complete=is_complete(folder))
    summary = [f"--summary={call.summary}"] if call.summary else []
    return configured(resume_arguments(folder, call.tracking, [*call.flags, *summary]), folder, progress)


def configured(arguments: list[str], resumed: RunFolder | None = None, progress: Progress | None = None) -> ExperimentCLI:
    """Configure an experiment, for which weights may have to be fetched; arguments as `ExperimentCLI`."""
    with step("opening the data set and building the network"):
        return ExperimentCLI(arguments, resumed, progress)


def run_configured(experiment: ExperimentCLI, trial: TrialChannel | None = None, claim: Claim | None = None) -> Summary | None:
    """Run a configured experiment; arguments as `Run.open`, result as `run_experiment`."""
    if target := experiment.config["summary"]:
        refuse_unwritable("--summary", Path(target))
    if experiment.progress.is_complete:
        return send_complete(experiment, claim) if claim else None
    if trial:
        experiment.datamodule.test_on = []
    prepare(experiment, trial)
    with Run.open(experiment, trial, claim) as run:
        run.train()
        run.test()
        run.explain()
    return run.recorder.summary


def prepare(experiment: ExperimentCLI, trial: TrialChannel | None = None) -> None:
    """Read the data, and refuse or say what should be known before a run is opened.

    Raises:
        UserError: something in the arguments or the data has to be mended.
    """
    data, resumed = experiment.datamodule, experiment.resumed
    experiment.refuse_unusable_trainer()
    read_cells(data)
    refuse_idle_training(experiment)
    if resumed:
        refuse_other_data(resumed.path.name, resumed.data_record, resumed.split, data)
    if trial:
        refuse_changed_data(trial, data.facts())
    experiment.refuse_networks_of_other_data()
    warnings = [*refuse_learnt_cells(experiment), *filter(None, [experiment.warning()])]
    if not is_first_process():
        return
    for warning in warnings:
        print(printable(f"warning: {warning}"), file=sys.stderr)
    if not is_hushed():
        for notice in data.notices():
            print(printable(notice))


def refuse_learnt_cells(experiment: ExperimentCLI) -> list[str]:
    """Refuse test cells that the network has learnt from which the weights come; return what could not be compared."""
    data, tracking = experiment.datamodule, experiment.tracking
    before = [earlier for source in experiment.starts.values() for earlier in (source, *ancestors(tracking, source))]
    return refuse_learnt({TEST: data.splits["test"], **data.external}, before, data.image_size) if before else []


def read_cells(data: CellDataModule) -> None:
    """Read all cells, which may have to be fetched and decoded first."""
    with step("reading the cells"):
        data.prepare_data()
        data.setup("fit")


def is_first_process() -> bool:
    """Check whether this process writes; others only train along with it."""
    return bool(rank_zero_only.rank == 0)  # type: ignore[attr-defined]


class OpenRun(AbstractContextManager["OpenRun"]):
    """A run while it is open: what it is made of is recorded at the start, and it is filed however it ends.

    Args:
        recorder: where it is recorded.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def __enter__(self) -> Self:
        """Record what the run is made of."""
        try:
            self.recorder.begin()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        """File the run, and let other processes go on with it.

        Raises:
            UserError: the run is complete, but not all of it could be filed.
            KeyboardInterrupt: the run was interrupted, which Lightning turns into `SystemExit`.
        """
        try:
            waiting = self.recorder.close(error)
            if waiting and (error is None or isinstance(error, Pruned)):
                raise UserError(waiting)
            if error is None:
                self.recorder.finish()
        finally:
            self.recorder.release()
        if isinstance(error, SystemExit):
            raise KeyboardInterrupt from error
        return isinstance(error, Pruned)


class Run(OpenRun):
    """A run of an experiment. Every process that takes part has one; what is recorded depends on its recorder.

    Attributes:
        experiment: the configured experiment.
        trial: channel to the search whose trial this is.
        sets: names of the sets that the weights are evaluated on; the first is explained. The answers for the validation set
            are filed for what is fitted later, such as a temperature, and no figure is logged of them.
    """

    def __init__(self, experiment: ExperimentCLI, recorder: Recorder, trial: TrialChannel | None) -> None:
        super().__init__(recorder)
        self.experiment = experiment
        self.trial = trial
        self.sets = [VALIDATION] if trial else [TEST, VALIDATION, *experiment.datamodule.external]
        experiment.model.unjudged = frozenset() if trial else frozenset({VALIDATION})

    @cached_property
    def learner(self) -> Learner:
        """What finds the weights: a training or, for an ensemble, weighing its members; it is built once the run is open."""
        from bcc_lightning.engine.voting import Voting

        if self.experiment.model.learns:
            return Training(self.experiment, self.recorder, self.trial)
        return Voting(self.experiment, self.recorder)

    @classmethod
    def open(cls, experiment: ExperimentCLI, trial: TrialChannel | None = None, claim: Claim | None = None) -> "Run":
        """Start a run, or go on with one.

        Args:
            experiment: the configured experiment, whose data have been read.
            trial: channel to the search whose trial this is.
            claim: the right to train the run to go on with; None starts a new one.
        """
        if not is_first_process():
            return cls(experiment, Recorder(), trial)
        return cls(experiment, RunRecorder(experiment, open_tracked(experiment, claim), trial), trial)

    def train(self) -> None:
        """Find the weights that are evaluated."""
        learner = self.learner
        self.recorder.say_beginning(learner.trainer)
        learns = self.experiment.model.learns
        with self.recorder.timed("fit", "" if learns else "letting the members answer for the validation set"):
            learner.train()
        if learns:
            self.recorder.say_trained()

    def test(self) -> None:
        """Evaluate the weights, once on each set."""
        for name in self.sets:
            with self.recorder.timed("test", f"testing on {in_words(name)}"):
                self.recorder.record_test(name, self.learner.test(name))
        if self.experiment.datamodule.external and self.trial is None:
            with self.recorder.timed("outside", "measuring how familiar cells from elsewhere are"):
                self.recorder.record_outside()

    def explain(self) -> None:
        """Draw where the network looked, on the device that it was tested on; Lightning leaves it on the processor."""
        self.experiment.model.eval().to(self.learner.trainer.strategy.root_device)
        self.recorder.explain(self.sets[0])


def open_tracked(
    experiment: ExperimentCLI, claim: Claim | None, name: str = "", tags: dict[str, str] | None = None
) -> TrackedRun:
    """Start a run in MLflow, or go on with one.

    Args:
        experiment: the configured experiment.
        claim: the right to train the run to go on with; None starts a new one.
        name: name of a new run; by default experiment and seed.
        tags: further tags of a new run.
    """
    tracking = experiment.tracking
    if claim:
        with step("opening the run again"):
            return TrackedRun.reopen(tracking, claim.folder.path.name, claim)
    name = tracking.run_name or name or experiment.run_name
    with step("opening the run"):
        return TrackedRun.create(tracking, name, {"experiment": experiment.experiment_name, **(tags or {})})


def send_complete(experiment: ExperimentCLI, claim: Claim) -> Summary:
    """Send a run that did all its work and only waits for the tracking server.

    Raises:
        UserError: the server could not be reached again.
    """
    with TrackedRun.reopen(experiment.tracking, claim.folder.path.name, claim) as run:
        summary = read_summary(run.folder.summary)
        if waiting := file_run(run, summary, copy=experiment.config["summary"]):
            raise UserError(waiting)
        publish(run, summary, experiment.model.class_names)
        print_result(run, summary, experiment.tracking)
        run.folder.remove()
        return summary
