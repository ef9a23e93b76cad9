"""A trial of a search, as its own process sees it: tagged, reported by epoch, stopped when the search has seen enough."""

from collections.abc import Mapping

from lightning import Callback, LightningModule, Trainer

from bcc_lightning.datasets.batches import CellBatch
from bcc_lightning.errors import UserError
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.run_files import Summary
from bcc_lightning.tuning.channel import TrialChannel

STATE = "trial.state"
"""Tag that says what a trial is: ``running``, ``complete``, ``pruned``, ``failed`` or ``interrupted``."""


def refuse_changed_data(trial: TrialChannel, facts: Mapping[str, str]) -> None:
    """Refuse a trial whose data are not those of the trials before it: they could not be compared.

    Args:
        trial: channel to the search.
        facts: facts of the trial's data, see `CellDataModule.facts`.

    Raises:
        UserError: with both hashes.
    """
    resolution, now = facts["data.resolution"], facts["data.sha256"]
    before = trial.greeting.data.get(resolution, now)
    if before != now:
        raise UserError(
            f"the data have changed since study {trial.greeting.study} began: data.sha256 is {now[:12]}, that of its trials is "
            f"{before[:12]}. Next step: bring the data back, or start another study with --study NAME"
        )


def open_trial_run(trial: TrialChannel, run: TrackedRun, facts: Mapping[str, str]) -> None:
    """Tag a run as a trial, and report to the search which one it is and what it is trained on."""
    run.set_tags({**trial.greeting.tags, STATE: "running"})
    trial.opened(run.run_id, {facts["data.resolution"]: facts["data.sha256"]})


def tag_end(trial: TrialChannel, run: TrackedRun, summary: Summary) -> None:
    """Tag the run of a trial with how it has ended, for MLflow has one status for all that did not finish."""
    states = {"FINISHED": "complete", "FAILED": "failed"}
    otherwise = "interrupted" if trial.pruned_at is None else "pruned"
    run.set_tags({STATE: states.get(summary.status, otherwise)})


def report_end(trial: TrialChannel, summary: Summary) -> None:
    """Tell the search how a trial has ended, with all figures that an objective may be."""
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
        """Say when training begins: what comes before is what each trial costs beside its training."""
        self.trial.trains()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report, and let training stop after this epoch, so that its weights and metrics are filed.

        Raises:
            UserError: validation gives no such metric.
        """
        metric = self.trial.greeting.metric
        if metric not in trainer.callback_metrics:
            known = sorted(name for name in trainer.callback_metrics if name.startswith("val/"))
            raise UserError(f"--metric '{metric}' is no metric of the validation part; there are: {', '.join(known)}")
        self.trial.report(trainer.current_epoch, float(trainer.callback_metrics[metric]))
        if self.trial.pruned_at is not None:
            trainer.should_stop = True
