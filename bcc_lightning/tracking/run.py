"""One tracked run: what MLflow knows of it, and what waits because the server is away."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunInfo, RunTag
from mlflow.exceptions import MlflowException
from requests import RequestException

from bcc_lightning.errors import UserError, fault_of
from bcc_lightning.files import clear_drafts, copy_whole, refuse_unwritable_folder, whole_file
from bcc_lightning.printable import printable
from bcc_lightning.processes import interruption_held
from bcc_lightning.safe_names import metric_key, parameter_key
from bcc_lightning.tracking.claim import Claim
from bcc_lightning.tracking.dead_runs import process_tags, tidy
from bcc_lightning.tracking.run_files import PARENT, PARENT_VARIABLE, RunFolder, Summary
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.tracking.store import artifact_place, in_store, open_store, without_password

RETRY_SECONDS = 15.0
"""Pause after a failed sending, so that a dead server does not slow down training."""

BATCH = 100
"""Entries that MLflow takes at once."""

DIGEST = 12
"""Characters of the hash of a data set that MLflow shows."""

LONGEST_VALUE = 5000
"""Characters of a parameter or tag that every MLflow store keeps."""


class TrackedRun(AbstractContextManager["TrackedRun"]):
    """A run in MLflow that outlives its server: what cannot be sent is kept in the run's folder and sent later.

    While the context lasts, at most until the end of the process, no other process can train the run.

    Args:
        client: connection to the store.
        info: what MLflow knows of the run.
        tracking: the store.
        claim: the right to train it.

    Attributes:
        started: when the run began, in milliseconds since 1970.
    """

    def __init__(self, client: MlflowClient, info: RunInfo, tracking: Tracking, claim: Claim) -> None:
        self.client = client
        self.run_id: str = info.run_id
        self.experiment_id: str = info.experiment_id
        self.started: int = info.start_time
        self.tracking = tracking
        self.claim = claim
        self.place = artifact_place(client, tracking, info)
        self.artifact_uri = str(self.place or info.artifact_uri)
        self.folder = RunFolder(tracking.work / self.run_id)
        self.folder.create()
        self._waiting: list[dict[str, Any]] = list(read_unsent(self.folder.unsent))
        self._retry_at = 0.0

    @classmethod
    def create(cls, tracking: Tracking, name: str, tags: dict[str, str], *, shared: bool = False) -> "TrackedRun":
        """Open the store and start a new run.

        Args:
            tracking: where.
            name: name of the run.
            tags: first tags.
            shared: several processes may work at it together.

        Raises:
            UserError: the store cannot be reached, or the folder of runs at work cannot be written.
        """
        run = None
        try:
            with interruption_held():
                client, experiment = open_store(tracking)
                tidy(client, tracking)
                parent = os.environ.get(PARENT_VARIABLE)
                own = {**process_tags(), **({PARENT: parent} if parent else {})}
                kept = {key: cut(value) for key, value in {**tags, **own}.items()}
                run = client.create_run(experiment, run_name=cut(name), tags=kept)
                folder = RunFolder(tracking.work / run.info.run_id)
                folder.create()
                created = cls(client, run.info, tracking, Claim(folder, shared=shared))
                if parent:
                    write_parent(folder, parent)
            return created
        except BaseException as error:  # also an interruption that was held off while the run was opened
            if run is not None:
                client.set_terminated(run.info.run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
            raise

    @classmethod
    def reopen(cls, tracking: Tracking, run_id: str, claim: Claim) -> "TrackedRun":
        """Open the store and go on with a run.

        Args:
            tracking: where.
            run_id: which run.
            claim: the right to train it.

        Raises:
            UserError: the store cannot be reached, or does not know the run.
        """
        client, _ = open_store(tracking)
        tidy(client, tracking)
        refuse_unwritable_folder("--resume", tracking.work / run_id / "state")
        refuse_unwritable_folder("--resume", tracking.work / run_id / "artifacts")
        try:
            client.update_run(run_id, status="RUNNING", name=tracking.run_name)
            for tag, value in process_tags().items():
                client.set_tag(run_id, tag, value)
            if "failure" in client.get_run(run_id).data.tags:
                client.delete_tag(run_id, "failure")
            return cls(client, client.get_run(run_id).info, tracking, claim)
        except MlflowException as error:
            raise UserError(f"run {run_id} is not in {without_password(tracking.resolved_uri)}: {error!s:.200}") from error

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Allow other processes to resume the run."""
        self.claim.release()

    def log_params(self, params: dict[str, str]) -> None:
        """Log parameters; those that the run has already stay as they are, since MLflow does not change them."""
        params = {parameter_key(name): value for name, value in params.items()}
        known = self.client.get_run(self.run_id).data.params
        self._send([{"kind": "param", "key": k, "value": cut(v)} for k, v in params.items() if k not in known])

    def set_tags(self, tags: dict[str, str]) -> None:
        """Set tags."""
        self._send([{"kind": "tag", "key": key, "value": cut(value)} for key, value in tags.items()])

    def log_data(self, name: str, sha256: str, context: str, source: str) -> None:
        """Log a data set that the run uses, as MLflow's own entity.

        Args:
            name: of the set.
            sha256: hash of its content.
            context: what it is used for, such as ``training``.
            source: the folder or the file where it was.
        """
        entry = {"name": name, "digest": sha256[:DIGEST], "source": json.dumps({"uri": source}), "context": context}
        self._send([{"kind": "data", **{key: cut(value) for key, value in entry.items()}}])

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Log metrics at a step; they show in the UI at once."""
        now = int(time.time() * 1000)
        self._send(
            [{"kind": "metric", "key": metric_key(k), "value": v, "step": step, "timestamp": now} for k, v in metrics.items()]
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
                self._file_artifacts()
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
            f"`--resume {self.run_id}{in_store(self.tracking)}` sends it"
        )

    def _end_unfiled(self, status: str, fault: str) -> str:
        """End a run that a fault of the surroundings, such as a full disk, keeps from being filed; returns what waits."""
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
            f"`--resume {self.run_id}{in_store(self.tracking)}` files it"
        )

    def artifact_location(self, artifact: Path) -> str:
        """Return where a filed artifact is: a path if the store is on this machine, else a URI."""
        return f"{self.artifact_uri}/{artifact.relative_to(self.folder.artifacts).as_posix()}"

    def copy_of(self, summary: Summary) -> dict[str, Any]:
        """Return the summary as it is copied out: with the place of the checkpoint, which the filed one names by its artifact."""
        place = self.artifact_location(self.folder.artifacts / summary.checkpoint) if summary.checkpoint else None
        return {**summary.as_dict(), "checkpoint": place}

    def _file_artifacts(self) -> None:
        """File the artifacts; where that is a folder of this machine, each file whole or not at all."""
        clear_drafts(self.folder.artifacts)
        if self.place is None:
            self.client.log_artifacts(self.run_id, str(self.folder.artifacts))
            return
        clear_drafts(self.place)
        for file in sorted(path for path in self.folder.artifacts.rglob("*") if path.is_file()):
            copy_whole(file, self.place / file.relative_to(self.folder.artifacts))

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
            metrics, params, tags, data = as_mlflow(self._waiting[:BATCH])
            self.client.log_batch(self.run_id, metrics, params, tags)
            if data:
                self.client.log_inputs(self.run_id, data)
            del self._waiting[:BATCH]

    def _keep(self) -> None:
        with whole_file(self.folder.unsent) as draft:
            draft.write_text("".join(json.dumps(entry) + "\n" for entry in self._waiting), encoding="utf-8")


def write_parent(folder: RunFolder, parent: str) -> None:
    """Write into a run's folder which run it belongs to."""
    with whole_file(folder.parent) as draft:
        draft.write_text(parent, encoding="utf-8")


