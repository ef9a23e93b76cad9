"""One tracked run: what MLflow knows of it, and what waits because the server is away."""

import json
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunInfo, RunTag
from mlflow.exceptions import MlflowException
from requests import RequestException

from bcc_lightning.errors import UserError
from bcc_lightning.faults import fault_of
from bcc_lightning.interruption import interruption_held
from bcc_lightning.tracking.folder import RunFolder
from bcc_lightning.tracking.store import Tracking, open_store
from bcc_lightning.whole_file import whole_file
from bcc_lightning.writable import refuse_unwritable_folder

RETRY_SECONDS = 15.0
"""Pause after a failed sending, so that a dead server does not slow down training."""

BATCH = 100
"""Entries that MLflow takes at once."""

PROCESS = "process"
"""Tag that names the process that trains."""

LONGEST_VALUE = 5000
"""Characters of a parameter or tag that every MLflow store keeps."""


class TrackedRun:
    """A run in MLflow that outlives its server: what cannot be sent is kept in the run's folder and sent later.

    Args:
        client: connection to the store.
        info: what MLflow knows of the run.
        work: folder of runs at work.
    """

    def __init__(self, client: MlflowClient, info: RunInfo, work: Path) -> None:
        self.client = client
        self.run_id: str = info.run_id
        self.experiment_id: str = info.experiment_id
        self.artifact_uri = str(info.artifact_uri).removeprefix("file://")
        self.folder = RunFolder(work / self.run_id)
        self.folder.create()
        self._waiting: list[dict[str, Any]] = list(read_unsent(self.folder.unsent))
        self._retry_at = 0.0

    @classmethod
    def create(cls, tracking: Tracking, name: str, tags: dict[str, str]) -> "TrackedRun":
        """Open the store and start a new run.

        Args:
            tracking: where.
            name: name of the run.
            tags: first tags.

        Raises:
            UserError: the store cannot be reached.
        """
        run = None
        try:
            with interruption_held():
                client, experiment = open_store(tracking)
                end_dead_runs(client, experiment)
                run = client.create_run(experiment, run_name=name, tags={**tags, PROCESS: this_process()})
            return cls(client, run.info, tracking.work)
        except BaseException as error:  # also an interruption that was held off while the run was opened
            if run is not None:
                client.set_terminated(run.info.run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
            raise

    @classmethod
    def reopen(cls, tracking: Tracking, run_id: str) -> "TrackedRun":
        """Open the store and go on with a run.

        Raises:
            UserError: the store cannot be reached, or does not know the run.
        """
        client, _ = open_store(tracking)
        refuse_unwritable_folder("--resume", tracking.work / run_id / "state")
        refuse_unwritable_folder("--resume", tracking.work / run_id / "artifacts")
        try:
            client.update_run(run_id, status="RUNNING")
            client.set_tag(run_id, PROCESS, this_process())
            if "failure" in client.get_run(run_id).data.tags:
                client.delete_tag(run_id, "failure")
            return cls(client, client.get_run(run_id).info, tracking.work)
        except MlflowException as error:
            raise UserError(f"run {run_id} is not in {tracking.resolved_uri}: {error!s:.200}") from error

    def log_params(self, params: dict[str, str]) -> None:
        """Log parameters; those that the run has already stay as they are, since MLflow does not change them."""
        known = self.client.get_run(self.run_id).data.params
        changed = sorted(key for key, value in params.items() if known.get(key, cut(value)) != cut(value))
        self._send([{"kind": "param", "key": k, "value": cut(v)} for k, v in params.items() if k not in known])
        if changed:
            self.set_tags({"resumed.changed": cut(", ".join(f"{key}={params[key]}" for key in changed))})

    def set_tags(self, tags: dict[str, str]) -> None:
        """Set tags."""
        self._send([{"kind": "tag", "key": key, "value": cut(value)} for key, value in tags.items()])

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Log metrics at a step; they show in the UI at once."""
        now = int(time.time() * 1000)
        self._send(
            [{"kind": "metric", "key": metric_name(k), "value": v, "step": step, "timestamp": now} for k, v in metrics.items()]
        )

    def close(self, status: str) -> str | None:
        """File the artifacts and end the run.

        Args:
            status: ``FINISHED``, ``FAILED`` or ``KILLED``.

        Returns:
            None when all has arrived, else a sentence that says what waits where.
        """
        self._retry_at = 0.0
        try:
            self._send([])
            if not self._waiting:
                self.client.log_artifacts(self.run_id, str(self.folder.artifacts))
                self.client.set_terminated(self.run_id, status)
                return None
        except (MlflowException, RequestException, OSError) as error:
            reason = f"{error!s:.200}"
            if fault := fault_of(error):
                return self._end_unfiled(status, fault)
        else:
            reason = f"{len(self._waiting)} entries wait"
        return (
            f"The tracking server could not be reached at the end ({reason}). Nothing is lost: the run is in {self.folder.path}; "
            f"`--resume {self.run_id}` sends it"
        )

    def _end_unfiled(self, status: str, fault: str) -> str:
        """End a run that a fault of the surroundings, such as a full disk, keeps from being filed; returns what waits."""
        remove_torn(Path(self.artifact_uri), self.folder.artifacts)
        still_running = ""
        try:
            if status == "FINISHED":
                status = "FAILED"
                self.client.set_tag(self.run_id, "failure", cut(f"not filed: {fault}"))
            self.client.set_terminated(self.run_id, status)
        except (MlflowException, RequestException, OSError):
            still_running = " The store could not be told either: the run counts as RUNNING until the next one starts."
        return (
            f"Not all of the run could be filed: {fault}{still_running} Nothing is lost: the run is in {self.folder.path}; "
            f"`--resume {self.run_id}` files it"
        )

    def artifact_location(self, artifact: Path) -> str:
        """Say where a filed artifact lies: a path where the store is on this machine, else a URI."""
        return f"{self.artifact_uri}/{artifact.relative_to(self.folder.artifacts)}"

    def _send(self, entries: list[dict[str, Any]]) -> None:
        """Send entries behind those that wait; keep them all where that fails."""
        self._waiting += entries
        if time.monotonic() < self._retry_at:
            return self._keep()
        try:
            with interruption_held():  # an interrupted transaction would keep the database locked for the rest of this process
                self._send_waiting()
        except (MlflowException, RequestException, OSError) as error:
            if getattr(error, "error_code", None) == "INVALID_PARAMETER_VALUE":
                raise
            self._retry_at = time.monotonic() + RETRY_SECONDS
            return self._keep()
        self.folder.unsent.unlink(missing_ok=True)
        return None

    def _send_waiting(self) -> None:
        while self._waiting:
            metrics, params, tags = as_mlflow(self._waiting[:BATCH])
            self.client.log_batch(self.run_id, metrics, params, tags)
            del self._waiting[:BATCH]

    def _keep(self) -> None:
        with whole_file(self.folder.unsent) as draft:
            draft.write_text("".join(json.dumps(entry) + "\n" for entry in self._waiting), encoding="utf-8")


def remove_torn(filed: Path, artifacts: Path) -> None:
    """Delete the copies of artifacts that were not copied whole.

    Args:
        filed: folder of the copies; on a server there is none.
        artifacts: folder that they were copied from.
    """
    for copy in filed.rglob("*"):
        source = artifacts / copy.relative_to(filed)
        if copy.is_file() and source.is_file() and source.stat().st_size != copy.stat().st_size:
            copy.unlink(missing_ok=True)


def this_process() -> str:
    """Name this process: host and number."""
    return f"{socket.gethostname()}:{os.getpid()}"


def end_dead_runs(client: MlflowClient, experiment: str) -> None:
    """Mark runs as killed whose process on this machine is gone: after SIGKILL nothing else can.

    Args:
        client: connection to the store.
        experiment: id of the MLflow experiment.
    """
    for run in client.search_runs([experiment], filter_string="attributes.status = 'RUNNING'"):
        host, _, number = run.data.tags.get(PROCESS, "").rpartition(":")
        if host == socket.gethostname() and not Path(f"/proc/{number}").exists() and Path("/proc/self").exists():
            client.set_tag(run.info.run_id, "failure", f"process {number} vanished")
            client.set_terminated(run.info.run_id, "KILLED")


def read_unsent(file: Path) -> Iterator[dict[str, Any]]:
    """Read the entries that an earlier process could not send."""
    if file.is_file():
        yield from (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())


def as_mlflow(entries: list[dict[str, Any]]) -> tuple[list[Metric], list[Param], list[RunTag]]:
    """Sort entries into MLflow's metrics, parameters and tags."""
    fields: dict[str, list[dict[str, Any]]] = {"metric": [], "param": [], "tag": []}
    for entry in entries:
        fields[entry["kind"]].append({name: value for name, value in entry.items() if name != "kind"})
    return [Metric(**m) for m in fields["metric"]], [Param(**p) for p in fields["param"]], [RunTag(**t) for t in fields["tag"]]


def metric_name(name: str) -> str:
    """Replace what MLflow does not take in the name of a metric; names of classes and test sets may hold anything."""
    return re.sub(r"[^\w.\- :/]", "_", name)


def cut(value: str) -> str:
    """Shorten a value to what MLflow keeps."""
    return value if len(value) <= LONGEST_VALUE else value[: LONGEST_VALUE - 3] + "..."
