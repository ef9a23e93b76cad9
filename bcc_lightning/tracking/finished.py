"""A finished run and its files, fetched from a server where they are not on this machine."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from requests import RequestException

from bcc_lightning.errors import UserError
from bcc_lightning.safe_names import file_name
from bcc_lightning.tracking.folder import PARENT, RunFolder
from bcc_lightning.tracking.store import Tracking, artifact_place
from bcc_lightning.tracking.summary import Summary, read_summary
from bcc_lightning.yaml_file import read_mapping


@dataclass(frozen=True)
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

    @property
    def checkpoint(self) -> Path:
        """The weights that were chosen and tested, as a local file."""
        return self.artifact("checkpoints/best.ckpt")

    def predictions(self, name: str = "test") -> Path:
        """Its predictions of the test part, or of a further test set, as a local file."""
        return self.artifact(f"predictions/{file_name(name)}.parquet")

    def artifact(self, name: str) -> Path:
        """Get an artifact as a local file: where it lies, or downloaded once from the server.

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


def folder_of(checkpoint: Path) -> RunFolder | None:
    """Find the run whose filed checkpoint this is: its configuration and summary lie beside it."""
    folder = RunFolder(checkpoint.absolute().parent.parent.parent)
    beside = checkpoint.absolute().parent == folder.checkpoints
    return folder if beside and folder.config.is_file() and folder.summary.is_file() else None
