"""Who works at a trial, and whether that process still lives.

Optuna's own heartbeats need a database and `Study.optimize`, know neither journals nor trials in processes of their own, and
judge by the clock of the database's host. Here a worker's mark on its trial rises every few seconds, and whoever looks at it goes
by its own clock; on the same machine a look at the process comes first.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

BEAT_SECONDS = 5.0
"""Pause between two signs of life; one costs a few milliseconds."""

GRACE_SECONDS = 90.0
"""Silence after which a worker on another machine, or one that hangs, counts as dead."""

DOUBT_SECONDS = 3 * BEAT_SECONDS
"""Time to give a sign after all for one that counts as silent: a storage that was away holds all marks still."""


@dataclass(frozen=True)
class Worker:
    """A process that works at trials.

    Attributes:
        machine: names the machine, its start and its space of process numbers.
        process: number of the process.
        started: when the process started, in the machine's own ticks; numbers are used again.
        seat: its place among the workers of an executor, from 0.
    """

    machine: str
    process: int
    started: str
    seat: int = 0

    @classmethod
    def of(cls, process: int, seat: int = 0) -> "Worker":
        """Describe a process of this machine."""
        return cls(this_machine(), process, start_of(process) or "", seat)

    def as_dict(self) -> dict[str, Any]:
        """Give a plain dict for JSON."""
        return asdict(self)

    @property
    def has_vanished(self) -> bool:
        """Whether it ran on this machine and is gone; False also where that cannot be told."""
        if not Path("/proc/self").exists():
            return False
        return self.machine == this_machine() and start_of(self.process) != self.started

    @property
    def is_seen(self) -> bool:
        """Whether it runs on this machine; False also where that cannot be told."""
        return self.machine == this_machine() and self.started != "" and start_of(self.process) == self.started


def this_machine() -> str:
    """Name this machine; containers on one host differ, and so does a machine after a restart."""
    boot, processes = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    parts = [socket.gethostname(), boot.read_text().strip() if boot.is_file() else ""]
    return ":".join([*parts, os.readlink(processes) if processes.is_symlink() else ""])


def start_of(process: int) -> str | None:
    """Tell when a process of this machine started; None where it is gone, or has ended and only waits for its parent."""
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else fields[18]


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


@contextmanager
def signs_of_life(give: Callable[[int], None], pause: float) -> Iterator[None]:
    """Give signs of life while a trial runs.

    Args:
        give: raises the mark on the trial to a number.
        pause: seconds between two.
    """
    done = threading.Event()

    def keep_on() -> None:
        """Give one sign after the other."""
        number = 1
        while not done.wait(pause):
            give(number)
            number += 1

    thread = threading.Thread(target=keep_on, daemon=True, name="signs-of-life")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
