"""Workers as threads of this process; the trials are processes all the same."""

import threading

from bcc_lightning.tuning.executors.base import Assignment
from bcc_lightning.tuning.executors.local import Seats
from bcc_lightning.tuning.study import OpenStudy
from bcc_lightning.tuning.worker import TrialWorker


class InProcess:
    """Runs workers as threads.

    Args:
        assignment: what they work at.
        seats: how the machine is divided.
    """

    outlives_this_process = False

    def __init__(self, assignment: Assignment, seats: Seats) -> None:
        self.assignment = assignment
        self.seats = seats
        self._stop = threading.Event()
        self._threads: dict[int, threading.Thread] = {}
        self._failures: dict[int, str] = {}

    def place(self, seat: int, seconds: float) -> None:
        """Start a worker on a free seat."""
        self._failures.pop(seat, None)
        self._threads[seat] = threading.Thread(target=self._work, args=(seat, seconds), daemon=True, name=f"worker-{seat}")
        self._threads[seat].start()

    def lives(self, seat: int) -> bool:
        """Tell whether a seat's worker has not ended."""
        return seat in self._threads and self._threads[seat].is_alive()

    def failure(self, seat: int) -> str | None:
        """Say why the last worker of a seat has failed."""
        return self._failures.get(seat)

    def stop(self) -> None:
        """End all workers in order."""
        self._stop.set()
        for thread in self._threads.values():
            thread.join()

    def _work(self, seat: int, seconds: float) -> None:
        try:
            search = OpenStudy.load(self.assignment.storage, self.assignment.study)
            flags, environment = self.assignment.flags_of(seat), self.seats.environment(seat)
            TrialWorker(search, seat, seconds, flags, environment, self._stop).work()
        except Exception as error:  # a thread's exception would only be printed
            self._failures[seat] = f"{type(error).__name__}: {error}"
