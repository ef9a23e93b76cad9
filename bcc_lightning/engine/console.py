"""What is printed at the end of a run."""

import os
import shlex
import sys

from rich.console import Console
from rich.table import Table

from bcc_lightning.printable import plain, printable
from bcc_lightning.tracking.filing import accuracy_of, mean_and_deviation, metric_rows, most_frequent
from bcc_lightning.tracking.landing_page import landing_page
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.run_files import Summary
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.tracking.store import without_password


def print_result(run: TrackedRun, summary: Summary, tracking: Tracking) -> None:
    """Print the closing table, how to open UI and report, and as the last line run id and test accuracy."""
    tested = f"{summary.tested_on} set of {summary.data['data.name']}"
    print(printable(f"\n{summary.experiment}: {tested}, {summary.data['data.resolution']} pixels"))
    if summary.test_time:
        print(f"test-time augmentation: {summary.test_time}")
    table = Table()
    for heading in ("metric", "value", "95 % interval"):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for row in metric_rows(summary):
        table.add_row(*map(plain, row))
    Console().print(table)
    seconds = ", ".join(f"{part} {value:.0f} s" for part, value in summary.seconds.items())
    if summary.members:
        members = ", ".join(f"{member['weight']:.4f} x {member['title']}" for member in summary.members)
        print(printable(f"{seconds}; {members}: {run.copy_of(summary)['checkpoint']}"))
    else:
        speed = f"{summary.images_per_second or 0:.0f} training images per second"
        print(printable(f"{seconds}; {speed}; weights of epoch {summary.best_epoch}: {run.copy_of(summary)['checkpoint']}"))
    print(printable(f"Compare runs: {ui_command(run, tracking)}"))
    print(printable(f"Report:       {run.artifact_location(run.folder.report)}"))
    print_cautions(summary)
    accuracy = f"{summary.tested_on} accuracy {summary.metrics[accuracy_of(summary)]:.4f}"
    print(f"run {run.run_id} finished: {accuracy} ({most_frequent(summary)})")


def print_folds(run: TrackedRun, summary: Summary) -> None:
    """Print mean and standard deviation of a cross-validation, and as the last line run id and test accuracy."""
    table = Table()
    for heading in ("metric", "mean", "standard deviation"):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for name in sorted(name for name in summary.metrics if f"{name}_sd" in summary.metrics):
        table.add_row(plain(name), f"{summary.metrics[name]:.4f}", f"{summary.metrics[f'{name}_sd']:.4f}")
    print(printable(f"\n{summary.experiment}: {len(summary.folds)} folds of {summary.data['data.name']}"))
    Console().print(table)
    print(printable(f"Report:       {run.artifact_location(run.folder.report)}"))
    print_cautions(summary)
    print(f"run {run.run_id} finished: {mean_and_deviation(summary)}, {len(summary.folds)} folds")


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
        print(printable(f"Best checkpoint so far, of epoch {summary.best_epoch}: {best}"))
    if run.folder.last_checkpoint.is_file() or run.folder.folds.is_file():
        print(f"Resume it with: python -m bcc_lightning.fit --resume {run.run_id}")
    if waiting:
        print(printable(waiting))


def ui_command(run: TrackedRun, tracking: Tracking) -> str:
    """Return the command, or the address, that opens the MLflow UI on a store."""
    uri = without_password(tracking.resolved_uri) or ""
    if uri.startswith("http"):
        return landing_page(uri, run.experiment_id)
    launcher = "uv run " if "UV" in os.environ else ""
    # Without job execution the server is two processes and 0.5 GB instead of fifteen and 2.4 GB.
    server = f"mlflow server --workers 1 --backend-store-uri {shlex.quote(uri)}"
    quiet = "MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false"
    page = landing_page("http://127.0.0.1:5000", run.experiment_id)
    return f"{quiet} {launcher}{server}\n              then open {page}"
