"""What is added to a finished run, such as an evaluation on a set that arrived later; the run stays finished."""

import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from requests import RequestException

from bcc_lightning.errors import UserError
from bcc_lightning.files import copy_whole
from bcc_lightning.safe_names import metric_key
from bcc_lightning.tracking.finished_runs import FinishedRun
from bcc_lightning.tracking.run import BATCH
from bcc_lightning.tracking.run_files import RunFolder
from bcc_lightning.tracking.store import artifact_place


def add_to_run(run: FinishedRun, files: Mapping[str, Path], metrics: Mapping[str, float]) -> None:
    """Add files and metrics to a finished run; those of the same names are replaced.

    Args:
        run: the run.
        files: path below the run's artifacts to the local file.
        metrics: name, such as ``test_on/clinic/accuracy``, to value.

    Raises:
        UserError: the server does not take them.
    """
    place = artifact_place(run.client, run.tracking, run.run.info)
    try:
        for name, file in files.items():
            if place is None:
                with TemporaryDirectory() as folder:  # MLflow takes the name from the local file
                    named = Path(folder) / Path(name).name
                    copy_whole(file, named)
                    run.client.log_artifact(run.run_id, str(named), name.rpartition("/")[0])
                forget(run, name)
            else:
                copy_whole(file, place / name)
        now = int(time.time() * 1000)
        entries = [Metric(metric_key(name), value, now, last_step(run, metric_key(name))) for name, value in metrics.items()]
        for start in range(0, len(entries), BATCH):
            run.client.log_batch(run.run_id, entries[start : start + BATCH])
    except (MlflowException, RequestException) as error:
        raise UserError(
            f"run {run.run_id} ({run.experiment}) could not be added to ({error!s:.200}). Next step: start the tracking server "
            "and run the same command again, or leave the run alone with --file false"
        ) from error


def last_step(run: FinishedRun, key: str) -> int:
    """Return the last step at which a metric was logged: MLflow shows the newest value of the last step."""
    return max((found.step for found in run.client.get_metric_history(run.run_id, key)), default=0)


def forget(run: FinishedRun, name: str) -> None:
    """Delete the local copy of an artifact on a server, which may have been replaced there."""
    (RunFolder(run.tracking.fetched / run.run_id).artifacts / name).unlink(missing_ok=True)
