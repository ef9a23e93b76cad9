"""A trial within its own process: it tags its run, reports after each epoch, and stops when the search says so."""

from collections.abc import Mapping

from lightning import Callback, LightningModule, Trainer

from bcc_lightning.datasets.batches import CellBatch
from bcc_lightning.errors import UserError
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.run_files import Summary
from bcc_lightning.tuning.channel import TrialChannel

STATE = "trial.state"
"""Tag with the state of a trial: ``running``, ``complete``, ``pruned``, ``failed`` or ``interrupted``."""


def refuse_changed_data(trial: TrialChannel, facts: Mapping[str, str]) -> None:
    """Refuse a trial whose data differ from those of the earlier trials, since they could not be compared.

    Args:
        trial: channel to the search.
        facts: facts of the trial's data, see `CellDataModule.facts`.

    Raises:
        UserError: the hashes of the data differ.
    """
    resolution, now = facts["data.resolution"], facts["data.sha256"]
    before = trial.greeting.data.get(resolution, now)
    if before != now:
        raise UserError(
            f"the data have changed since study {trial.greeting.study} began: data.sha256 is {now[:12]}, that of its trials is "
            f"{before[:12]}. Next step: restore the data, or start another study with --study NAME"
        )


def open_trial_run(trial: TrialChannel, run: TrackedRun, facts: Mapping[str, str]) -> None:
    """Tag a run as a trial, and report its id and the hash of its data to the search."""
    run.set_tags({**trial.greeting.tags, STATE: "running"})
    trial.opened(run.run_id, {facts["data.resolution"]: facts["data.sha256"]})


def tag_end(trial: TrialChannel, run: TrackedRun, summary: Summary) -> None:
    """Tag the run of a trial with its state: MLflow has one status for pruned and interrupted trials."""
    states = {"FINISHED": "complete", "FAILED": "failed"}
    otherwise = "interrupted" if trial.pruned_at is None else "pruned"
    run.set_tags({STATE: states.get(summary.status, otherwise)})


def report_end(trial: TrialChannel, summary: Summary) -> None:
    """Report to the search how a trial has ended, with all values that it may optimise."""
    figures = {"seconds": summary.seconds.get("fit", summary.seconds["total"]), **summary.metrics}
    if summary.parameters is not None:
        figures["parameters"] = float(summary.parameters)
    trial.ended(summary.run_id, summary.status, summary.failure, figures)


class TrialReport(Callback):
    """Reports the search's metric after each validation.

    Args:
        trial: channel to the search.
    """

    def __init__(self, trial: TrialChannel) -> None:
        self.trial = trial

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: CellBatch, batch_idx: int) -> None:
        """Report that training begins; the time before it is the overhead of a trial."""
        self.trial.trains()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the metric; a pruned trial stops after this epoch, whose weights and metrics are still stored.

        Raises:
            UserError: the metric is not one of the validation set.
        """
        metric = self.trial.greeting.metric
        if metric not in trainer.callback_metrics:
            known = sorted(name for name in trainer.callback_metrics if name.startswith("val/"))
            raise UserError(f"--metric '{metric}' is no metric of the validation set; there are: {', '.join(known)}")
        self.trial.report(trainer.current_epoch, float(trainer.callback_metrics[metric]))
        if self.trial.pruned_at is not None:
            trainer.should_stop = True
