"""The tracking store: an embedded SQLite file by default, any MLflow server or database by its URI."""

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from bcc_lightning.errors import UserError
from bcc_lightning.faults import fault_of
from bcc_lightning.writable import refuse_unwritable_folder

# MLflow would try a dead server seven times with growing pauses; training must not stand still for that.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

CONNECT_TIMEOUT = 3.0
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
"""Where servers listen whose URI names no port."""

WAYS_OUT = (
    "Next step: start the server, or name another with --tracking.uri URI or MLFLOW_TRACKING_URI; without either, mlruns/ is used"
)


@dataclass(frozen=True)
class Tracking:
    """Where runs are filed.

    Args:
        uri: tracking URI; by default ``$MLFLOW_TRACKING_URI``, else a SQLite file in `folder`.
        experiment: name of the MLflow experiment.
        folder: local folder of the embedded store and of runs at work.
        run_name: name of the run; by default experiment and seed.
    """

    uri: str | None = None
    experiment: str = "bcc_lightning"
    folder: str = "mlruns"
    run_name: str | None = None

    @property
    def home(self) -> Path:
        """Local folder, absolute, since MLflow keeps artifact locations as they are given."""
        return Path(self.folder).absolute()

    @property
    def resolved_uri(self) -> str:
        """The tracking URI that is used."""
        return self.uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.home / 'mlflow.db'}"

    @property
    def work(self) -> Path:
        """Folder of runs at work, one below it for each run id."""
        return self.home / "active"

    @property
    def artifacts(self) -> Path:
        """Folder of the artifacts of finished runs, where no server keeps them."""
        return self.home / "artifacts"

    @property
    def fetched(self) -> Path:
        """Folder of files that were fetched from a server, one below it for each run id."""
        return self.home / "fetched"


def open_store(tracking: Tracking) -> tuple[MlflowClient, str]:
    """Connect to the store and find or create the experiment.

    Several processes that start at the same instant would all create the tables of a fresh database; a lock lets one go first.

    Args:
        tracking: where.

    Returns:
        Client and experiment id.

    Raises:
        UserError: the server does not answer, or the URI is none.
    """
    uri = tracking.resolved_uri
    refuse_dead_server(uri)
    for folder in (tracking.home, tracking.work, *([] if is_served(uri) else [tracking.artifacts])):
        refuse_unwritable_folder("--tracking.folder", folder)
    tracking.home.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(tracking.home / ".store.lock"), no_half_made_database(uri):
            client = MlflowClient(uri)
            return client, experiment_id(client, tracking)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        if fault := fault_of(error):
            raise UserError(f"tracking store {without_password(uri)}: {fault}") from error
        raise UserError(f"tracking store {without_password(uri)} cannot be opened: {error!s:.300}\n{WAYS_OUT}") from error


@contextmanager
def no_half_made_database(uri: str) -> Iterator[None]:
    """Delete a new SQLite file whose tables could not all be made, since MLflow cannot go on with half of them."""
    url = urlparse(uri)
    file = Path(url.path.removeprefix("/"))
    is_new = url.scheme == "sqlite" and not file.is_file()
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError):
        if is_new:
            for each in (file, Path(f"{file}-journal")):
                each.unlink(missing_ok=True)
        raise


def without_password(uri: str | None) -> str | None:
    """Leave out a password in a URI, which has no business in logs, parameters and commands."""
    if uri is None or not (password := urlparse(uri).password):
        return uri
    return uri.replace(f":{password}@", "@")


def is_served(uri: str) -> bool:
    """Check whether a server keeps the artifacts, and not a local folder beside a database."""
    return urlparse(uri).scheme in {"http", "https"}


def experiment_id(client: MlflowClient, tracking: Tracking) -> str:
    """Find or create the experiment; a database keeps its artifacts below the local folder."""
    found = client.get_experiment_by_name(tracking.experiment)
    if found is not None and found.lifecycle_stage == "active":
        return str(found.experiment_id)
    if found is not None:
        raise UserError(
            f"MLflow experiment '{tracking.experiment}' was deleted; restore it or choose another with --tracking.experiment NAME"
        )
    location = None if is_served(tracking.resolved_uri) else tracking.artifacts.as_uri()
    return str(client.create_experiment(tracking.experiment, artifact_location=location))


def refuse_dead_server(uri: str) -> None:
    """Find out within seconds whether a server takes connections; MLflow would try a dead database for minutes.

    Raises:
        UserError: it does not, or the URI names none.
    """
    try:
        url = urlparse(uri)
        scheme = url.scheme.partition("+")[0]
        port = url.port or PORTS.get(scheme, 0)
        uri.encode()  # SQLAlchemy takes no other names
    except ValueError as error:
        shown = re.sub(r":[^:@/]*@", "@", uri)  # without a password
        raise UserError(f"tracking URI {shown!a} cannot be read ({error}).\n{WAYS_OUT}") from error
    if uri.rstrip("/") in {"sqlite:", "sqlite:/"} or ":memory:" in uri:
        raise UserError(f"tracking URI {uri} names no file, so nothing would be kept; write sqlite:///FILE.\n{WAYS_OUT}")
    if scheme not in PORTS or not (url.hostname or scheme.startswith("http")):  # databases are also reached by local sockets
        return
    try:
        socket.create_connection((url.hostname or "", port), timeout=CONNECT_TIMEOUT).close()
    except OSError as error:
        raise UserError(f"tracking server {without_password(uri)} does not answer ({error}).\n{WAYS_OUT}") from error
