"""Who works at a trial, and whether that process still lives.

Optuna's own heartbeats need a database and `Study.optimize`, know neither journals nor trials in processes of their own, and
judge by the clock of the database's host. Here a worker's mark on its trial rises every few seconds, and whoever looks at it goes
by its own clock; on the same machine a look at the process comes first.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bcc_lightning.processes import BEAT_SECONDS, Process, start_of, this_machine

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


GRACE_SECONDS = 90.0
"""Silence after which a worker on another machine, or one that hangs, counts as dead."""

DOUBT_SECONDS = 3 * BEAT_SECONDS
"""Time to give a sign after all for one that counts as silent: a storage that was away holds all marks still."""


@dataclass(frozen=True)
class Worker(Process):
    """A process that works at trials.

    Attributes:
        seat: its place among the workers of an executor, from 0.
    """

    seat: int = 0

    @classmethod
    def of(cls, process: int, seat: int = 0) -> "Worker":
        """Describe a process of this machine."""
        return cls(this_machine(), process, start_of(process) or "", seat)


class Observer:
    """Watches the running trials of a study.

    Args:
        grace: seconds without a sign of life after which a worker counts as dead.
        clock: gives seconds; never goes back.
    """

    def __init__(self, grace: float = GRACE_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self.grace = grace
        self.clock = clock
        self._seen: dict[int, tuple[object, float]] = {}
        self._doubted: dict[int, float] = {}

    def death(self, trial: "FrozenTrial") -> str | None:
        """Say why a running trial counts as dead; None where it does not."""
        worker = Worker(**trial.user_attrs["worker"]) if "worker" in trial.user_attrs else None
        if worker and worker.has_vanished:
            return f"process {worker.process} vanished"
        silence = self._silence(trial.number, trial.user_attrs.get("beat"))
        return f"no sign of life for {silence:.0f} seconds" if silence else None

    def _silence(self, number: int, mark: object) -> float:
        """Tell for how long a trial's mark has not risen; 0 where that may have other causes than death."""
        now = self.clock()
        if number not in self._seen or self._seen[number][0] != mark:
            self._seen[number] = (mark, now)
            self._doubted.pop(number, None)
        silence = now - self._seen[number][1]
        if silence <= self.grace:
            return 0.0
        doubted = now - self._doubted.setdefault(number, now)
        return silence if doubted >= DOUBT_SECONDS else 0.0
