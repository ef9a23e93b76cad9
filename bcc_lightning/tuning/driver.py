"""The driver of a search: finds dead workers, replaces them, and shows the progress until all trials are done."""

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
"""Pause between two looks at the study."""

PATIENCE = 3
"""Consecutive failures, of the workers of one seat or of queries to the storage, after which the search gives up."""


@dataclass
class Watch:
    """Supervises a search until no slot is free and no trial runs.

    Attributes:
        search: the study.
        executor: starts the workers.
        seats: number of workers.
        seconds: time after which no further trial is started.
        show: is called with all trials at each look.
        tick: seconds between two looks.
        failures: consecutive failures of the workers of each seat.
    """

    search: OpenStudy
    executor: Executor
    seats: int
    seconds: float = math.inf
    show: "Callable[[list[FrozenTrial]], None]" = lambda _: None
    tick: float = TICK_SECONDS
    failures: dict[int, int] = field(default_factory=dict)

    def until_done(self) -> None:
        """Supervise the search until it is done.

        Raises:
            UserError: several workers fail one after the other, or the storage does not answer for long.
        """
        from optuna.exceptions import StorageInternalError
        from sqlalchemy.exc import SQLAlchemyError

        deadline, observer = time.time() + self.seconds, Observer()
        over, misses = False, 0
        while not over:
            try:
                with interruption_held():  # Ctrl-C within a transaction would leave SQLite locked for the workers
                    over = self.look(observer, deadline)
                misses = 0
            except (StorageInternalError, SQLAlchemyError) as error:  # it failed during a query; the next one waits
                misses += 1
                if misses == PATIENCE:
                    raise UserError(
                        f"storage {self.search.storage.url} does not answer. Next step: start its server, and run the "
                        "same command again to continue"
                    ) from error
            time.sleep(0 if over else self.tick)

    def look(self, observer: Observer, deadline: float) -> bool:
        """Find dead workers, fill empty seats and show the progress.

        Args:
            observer: watches the workers of the running trials.
            deadline: time after which no further trial is started, in seconds since 1970.

        Returns:
            Whether the search is done.
        """
        reap(self.search, observer)
        running = self.running()
        has_work = time.time() < deadline and self.search.has_work()
        if has_work:
            self.fill(running, deadline)
        self.show(self.search.trials())
        return not (has_work or running or self.any_lives())

    def place_all(self) -> None:
        """Start workers on all free seats, once."""
        self.fill(self.running(), time.time() + self.seconds)

    def fill(self, running: "list[FrozenTrial]", deadline: float) -> None:
        """Start workers on empty seats; a seat with a worker of an earlier driver is not empty."""
        taken = {Worker(**trial.user_attrs["worker"]).seat for trial in running if "worker" in trial.user_attrs}
        for seat in range(self.seats):
            if seat not in taken and not self.executor.lives(seat):
                self.count_failure(seat)
                self.executor.place(seat, deadline)

    def count_failure(self, seat: int) -> None:
        """Count consecutive failures of a seat's workers; a worker that was killed is no failure.

        Raises:
            UserError: there are `PATIENCE` of them.
        """
        failure = self.executor.failure(seat)
        self.failures[seat] = self.failures.get(seat, 0) + 1 if failure else 0
        if self.failures[seat] >= PATIENCE:
            raise UserError(f"{PATIENCE} workers failed one after the other, the last with {failure}")

    def running(self) -> "list[FrozenTrial]":
        """List the running trials."""
        from optuna.trial import TrialState

        return [trial for trial in self.search.trials() if trial.state == TrialState.RUNNING]

    def any_lives(self) -> bool:
        """Check whether any worker still lives."""
        return any(self.executor.lives(seat) for seat in range(self.seats))
