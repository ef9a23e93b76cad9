"""How a trial's process talks with the worker that started it: lines of JSON over an inherited socket.

The trial knows nothing of Optuna and its storage, so that no password enters it. The worker's first line says which trial it is;
each report of the trial is answered with whether to go on. The socket's end tells the trial that its worker is gone: it ends at
once, for somebody else may have been given its work, and its device.
"""

import json
import os
import queue
import socket
import threading
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from bcc_lightning.errors import Pruned

VARIABLE = "BCC_TRIAL_CHANNEL"
"""Environment variable with the number of the inherited descriptor."""

EXIT_ORPHANED = 75


@dataclass(frozen=True)
class Greeting:
    """What a trial is told about itself.

    Attributes:
        study: name of the study.
        number: number of the trial.
        metric: metric of the validation part that is reported.
        by_epoch: whether each epoch is reported; else each fold of a cross-validation.
        mean: whether folds report the mean so far; else each its own value.
        tags: tags of its run.
        data: hash of the data that earlier trials were trained on, by resolution.
    """

    study: str
    number: int
    metric: str
    by_epoch: bool = True
    mean: bool = True
    tags: dict[str, str] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)


class TrialChannel(AbstractContextManager["TrialChannel"]):
    """A trial's end of the channel; while the context lasts, the process ends with its worker.

    Args:
        connection: the socket.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._run_id: str | None = None
        self._trains = False
        self._closed = False
        self.pruned_at: int | None = None
        threading.Thread(target=self._listen, daemon=True, name="trial-channel").start()
        self.greeting = Greeting(**self._answers.get())

    @classmethod
    def inherited(cls) -> "TrialChannel":
        """Open the channel that a worker left for this process."""
        number = os.environ.pop(VARIABLE)  # loading processes have no business with it
        os.set_inheritable(int(number), False)
        return cls(socket.socket(fileno=int(number)))

    def opened(self, run_id: str, data: dict[str, str] | None = None) -> None:
        """Report the trial's run, and the hash of its data by resolution; folds of a cross-validation open theirs after it."""
        if self._run_id is None:
            self._run_id = run_id
            self._send({"run": run_id, "data": data or {}})

    def trains(self) -> None:
        """Say that a training step begins; only the first is told."""
        if not self._trains:
            self._trains = True
            self._send({"training": True})

    def report(self, step: int, value: float) -> None:
        """Report a value, and remember whether the search has seen enough.

        Args:
            step: epoch or fold, from 0.
            value: metric of the validation part.
        """
        self._send({"step": step, "value": value})
        if not self._answers.get()["go"]:
            self.pruned_at = step

    def raise_if_pruned(self) -> None:
        """End a trial of which the search has seen enough.

        Raises:
            Pruned: it has.
        """
        if self.pruned_at is not None:
            unit = "epoch" if self.greeting.by_epoch else "fold"
            raise Pruned(f"pruned after {unit} {self.pruned_at}")

    def ended(self, run_id: str, status: str, failure: str | None, figures: dict[str, float]) -> None:
        """Say how the trial's run has ended; the folds of a cross-validation say nothing.

        Args:
            run_id: which run has ended.
            status: ``FINISHED``, ``FAILED`` or ``KILLED``.
            failure: why it failed, or None.
            figures: metrics, seconds and parameters that an objective may be.
        """
        if run_id == self._run_id:
            self._send({"status": status, "failure": failure, "figures": figures})

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the channel: what is left to do needs no worker."""
        self._closed = True
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def _send(self, message: dict[str, Any]) -> None:
        self._connection.sendall(json.dumps(message).encode() + b"\n")

    def _listen(self) -> None:
        try:
            with self._connection.makefile("rb") as lines:
                for line in lines:
                    self._answers.put(json.loads(line))
        finally:
            if not self._closed:
                os._exit(EXIT_ORPHANED)
