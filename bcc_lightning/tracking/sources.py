"""Where a trained network comes from: a run, a checkpoint file, or a registered model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from bcc_lightning.errors import UserError
from bcc_lightning.tracking.finding import find_run, open_for_reading
from bcc_lightning.tracking.finished import FinishedRun, folder_of
from bcc_lightning.tracking.store import Tracking
from bcc_lightning.tracking.summary import Summary, read_summary
from bcc_lightning.yaml_file import read_mapping

REGISTERED = "models:/"


@dataclass(frozen=True)
class Source:
    """A trained network and what is known of its training.

    Attributes:
        name: how it is found again: a run id, or the path of a checkpoint as it was given, so that it may move with the project.
        title: what people call it: experiment and beginning of the run id, or the file.
        checkpoint: its weights, a local file.
        config: resolved configuration of its run; None for a checkpoint without a run.
        summary: figures of its run; None likewise.
    """

    name: str
    title: str
    checkpoint: Path
    config: dict[str, Any] | None = None
    summary: Summary | None = None


def find_source(tracking: Tracking, wanted: str) -> Source:
    """Find a trained network.

    Args:
        tracking: the store.
        wanted: a checkpoint file, ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``, a run id or its beginning, or the name
            of an experiment, which means its newest finished run.

    Raises:
        UserError: there is none, or something that belongs to it is missing.
    """
    if wanted.startswith(REGISTERED):
        return of_run(registered_run(tracking, wanted))
    if wanted.endswith(".ckpt") or Path(wanted).is_file():
        return of_file(Path(wanted))
    return of_run(find_run(tracking, wanted))


def of_run(run: FinishedRun) -> Source:
    """Describe the network of a run."""
    return Source(run.run_id, f"{run.experiment} ({run.run_id[:8]})", run.checkpoint, run.config, run.summary)


def of_file(checkpoint: Path) -> Source:
    """Describe the network in a checkpoint; one that lies among the files of its run is known as well as the run.

    Raises:
        UserError: the file does not exist.
    """
    if not checkpoint.is_file():
        raise UserError(f"checkpoint {checkpoint} does not exist; a finished run files one as checkpoints/best.ckpt")
    folder = folder_of(checkpoint)
    if folder is None:
        return Source(str(checkpoint), checkpoint.name, checkpoint)
    summary = read_summary(folder.summary)
    config = read_mapping(folder.config, "the configuration of a run")
    return Source(str(checkpoint), f"{summary.experiment} ({summary.run_id[:8]})", checkpoint, config, summary)


def registered_run(tracking: Tracking, wanted: str) -> FinishedRun:
    """Find the run that a registered model came from.

    Raises:
        UserError: there is no such model or version, or it belongs to no run.
    """
    client = open_for_reading(tracking)
    version = model_version(client, wanted)
    if not version.run_id:
        raise UserError(f"{wanted} was registered without a run; name a run or a checkpoint")
    return find_run(tracking, str(version.run_id))


def model_version(client: MlflowClient, wanted: str) -> ModelVersion:
    """Look up ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``."""
    path = wanted.removeprefix(REGISTERED)
    name, _, alias = path.partition("@")
    try:
        if alias:
            return client.get_model_version_by_alias(name, alias)
        name, _, number = path.rpartition("/")
        return client.get_model_version(name, number)
    except MlflowException as error:
        known = ", ".join(
            f"{REGISTERED}{m.name}/{v.version}" for m in client.search_registered_models() for v in m.latest_versions
        )
        raise UserError(
            f"registered model '{wanted}' does not exist ({error!s:.150}); write models:/NAME/VERSION or models:/NAME@ALIAS. "
            f"There are: {known or 'none'}"
        ) from error
