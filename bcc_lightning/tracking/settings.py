"""Where runs are filed and how, as a call says it; the store itself, which MLflow opens, is in `store`."""

import os
from dataclasses import dataclass
from pathlib import Path

from bcc_lightning.errors import UserError
from bcc_lightning.optional_imports import optional_import
from bcc_lightning.tracking.place import ARTIFACTS, same_folder, sqlite_file, sqlite_uri

FOUND_BY = ("uri", "experiment", "folder")
"""Fields of `Tracking` that say where runs are; the others say how a new one is filed."""

NOT_IN_NAMES = "/:.%\"'"
"""Characters that MLflow takes in no name of a model."""


@dataclass(frozen=True)
class Tracking:
    """Where runs are filed.

    Args:
        uri: tracking URI; by default ``$MLFLOW_TRACKING_URI``, else a SQLite file in `folder`.
        experiment: name of the MLflow experiment.
        folder: local folder of the embedded store and of runs at work.
        run_name: name of the run; by default experiment, data set, size, seed and what the call has changed.
        log_model: log the network of each finished run as an MLflow model, for ``mlflow.pyfunc`` and ``mlflow models serve``.
        register: name under which that model is registered as a new version.
        system_metrics: log the load of processors, memory, disk, network and GPUs; needs the extra ``system``.
    """

    uri: str | None = None
    experiment: str = "bcc_lightning"
    folder: str = "mlruns"
    run_name: str | None = None
    log_model: bool = True
    register: str | None = None
    system_metrics: bool = False

    def __post_init__(self) -> None:
        """Refuse what would fail after hours of training: a name that MLflow does not take, a package that is missing.

        Raises:
            UserError: with the name, or the extra.
        """
        if self.system_metrics:
            with optional_import("system", "--tracking.system_metrics true"):
                import psutil  # noqa: F401 - MLflow measures with it
        if self.register is None:
            return
        if not self.register.strip() or set(self.register) & set(NOT_IN_NAMES):
            raise UserError(f"--tracking.register is '{self.register}'; name a model without any of {' '.join(NOT_IN_NAMES)}")
        if not self.log_model:
            raise UserError(f"--tracking.register {self.register} needs the model: leave out --tracking.log_model false")

    @property
    def home(self) -> Path:
        """Local folder, absolute, since MLflow keeps artifact locations as they are given."""
        return Path(self.folder).absolute()

    @property
    def resolved_uri(self) -> str:
        """The tracking URI that is used."""
        return self.uri or os.environ.get("MLFLOW_TRACKING_URI") or sqlite_uri(self.home / "mlflow.db")

    @property
    def database(self) -> Path | None:
        """The embedded store's database, whose artifacts are beside it; None for a server or a database elsewhere."""
        file = sqlite_file(self.resolved_uri)
        return file if file is not None and same_folder(file.parent, self.home) else None

    @property
    def artifacts(self) -> Path:
        """Folder of the artifacts of an embedded store, one below it for each run id."""
        return self.home / ARTIFACTS

    @property
    def work(self) -> Path:
        """Folder of runs at work, one below it for each run id."""
        return self.home / "active"

    @property
    def fetched(self) -> Path:
        """Folder of files that were fetched from a server, one below it for each run id."""
        return self.home / "fetched"
