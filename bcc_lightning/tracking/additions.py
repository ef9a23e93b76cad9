"""What is added to a finished run: figures of sets that arrive later. Its own figures stay as they are."""

from collections.abc import Container
from pathlib import Path

from mlflow.exceptions import MlflowException
from requests import RequestException

from bcc_lightning.errors import UserError
from bcc_lightning.files import copy_whole
from bcc_lightning.safe_names import metric_key
from bcc_lightning.tracking.finished_runs import FinishedRun
from bcc_lightning.tracking.store import artifact_place


def add_files(run: FinishedRun, folder: Path, under: str, only: Container[str] | None = None) -> None:
    """File a folder among the artifacts of a finished run.

    Args:
        run: the run.
        folder: what is filed; each file whole or not at all.
        under: where, below the run's artifacts.
        only: names of the files to take; by default all.

    Raises:
        UserError: the store does not take it.
    """
    try:
        place = artifact_place(run.client, run.tracking, run.run.info)
        for file in sorted(path for path in folder.rglob("*") if path.is_file() and (only is None or path.name in only)):
            inner = file.parent.relative_to(folder).as_posix()
            if place is None:
                run.client.log_artifact(run.run_id, str(file), under if inner == "." else f"{under}/{inner}")
            else:
                copy_whole(file, place / under / file.relative_to(folder))
    except (MlflowException, RequestException, OSError) as error:
        raise UserError(f"run {run.run_id} could not be added to ({error!s:.200}); the files are in {folder}") from error


def add_metrics(run: FinishedRun, metrics: dict[str, float]) -> None:
    """Log metrics of a finished run.

    Raises:
        UserError: the store does not take them.
    """
    try:
        for name, value in metrics.items():
            run.client.log_metric(run.run_id, metric_key(name), value)
    except (MlflowException, RequestException) as error:
        raise UserError(f"the metrics of run {run.run_id} could not be added ({error!s:.200}); try again later") from error
