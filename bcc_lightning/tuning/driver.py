"""The driver's part while workers work: finds the dead, fills empty seats, shows where the search stands, ends it in order."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bcc_lightning.errors import UserError
from bcc_lightning.processes import interruption_held
from bcc_lightning.tuning.executors.base import Executor
from bcc_lightning.tuning.heartbeat import Observer, Worker
from bcc_lightning.tuning.study import OpenStudy
from bcc_lightning.tuning.worker import reap

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


TICK_SECONDS = 1.0

PATIENCE = 3
"""Workers of a seat that may fail one after the other before the search gives up."""


@dataclass
class Watch:
    """Watches over a search until no slot is free and no trial runs.

    Attributes:
        search: the study.
        executor: places workers.
        seats: number of workers.
        seconds: time after which no further trial is begun.
        show: gets all trials at each tick.
        tick: seconds between two looks.
    """

    search: OpenStudy
    executor: Executor
    seats: int
    seconds: float = math.inf
    show: "Callable[[list[FrozenTrial]], None]" = lambda _: None
    tick: float = TICK_SECONDS
    failures: dict[int, int] = field(default_factory=dict)

    def until_done(self) -> None:
        """Watch until the search is done.

        Raises:
            UserError: workers fail at once, again and again, or the storage is away for long.
        """
        from optuna.exceptions import StorageInternalError
        from sqlalchemy.exc import SQLAlchemyError

        start, observer = time.monotonic(), Observer()
        over, misses = False, 0
        while not over:
            try:
                with interruption_held():  # Ctrl-C in a transaction would keep SQLite locked, for the workers too
                    over = self.look(observer, self.seconds - (time.monotonic() - start))
                misses = 0
            except (StorageInternalError, SQLAlchemyError) as error:  # it went away in a query; the next waits for it
                misses += 1
                if misses == PATIENCE:
                    raise UserError(f"storage {self.search.storage.url} does not answer; the same command goes on") from error
            time.sleep(0 if over else self.tick)

    def look(self, observer: Observer, left: float) -> bool:
        """Find the dead, fill empty seats and show where the search stands; tells whether it is done.

        Args:
            observer: watches the running trials.
            left: seconds in which trials may begin.
        """
        reap(self.search, observer)
        running = self.running()
        has_work = left > 0 and self.search.has_work()
        if has_work:
            self.fill(running, left)
        self.show(self.search.trials())
        return not (has_work or running or self.any_lives())

    def place_all(self) -> None:
        """Place workers on all free seats, once."""
        self.fill(self.running(), self.seconds)

    def fill(self, running: "list[FrozenTrial]", seconds: float) -> None:
        """Place workers on empty seats, but not beside those that an earlier driver has left there."""
        taken = {Worker(**trial.user_attrs["worker"]).seat for trial in running if "worker" in trial.user_attrs}
        for seat in range(self.seats):
            if seat not in taken and not self.executor.lives(seat):
                self.count_failure(seat)
                self.executor.place(seat, seconds)

    def count_failure(self, seat: int) -> None:
        """Give up a search whose workers fail one after the other; one that was killed now and then is replaced."""
        failure = self.executor.failure(seat)
        self.failures[seat] = self.failures.get(seat, 0) + 1 if failure else 0
        if self.failures[seat] >= PATIENCE:
            raise UserError(f"{PATIENCE} workers failed one after the other, the last with {failure}")

    def running(self) -> "list[FrozenTrial]":
        """List the trials that run."""
        from optuna.trial import TrialState

        return [trial for trial in self.search.trials() if trial.state == TrialState.RUNNING]

    def any_lives(self) -> bool:
        """Tell whether a worker still lives."""
        return any(self.executor.lives(seat) for seat in range(self.seats))
