"""What all executors have in common: they start workers on seats, check whether these still live, and stop them."""

import hashlib
import json
import math
import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bcc_lightning.errors import UserError
from bcc_lightning.tuning.storage import Storage


@dataclass(frozen=True)
class Assignment:
    """What a worker needs to know, wherever it runs.

    Attributes:
        storage: where the study is stored; the password comes from the environment.
        study: name of the study.
        logs: folder for the output of the workers.
        tracking: URI of the tracking store of the trials' runs.
        flags: flags for each trial, by seat; a single entry is for all seats.
        program: command of the trials instead of `fit`, see `bcc_lightning.tuning.plan.Plan`.
    """

    storage: Storage
    study: str
    logs: Path
    tracking: str = ""
    flags: Sequence[Sequence[str]] = field(default_factory=list)
    program: Sequence[str] = ()

    def flags_of(self, seat: int) -> list[str]:
        """Return the flags for the trials of a seat."""
        return list(self.flags[seat % len(self.flags)]) if self.flags else []

    def arguments(self, seat: int, deadline: float) -> list[str]:
        """Build the arguments of ``python -m bcc_lightning.tuning.worker``; see `Executor.place`."""
        time = [] if math.isinf(deadline) else ["--deadline", str(deadline)]
        program = ["--program", json.dumps(list(self.program))] if self.program else []
        where = ["--storage", self.storage.url, "--study", self.study, "--seat", str(seat)]
        return [*where, *time, *program, "--", *self.flags_of(seat)]

    def name(self, seat: int | str) -> str:
        """Return a name for a seat's worker that no other study uses; for the seat ``""``, the beginning of all these names."""
        digest = hashlib.sha256(f"{self.storage.url} {self.study}".encode()).hexdigest()[:10]
        return f"tune-{re.sub('[^A-Za-z0-9_.]', '_', self.study)[:40]}-{digest}-{seat}"

    def log(self, seat: int) -> Path:
        """Return the path of the file for the output of a seat's worker."""
        return self.logs / f"worker-{seat}.log"


def last_line(log: Path) -> str:
    """Return the last line of a worker's output that is not from SLURM, and the path of the whole output."""
    written = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    lines = [line for line in written if line.strip() and not line.startswith(("srun:", "slurmstepd:"))] or ["no output"]
    return f"{lines[-1]} (whole output: {log})"


class Executor(Protocol):
    """Starts workers on seats, which are numbered from 0; a seat is a GPU, a share of the cores, or a job of a cluster.

    Attributes:
        outlives_this_process: whether workers go on when this process ends.
    """

    outlives_this_process: bool

    def place(self, seat: int, deadline: float) -> None:
        """Start a worker on a free seat, now or when a cluster has room for it.

        Args:
            seat: the seat.
            deadline: time after which the worker starts no further trial, in seconds since 1970.
        """

    def lives(self, seat: int) -> bool:
        """Check whether the worker of a seat runs, or waits in a queue."""

    def failure(self, seat: int) -> str | None:
        """Return why the last worker of a seat failed; None where it did not fail."""

    def stop(self) -> None:
        """Stop all workers cleanly, and wait until they have ended."""


def refuse_files_of_this_machine(assignment: Assignment, nodes: Iterable[str]) -> None:
    """Refuse a study or a tracking store in a file when workers run on other machines, because file locks fail over a network.

    Args:
        assignment: the study of the workers.
        nodes: addresses or host names of the cluster's nodes.

    Raises:
        UserError: a node is another machine.
    """
    name = socket.gethostname()
    others = sorted(set(nodes) - {"127.0.0.1", "localhost", name, name.partition(".")[0]})
    if not others:
        return
    why = f"is a file, which only one machine can write safely, but workers would also run on {', '.join(others[:3])}. Next step"
    if assignment.storage.file:
        raise UserError(
            f"--storage {assignment.storage.url} {why}: keep the study on a server, with --storage postgresql://USER@HOST/DATABASE"
        )
    if assignment.tracking.startswith("sqlite:"):
        raise UserError(
            f"tracking store {assignment.tracking} {why}: start an MLflow server that all nodes reach, and name it with "
            "--tracking.uri http://HOST:PORT after --, or in MLFLOW_TRACKING_URI"
        )
