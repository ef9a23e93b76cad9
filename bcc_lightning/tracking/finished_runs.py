"""Finished runs: found by run id or experiment, their files fetched from a server where they are not on this machine."""

import os
import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from requests import RequestException
from sqlalchemy.exc import SQLAlchemyError

from bcc_lightning.errors import UserError
from bcc_lightning.files import read_mapping
from bcc_lightning.safe_names import file_name, name_of_file
from bcc_lightning.tracking.dead_runs import tidy
from bcc_lightning.tracking.filing import headline
from bcc_lightning.tracking.place import sqlite_file
from bcc_lightning.tracking.recipe import flatten
from bcc_lightning.tracking.run import cut
from bcc_lightning.tracking.run_files import PARENT, RunFolder, Summary, read_summary
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.tracking.store import (
    all_pages,
    artifact_place,
    in_store,
    mend_places,
    refuse_dead_server,
    without_password,
)


@dataclass(frozen=True, repr=False)
class FinishedRun:
    """A finished run, whose files are fetched when they are asked for.

    Attributes:
        client: connection to the store.
        run: what MLflow knows of the run.
        tracking: the store.
    """

    client: MlflowClient
    run: Run
    tracking: Tracking

    def __repr__(self) -> str:
        """Show experiment, id and accuracy: what a person looks for in a notebook."""
        return f"run {self.run_id} of {self.experiment}: {headline(self.summary)}"

    @property
    def metrics(self) -> dict[str, float]:
        """Its metrics by name, such as ``test/accuracy``."""
        return self.summary.metrics

    @property
    def run_id(self) -> str:
        """MLflow's id."""
        return str(self.run.info.run_id)

    @property
    def experiment(self) -> str:
        """Name of the experiment file, or files."""
        return str(self.run.data.tags.get("experiment", "unnamed"))

    @property
    def is_part(self) -> bool:
        """Whether the run is a fold or a trial of another run."""
        return PARENT in self.run.data.tags

    @cached_property
    def summary(self) -> Summary:
        """Its figures."""
        return read_summary(self.artifact("summary.json"))

    @cached_property
    def config(self) -> dict[str, Any]:
        """Its resolved configuration."""
        return read_mapping(self.artifact("config.yaml"), "the configuration of a run")

    @cached_property
    def parameters(self) -> dict[str, str]:
        """Its whole configuration with dotted names, as on the command line; MLflow's parameters are a part of it."""
        return flatten(self.config)

    @property
    def checkpoint(self) -> Path:
        """The weights that were chosen and tested, as a local file."""
        return self.artifact("checkpoints/best.ckpt")

    def predictions(self, name: str = "test") -> Path:
        """Its predictions of the test set, or of a further test set, as a local file."""
        return self.artifact(f"predictions/{file_name(name)}.parquet")

    @property
    def evaluated_sets(self) -> list[str]:
        """Names of the sets whose predictions the run has filed, such as ``test``.

        Raises:
            UserError: the server does not tell.
        """
        local = artifact_place(self.client, self.tracking, self.run.info)
        if local is not None:
            return sets_in(local)
        try:
            found = self.client.list_artifacts(self.run_id, "predictions")
        except (MlflowException, RequestException) as error:
            raise UserError(f"run {self.run_id} ({self.experiment}): its files could not be listed ({error!s:.200})") from error
        return sorted(name_of_file(PurePosixPath(file.path).stem) for file in found)

    def artifact(self, name: str) -> Path:
        """Return an artifact as a local file: in its place on this machine, or downloaded once from the server.

        Args:
            name: path below the run's artifacts, e.g. ``summary.json``.

        Raises:
            UserError: the run has no such artifact, or the server does not give it.
        """
        local = artifact_place(self.client, self.tracking, self.run.info)
        place = (local or RunFolder(self.tracking.fetched / self.run_id).artifacts) / name
        if local is None and not place.is_file():
            self._download(name, place)
        if not place.is_file():
            raise UserError(f"run {self.run_id} ({self.experiment}) has no {name}{self._why_missing(name)}")
        return place

    def has(self, name: str) -> bool:
        """Check whether the run has an artifact, without fetching it.

        Raises:
            UserError: the server does not tell.
        """
        local = artifact_place(self.client, self.tracking, self.run.info)
        if local is not None:
            return (local / name).is_file()
        try:
            return any(found.path == name for found in self.client.list_artifacts(self.run_id, name.rpartition("/")[0] or None))
        except (MlflowException, RequestException) as error:
            raise UserError(f"run {self.run_id} ({self.experiment}): its files could not be listed ({error!s:.200})") from error

    def _download(self, name: str, place: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            with TemporaryDirectory(dir=self.tracking.fetched) as draft:
                os.replace(self.client.download_artifacts(self.run_id, name, draft), place)
        except (MlflowException, RequestException, OSError) as error:
            raise UserError(
                f"run {self.run_id} ({self.experiment}): {name} could not be fetched from {self.run.info.artifact_uri} "
                f"({error!s:.200}){self._why_missing(name)}"
            ) from error

    def _why_missing(self, name: str) -> str:
        if "folds" in self.run.data.tags and name != "summary.json":
            return "; it is the parent of a cross-validation. Next step: name one of its folds, which its summary.json lists"
        return "; name another run, or train it again"


def sets_in(artifacts: Path) -> list[str]:
    """List the sets whose predictions are among the artifacts of a run."""
    files = (artifacts / "predictions").glob("[!.]*.parquet")  # files that are being written begin with a dot
    return sorted(name_of_file(file.stem) for file in files)


def folder_of(checkpoint: Path) -> RunFolder | None:
    """Find the run whose filed checkpoint this is: its configuration and summary lie beside it."""
    folder = RunFolder(checkpoint.absolute().parent.parent.parent)
    beside = checkpoint.absolute().parent == folder.checkpoints
    return folder if beside and folder.config.is_file() and folder.summary.is_file() else None


LISTED = 5
"""Runs that an error message lists."""

SHORTEST_PREFIX = 4
"""Characters of a run id from which on it may be cut short."""

LAST = "last"
"""Means the newest finished run, if no experiment has this name."""

FINISHED = "attributes.status = 'FINISHED'"


def find_run(tracking: Tracking, wanted: str) -> FinishedRun:
    """Find a finished run.

    Args:
        tracking: the store.
        wanted: a run id, at least the first four characters of one, the name of an experiment, which means its newest
            finished run, or `LAST`.

    Raises:
        UserError: there is none, several ids begin like this, or the run has not finished.
    """
    client = open_for_reading(tracking)
    named = find_named(client, tracking, wanted)
    run = named or the_only(runs_by_id(client, wanted), wanted) or (find_last(client, tracking) if wanted == LAST else None)
    if run is None:
        raise UserError(unknown(client, tracking, wanted))
    if run.info.status != "FINISHED":
        raise UserError(
            f"run {run.info.run_id} has the status {run.info.status}, so its figures are not final. Next step: "
            f"python -m bcc_lightning.fit --resume {run.info.run_id}{in_store(tracking)}, or name a finished run: "
            f"{newest(client, tracking)}"
        )
    return FinishedRun(client, run, tracking)


def finished_runs(tracking: Tracking, experiment: str | None = None) -> list[FinishedRun]:
    """List the finished runs of the store's experiment, the newest first; folds and trials are left out.

    Args:
        tracking: the store.
        experiment: name of the experiment file whose runs are wanted; None for all.
    """
    client = open_for_reading(tracking)
    runs = [FinishedRun(client, run, tracking) for run in search(client, tracking, FINISHED)]
    return [run for run in runs if not run.is_part and experiment in {None, run.experiment}]


def open_for_reading(tracking: Tracking) -> MlflowClient:
    """Connect to a store without making one.

    Raises:
        UserError: there is none, or its server does not answer.
    """
    uri = tracking.resolved_uri
    refuse_dead_server(uri)
    file = sqlite_file(uri)
    if file is not None and not file.is_file():
        raise UserError(
            f"there are no runs: {file} does not exist. Next step: name the store with "
            "--tracking.folder DIR or --tracking.uri URI, or train an experiment with python -m bcc_lightning.fit --exp NAME"
        )
    mend_places(tracking)
    try:
        client = MlflowClient(uri)
        client.get_experiment_by_name(tracking.experiment)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise UserError(f"tracking store {without_password(uri)} cannot be read: {error!s:.300}") from error
    tidy(client, tracking)
    return client


def search(client: MlflowClient, tracking: Tracking, condition: str) -> list[Run]:
    """List the runs of the store's experiment that fulfil a condition, the newest first."""
    found = client.get_experiment_by_name(tracking.experiment)
    return all_pages(client, [str(found.experiment_id)], condition) if found else []


def find_named(client: MlflowClient, tracking: Tracking, experiment: str) -> Run | None:
    """Find the newest finished run of an experiment that does not belong to another run."""
    experiment = cut(experiment)
    quotable = re.fullmatch(r"[\w./+ -]+", experiment)  # MLflow's search has no escapes: other names are compared here
    condition = f"tags.experiment = '{experiment}' AND {FINISHED}" if quotable else FINISHED
    found = search(client, tracking, condition)
    return next((run for run in found if run.data.tags.get("experiment") == experiment and PARENT not in run.data.tags), None)


def find_last(client: MlflowClient, tracking: Tracking) -> Run | None:
    """Find the newest finished run of any experiment that does not belong to another run."""
    return next((run for run in search(client, tracking, FINISHED) if PARENT not in run.data.tags), None)


def runs_by_id(client: MlflowClient, wanted: str) -> list[Run]:
    """Find the runs whose id begins like this, in all of the store's experiments."""
    if len(wanted) < SHORTEST_PREFIX or not wanted.isalnum():
        return []
    experiments = [str(experiment.experiment_id) for experiment in client.search_experiments()]
    return all_pages(client, experiments, f"attributes.run_id LIKE '{wanted}%'")


def the_only(runs: list[Run], wanted: str) -> Run | None:
    """Return the only run, or None.

    Raises:
        UserError: there are several.
    """
    if len(runs) > 1:
        raise UserError(f"'{wanted}' is the beginning of {len(runs)} run ids: {listed(runs)}; write more of the one you mean")
    return runs[0] if runs else None


def unknown(client: MlflowClient, tracking: Tracking, wanted: str) -> str:
    """Describe a run that does not exist: with near matches, or the newest runs."""
    runs = search(client, tracking, FINISHED)
    names = {run.data.tags.get("experiment", ""): None for run in runs} | {str(run.info.run_id): None for run in runs}
    near = get_close_matches(wanted, names, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}? The" if near else "the"
    return (
        f"no finished run '{wanted}' in {without_password(tracking.resolved_uri)}, experiment '{tracking.experiment}'; {hint}"
        f" newest are: {listed(runs)}"
    )


def newest(client: MlflowClient, tracking: Tracking) -> str:
    """List the newest finished runs."""
    return listed(search(client, tracking, FINISHED))


def listed(runs: list[Run]) -> str:
    """List runs for a message: id and experiment."""
    return ", ".join(f"{run.info.run_id} ({run.data.tags.get('experiment', 'unnamed')})" for run in runs[:LISTED]) or "none"
