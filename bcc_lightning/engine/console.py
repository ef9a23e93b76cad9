"""What is printed at the end of a run."""

import os
import shlex
import sys

from bcc_lightning.errors import is_command_line
from bcc_lightning.printable import printable
from bcc_lightning.steps import is_hushed
from bcc_lightning.tracking.filing import balanced_elsewhere, outcome
from bcc_lightning.tracking.landing_page import landing_page
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.run_files import Summary
from bcc_lightning.tracking.store import Tracking, without_password

SHORT_ID = 8
"""Characters of a run id that a command is shown with."""


def print_result(run: TrackedRun, summary: Summary, tracking: Tracking) -> None:
    """Print what came of a run, where its report is, and what can be done next; of one of many runs only what came of it."""
    print_cautions(summary)
    if not is_hushed():
        print()
    print(printable(f"run {run.run_id} finished: {outcome(summary)}"))
    if is_hushed():
        return
    if elsewhere := balanced_elsewhere(summary):
        print(printable(f"Elsewhere:  balanced accuracy on {elsewhere}"))
    print(printable(f"Report:     {run.artifact_location(run.folder.report)}"))
    if is_command_line():
        print(printable(f"Next:       {launcher()}python -m bcc_lightning.predict FOLDER {named(run, tracking)} --out cells.csv"))


def named(run: TrackedRun, tracking: Tracking) -> str:
    """Write the flags by which a command finds a run."""
    folder = f" --tracking.folder {shlex.quote(tracking.folder)}" if tracking.folder != Tracking.folder else ""
    uri = f" --tracking.uri {shlex.quote(without_password(tracking.uri) or '')}" if tracking.uri else ""
    return f"--run {run.run_id[:SHORT_ID]}{folder}{uri}"


def launcher() -> str:
    """Return what starts Python, as this command was started."""
    return "uv run " if "UV" in os.environ else ""


def print_cautions(summary: Summary) -> None:
    """Print what the figures are over and, as warnings, signs that the network has learnt little."""
    for note in summary.notes:
        print(printable(note))
    for warning in summary.warnings:
        print(printable(f"warning: {warning}"), file=sys.stderr)


def print_unfinished(run: TrackedRun, summary: Summary, waiting: str | None) -> None:
    """Print what an interrupted or failed run leaves, and how to resume it."""
    print(f"\nrun {run.run_id} {'was interrupted' if summary.status == 'KILLED' else 'failed'}")
    if summary.checkpoint:
        filed = run.copy_of(summary)["checkpoint"]
        best = run.folder.artifacts / summary.checkpoint if waiting else filed  # what waits has not been filed
        print(printable(f"Best checkpoint so far, of epoch {(summary.best_epoch or 0) + 1}: {best}"))
    if run.folder.last_checkpoint.is_file() or run.folder.folds.is_file():
        print(f"Resume it with: python -m bcc_lightning.fit --resume {run.run_id}")
    if waiting:
        print(printable(waiting))


def ui_command(run: TrackedRun, tracking: Tracking) -> str:
    """Return the command, or the address, that opens the MLflow UI on a store."""
    uri = without_password(tracking.resolved_uri) or ""
    if uri.startswith("http"):
        return landing_page(uri, run.experiment_id)
    # Without job execution the server is two processes and 0.5 GB instead of fifteen and 2.4 GB.
    server = f"mlflow server --workers 1 --backend-store-uri {shlex.quote(uri)}"
    quiet = "MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false"
    page = landing_page("http://127.0.0.1:5000", run.experiment_id)
    return f"{quiet} {launcher()}{server}\n              then open {page}"
