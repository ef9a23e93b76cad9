"""The run of a trial: what it is tagged with, and what the search is told of it."""

from collections.abc import Mapping

from bcc_lightning.errors import UserError
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.summary import Summary
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
