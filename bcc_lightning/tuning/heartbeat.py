"""Which worker runs a trial, and whether that worker still lives.

Optuna's own heartbeat needs a database and `Study.optimize`, supports neither journal files nor trials in separate processes, and
uses the clock of the database's host. Here each worker increases a counter on its trial every few seconds, and each observer
measures by its own clock how long the counter has not changed. On the same machine the process itself is checked first.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bcc_lightning.processes import BEAT_SECONDS, Process, start_of, this_machine

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


GRACE_SECONDS = 90.0
"""Seconds without a sign of life after which a worker on another machine, or one that hangs, counts as dead."""

DOUBT_SECONDS = 3 * BEAT_SECONDS
"""Further seconds that a silent worker gets: while the storage did not answer, no counter could change."""


@dataclass(frozen=True)
class Worker(Process):
    """A process that runs trials.

    Attributes:
        seat: position among the workers of an executor, from 0.
    """

    seat: int = 0

    @classmethod
    def of(cls, process: int, seat: int = 0) -> "Worker":
        """Describe a process of this machine."""
        return cls(this_machine(), process, start_of(process) or "", seat)


class Observer:
    """Watches the workers of a study's running trials.

    Args:
        grace: seconds without a sign of life after which a worker counts as dead.
        clock: returns seconds, and never goes back.
    """

    def __init__(self, grace: float = GRACE_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self.grace = grace
        self.clock = clock
        self._seen: dict[int, tuple[object, float]] = {}
        self._doubted: dict[int, float] = {}

    def death(self, trial: "FrozenTrial") -> str | None:
        """Return why the worker of a running trial counts as dead; None while it counts as alive."""
        worker = Worker(**trial.user_attrs["worker"]) if "worker" in trial.user_attrs else None
        if worker and worker.has_vanished:
            return f"process {worker.process} vanished"
        silence = self._silence(trial.number, trial.user_attrs.get("beat"))
        return f"no sign of life for {silence:.0f} seconds" if silence else None

    def _silence(self, number: int, mark: object) -> float:
        """Return the seconds for which a trial's counter has not changed; 0 until that can only mean death."""
        now = self.clock()
        if number not in self._seen or self._seen[number][0] != mark:
            self._seen[number] = (mark, now)
            self._doubted.pop(number, None)
        silence = now - self._seen[number][1]
        if silence <= self.grace:
            return 0.0
        doubted = now - self._doubted.setdefault(number, now)
        return silence if doubted >= DOUBT_SECONDS else 0.0
