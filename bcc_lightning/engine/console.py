"""What is printed of a run: lines with a label before each, what came of it, and what can be done next."""

import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterable
from math import inf

from bcc_lightning.errors import is_command_line
from bcc_lightning.printable import printable
from bcc_lightning.steps import is_hushed
from bcc_lightning.tracking.filing import balanced_elsewhere, outcome
from bcc_lightning.tracking.landing_page import landing_page
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.run_files import Summary
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.tracking.store import in_store, without_password

LABEL = 11
"""Characters of the column of labels."""

SHORT_ID = 8
"""Characters of a run id that a command is shown with."""

SHOWN_NOTES = 3
"""Notes that are printed; the report has all."""

TOGETHER = "\u00a0"
"""Space at which no line is broken; it is printed as an ordinary one."""

NOTHING_LEARNT = "this network has learnt nothing: train for more epochs, with another learning rate, or with another experiment"

Row = tuple[str, str]
"""Label and text."""


def print_result(run: TrackedRun, summary: Summary, tracking: Tracking) -> None:
    """Print what came of a run, where its report is, and what can be done next; of one of many runs only what came of it."""
    came_of_it = printable(f"run {run.run_id} finished: {outcome(summary)}")
    if is_hushed():
        print(came_of_it, flush=True)
        return
    print_cautions(summary)
    elsewhere, members = balanced_elsewhere(summary), (f"{one['weight']:.4f} x {one['title']}" for one in summary.members)
    predict = f"{launcher()}python -m bcc_lightning.predict FOLDER {named(run, tracking)} --out cells.csv"
    print(f"\n{came_of_it}")
    print_rows(
        [
            ("elsewhere", f"balanced accuracy on {elsewhere}" if elsewhere else ""),
            ("members", ", ".join(members)),
            ("report", run.artifact_location(run.folder.report)),
            ("next", (predict if learnt(summary) else NOTHING_LEARNT) if is_command_line() else ""),
        ],
        inf,
    )


def learnt(summary: Summary) -> bool:
    """Check whether a network is better on its test set than one that always answers the most frequent class."""
    return summary.metrics.get("test/accuracy", 1.0) > summary.metrics.get("test/most_frequent", 0.0)


def print_rows(rows: Iterable[Row], width: float | None = None) -> None:
    """Print labels and texts below one another, without those that are empty.

    Args:
        rows: label and text, which goes on below its beginning where it is longer than a line.
        width: characters of a line; by default those of the terminal. Commands that are to be copied must not be broken.
    """
    room = max(LABEL, (width or shutil.get_terminal_size((120, 24)).columns) - LABEL)
    for label, said in rows:
        text = printable(said)
        lines = textwrap.wrap(text, int(room), break_on_hyphens=False) if room < inf else [text] if text else []
        for place, line in enumerate(lines):
            print(f"{label if place == 0 else '':<{LABEL}}{line.replace(TOGETHER, ' ')}")


def named(run: TrackedRun, tracking: Tracking) -> str:
    """Write the flags by which a command finds a run."""
    return f"--run {run.run_id[:SHORT_ID]}{in_store(tracking)}"


def launcher() -> str:
    """Return what starts Python, as this command was started."""
    return "uv run " if "UV" in os.environ else ""


def print_cautions(summary: Summary) -> None:
    """Print what the figures are over and, as warnings, signs that the network has learnt little."""
    for note in summary.notes[:SHOWN_NOTES]:
        print(printable(note))
    if (more := len(summary.notes) - SHOWN_NOTES) > 0:
        print(f"{more} more such notes are in the report")
    for warning in summary.warnings:
        print(printable(f"warning: {warning}"), file=sys.stderr)


def print_unfinished(run: TrackedRun, summary: Summary, waiting: str | None) -> None:
    """Print what an interrupted or failed run leaves, and how to resume it."""
    print(f"\nrun {run.run_id} {'was interrupted' if summary.status == 'KILLED' else 'failed'}")
    if summary.checkpoint:
        filed = run.copy_of(summary)["checkpoint"]
        best = run.folder.artifacts / summary.checkpoint if waiting else filed  # what waits has not been filed
        epoch = "" if summary.best_epoch is None else f" (epoch {summary.best_epoch + 1})"
        print(printable(f"Best checkpoint so far{epoch}: {best}"))
    if run.folder.last_checkpoint.is_file() or run.folder.folds.is_file():
        resume = f"{launcher()}python -m bcc_lightning.fit --resume {run.run_id}{in_store(run.tracking)}"
        print(printable(f"Resume it with: {resume}"))
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
