"""Runs whose process died: they are marked, since after SIGKILL nothing else can do that, and what they left is tidied up."""

import json
import os
from contextlib import suppress

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from requests import RequestException

from bcc_lightning.files import clear_drafts
from bcc_lightning.processes import Process
from bcc_lightning.tracking.claim import is_trained
from bcc_lightning.tracking.place import sqlite_file
from bcc_lightning.tracking.run_files import RunFolder
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.tracking.store import all_pages

PROCESS, IDENTITY = "process", "process.identity"
"""Tags that name the process that trains: for people, and by what tells it from all others."""

DETACHED = "detached"
"""Value of the tag `PROCESS` of a run that no process need hold open."""


def process_tags() -> dict[str, str]:
    """Name this process in tags of a run."""
    this = Process.this()
    return {PROCESS: f"{this.machine.partition(':')[0]}:{this.process}", IDENTITY: json.dumps(this.as_dict())}


def tidy(client: MlflowClient, tracking: Tracking) -> None:
    """Mark runs as killed whose process is gone, and remove folders that nothing can go on from.

    A store that cannot be written is left as it is.

    Args:
        client: connection to the store.
        tracking: the store; runs of other folders are judged by their process alone.
    """
    file = sqlite_file(tracking.resolved_uri)
    if file is not None and not (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)):  # MLflow would try for long
        return
    with suppress(MlflowException, RequestException, OSError):
        experiments = [str(experiment.experiment_id) for experiment in client.search_experiments()]
        for run in all_pages(client, experiments, "attributes.status = 'RUNNING'"):
            if is_dead(run, tracking):
                client.set_tag(run.info.run_id, "failure", f"process {run.data.tags[PROCESS].rpartition(':')[2]} vanished")
                client.set_terminated(run.info.run_id, "KILLED")
                clear_drafts(tracking.artifacts / run.info.run_id)
        for path in tracking.work.iterdir() if tracking.work.is_dir() else ():
            if is_left_over(client, RunFolder(path)):
                RunFolder(path).remove()


def is_dead(run: Run, tracking: Tracking) -> bool:
    """Check whether the process of a run is gone: by the run's folder where it is here, else by the process itself."""
    tags = run.data.tags
    if PROCESS not in tags or tags[PROCESS] == DETACHED:
        return False
    folder = RunFolder(tracking.work / run.info.run_id)
    if folder.lock.is_file():
        return not is_trained(folder)
    return IDENTITY in tags and Process(**json.loads(tags[IDENTITY])).has_vanished


def is_left_over(client: MlflowClient, folder: RunFolder) -> bool:
    """Check whether a run's folder is of no use any more: filed whole, or killed before there was anything to go on with."""
    if is_trained(folder):
        return False
    try:
        status = client.get_run(folder.path.name).info.status
    except MlflowException:
        return False
    is_empty = not folder.folds.is_file() and not any(file.is_file() for file in folder.artifacts.rglob("*"))
    return status == "FINISHED" or (status == "KILLED" and is_empty)
