"""The tracking store: an embedded SQLite file by default, any MLflow server or database by its URI."""

import os
import re
import shlex
import sqlite3
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlparse

from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities import Run, RunInfo
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from bcc_lightning.errors import UserError, fault_of
from bcc_lightning.files import DRAFT, refuse_unwritable_folder, whole_file
from bcc_lightning.network import check_connection
from bcc_lightning.tracking.landing_page import offer_view
from bcc_lightning.tracking.place import ARTIFACTS, OWN, follow_folder, local_path, own_folder, sqlite_file, sqlite_uri
from bcc_lightning.tracking.settings import Tracking

# MLflow would try a dead server seven times with growing pauses; training must not stand still for that.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

CONNECT_TIMEOUT = 3.0
LOCK = ".store.lock"
LOCK_SECONDS = 5.0
"""Time that a command which only reads waits for others that open the store."""
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
"""Where servers listen whose URI names no port."""

WAYS_OUT = (
    "Next step: start the server, or name another with --tracking.uri URI or MLFLOW_TRACKING_URI; without either, mlruns/ is used"
)


def open_store(tracking: Tracking) -> tuple[MlflowClient, str]:
    """Connect to the store and find or create the experiment.

    Several processes that start at the same instant would all create the tables of a fresh database; a lock lets one go first.

    Args:
        tracking: where.

    Returns:
        Client and experiment id.

    Raises:
        UserError: the server does not answer, or the URI is not valid.
    """
    uri = tracking.resolved_uri
    refuse_dead_server(uri)
    for folder in (tracking.home, tracking.work, *([] if is_served(uri) else [tracking.artifacts])):
        refuse_unwritable_folder("--tracking.folder", folder)
    tracking.home.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(tracking.home / LOCK):
            file = sqlite_file(uri)
            if file is not None and not file.exists():
                make_database(file)
            elif tracking.database:
                follow_folder(tracking.database, tracking.home, tracking.experiment)
            client = MlflowClient(uri)
            experiment = experiment_id(client, tracking)
            offer_view(client, client.get_experiment(experiment))
            return client, experiment
    except (MlflowException, SQLAlchemyError, OSError, sqlite3.Error) as error:
        if fault := fault_of(error):
            raise UserError(f"tracking store {without_password(uri)}: {fault}") from error
        raise UserError(f"tracking store {without_password(uri)} cannot be opened: {error!s:.300}\n{WAYS_OUT}") from error


def make_database(file: Path) -> None:
    """Create a database with its tables, whole or not at all: MLflow can never open one again that has half of them."""
    for draft in file.parent.glob(f"{DRAFT}*"):
        draft.unlink(missing_ok=True)
    with whole_file(file) as draft:
        MlflowClient(sqlite_uri(draft)).search_experiments(max_results=1)


def in_store(tracking: Tracking) -> str:
    """Write the flags by which a command finds the store of a run, behind others; empty for the usual one."""
    folder = f" --tracking.folder {shlex.quote(tracking.folder)}" if tracking.folder != Tracking.folder else ""
    uri = f" --tracking.uri {shlex.quote(without_password(tracking.uri) or '')}" if tracking.uri else ""
    return f"{folder}{uri}"


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
    if is_served(tracking.resolved_uri):
        return str(client.create_experiment(tracking.experiment))
    tags = {OWN: ARTIFACTS} if tracking.database else None
    return str(client.create_experiment(tracking.experiment, artifact_location=tracking.artifacts.as_uri(), tags=tags))


def mend_places(tracking: Tracking) -> None:
    """Mend the places of artifacts in an embedded store that has moved; one that cannot be written is read as it is."""
    if tracking.database is None:
        return
    with suppress(OSError, Timeout, sqlite3.Error), FileLock(tracking.home / LOCK, timeout=LOCK_SECONDS):
        follow_folder(tracking.database, tracking.home)


def artifact_place(client: MlflowClient, tracking: Tracking, run: RunInfo) -> Path | None:
    """Find the folder of a run's filed artifacts on this machine; None where they are on a server.

    What the database says is asked last, since another process that sees the same folder under another name may change it.
    """
    own = own_folder(client.get_experiment(run.experiment_id).tags.get(OWN)) if tracking.database else None
    beside = tracking.home / (own or ARTIFACTS) / run.run_id / "artifacts"
    return beside if own or beside.is_dir() else local_path(str(run.artifact_uri))


def refuse_dead_server(uri: str) -> None:
    """Refuse a server that takes no connections, within seconds; MLflow would try a dead database for minutes.

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
        check_connection(url.hostname or "", port, CONNECT_TIMEOUT)
    except OSError as error:
        raise UserError(f"tracking server {without_password(uri)} does not answer ({error}).\n{WAYS_OUT}") from error


def all_pages(client: MlflowClient, experiments: list[str], condition: str) -> list[Run]:
    """List all runs that fulfil a condition, the newest first, page by page."""
    runs: list[Run] = []
    token: str | None = ""
    while token is not None:
        page = client.search_runs(
            experiments, condition, max_results=1000, order_by=["attributes.start_time DESC"], page_token=token or None
        )
        runs.extend(page)
        token = page.token or None
    return runs
