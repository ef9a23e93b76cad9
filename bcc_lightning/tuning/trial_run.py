"""The run of a trial: what it is tagged with, and what the search is told of it."""

from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.summary import Summary
from bcc_lightning.tuning.channel import TrialChannel

STATE = "trial.state"
"""Tag that says what a trial is: ``running``, ``complete``, ``pruned``, ``failed`` or ``interrupted``."""


def open_trial_run(trial: TrialChannel, run: TrackedRun) -> None:
    """Tag a run as a trial, and tell the search which one it is."""
    run.set_tags({**trial.greeting.tags, STATE: "running"})
    trial.opened(run.run_id)


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