def read_unsent(file: Path) -> Iterator[dict[str, Any]]:
    """Read the entries that an earlier process could not send."""
    if file.is_file():
        yield from (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())


def as_mlflow(entries: list[dict[str, Any]]) -> tuple[list[Metric], list[Param], list[RunTag], list[DatasetInput]]:
    """Sort entries into MLflow's metrics, parameters, tags and data sets."""
    fields: dict[str, list[dict[str, Any]]] = {"metric": [], "param": [], "tag": [], "data": []}
    for entry in entries:
        fields[entry["kind"]].append({name: value for name, value in entry.items() if name != "kind"})
    return (
        [Metric(**m) for m in fields["metric"]],
        [Param(**p) for p in fields["param"]],
        [RunTag(**t) for t in fields["tag"]],
        [as_input(**d) for d in fields["data"]],
    )


def as_input(name: str, digest: str, source: str, context: str) -> DatasetInput:
    """Make MLflow's entity of a data set that a run uses."""
    return DatasetInput(Dataset(name, digest, "local", source), [InputTag("mlflow.data.context", context)])


def cut(value: str) -> str:
    """Shorten a value to what MLflow keeps; what a database cannot store, such as NUL, is escaped."""
    value = printable(value)
    return value if len(value) <= LONGEST_VALUE else value[: LONGEST_VALUE - 3] + "..."
