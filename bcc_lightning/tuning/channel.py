"""How a trial's process and the worker that started it communicate: lines of JSON over an inherited socket.

The trial knows nothing of Optuna or its storage, so it never sees a password. The first line from the worker says which trial
this is; the worker answers each report of the trial with whether to go on. When the socket closes, the worker is gone: the
trial's process then exits at once, because another worker may already repeat the trial on the same device.
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
"""Environment variable that holds the number of the inherited file descriptor."""

EXIT_ORPHANED = 75
"""Exit code of a trial whose worker is gone."""


@dataclass(frozen=True)
class Greeting:
    """What a worker tells a trial about itself.

    Attributes:
        study: name of the study.
        number: number of the trial.
        metric: metric of the validation set that the trial reports.
        by_epoch: whether the trial reports each epoch; else each fold of a cross-validation.
        mean: whether a fold reports the mean of all folds so far; else its own value.
        tags: MLflow tags of its run.
        data: SHA-256 of the data that earlier trials were trained on, by resolution.
    """

    study: str
    number: int
    metric: str
    by_epoch: bool = True
    mean: bool = True
    tags: dict[str, str] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)


class TrialChannel(AbstractContextManager["TrialChannel"]):
    """A trial's end of the channel; within the context, the process exits when its worker is gone.

    Args:
        connection: the inherited socket.

    Attributes:
        pruned_at: epoch or fold at which the search stopped the trial; None while it goes on.
        greeting: what the worker says about the trial.
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
        """Open the channel that this process inherited from a worker."""
        number = os.environ.pop(VARIABLE)  # processes that load data must not open it
        os.set_inheritable(int(number), False)
        return cls(socket.socket(fileno=int(number)))

    def opened(self, run_id: str, data: dict[str, str] | None = None) -> None:
        """Report the trial's run; later calls, for the folds of a cross-validation, report nothing.

        Args:
            run_id: MLflow's id of the run.
            data: SHA-256 of the trial's data, by resolution.
        """
        if self._run_id is None:
            self._run_id = run_id
            self._send({"run": run_id, "data": data or {}})

    def trains(self) -> None:
        """Report that training has begun; only the first call sends anything."""
        if not self._trains:
            self._trains = True
            self._send({"training": True})

    def report(self, step: int, value: float) -> None:
        """Report a value, and note in `pruned_at` whether the search stops the trial.

        Args:
            step: epoch or fold, from 0.
            value: metric of the validation set.
        """
        self._send({"step": step, "value": value})
        if not self._answers.get()["go"]:
            self.pruned_at = step

    def raise_if_pruned(self) -> None:
        """End a trial that the search has stopped.

        Raises:
            Pruned: the search has stopped the trial.
        """
        if self.pruned_at is not None:
            unit = "epoch" if self.greeting.by_epoch else "fold"
            raise Pruned(f"pruned after {unit} {self.pruned_at}")

    def ended(self, run_id: str, status: str, failure: str | None, figures: dict[str, float]) -> None:
        """Report how the trial's run has ended; nothing is sent for the runs of single folds.

        Args:
            run_id: MLflow's id of the run that has ended.
            status: ``FINISHED``, ``FAILED`` or ``KILLED``.
            failure: why the run failed, or None.
            figures: values that a search may optimise: metrics, ``seconds`` and ``parameters``.
        """
        if run_id == self._run_id:
            self._send({"status": status, "failure": failure, "figures": figures})

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the channel; the process then no longer depends on its worker."""
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
