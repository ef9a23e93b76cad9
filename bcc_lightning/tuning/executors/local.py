"""Workers as processes on this machine: one for each GPU, or one for each share of the cores."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bcc_lightning.files import write_json
from bcc_lightning.tuning.executors.base import Assignment, last_line
from bcc_lightning.tuning.heartbeat import Worker
from bcc_lightning.tuning.study import OpenStudy
from bcc_lightning.tuning.worker import TrialWorker

STOP_SECONDS = 60.0
"""Seconds that workers have to stop cleanly before they are killed."""


@dataclass(frozen=True)
class Seats:
    """How this machine is divided among workers.

    Attributes:
        count: number of workers.
        gpus: names of the GPUs as in ``CUDA_VISIBLE_DEVICES``; empty where only CPU cores are used.
        threads: threads of each trial.
    """

    count: int
    gpus: Sequence[str]
    threads: int

    @classmethod
    def of_this_machine(cls, wanted: int | None, gpus: int) -> "Seats":
        """Divide this machine among workers.

        Args:
            wanted: number of workers; None for one for each GPU, or one where there is no GPU.
            gpus: number of GPUs that this process sees.

        Returns:
            The seats; the CPU cores are shared evenly, but a trial has at most ``OMP_NUM_THREADS`` threads where that is set.
        """
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        names = [name for name in visible.split(",") if name] or [str(number) for number in range(gpus)]
        count = wanted or gpus or 1
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        limit = os.environ.get("OMP_NUM_THREADS", "")
        share = min(cores // count, int(limit) if limit.isdecimal() else cores)
        return cls(count, names[:gpus], max(1, share))

    def environment(self, seat: int) -> dict[str, str]:
        """Return the environment variables that limit the trials of a seat to its share."""
        device = {"CUDA_VISIBLE_DEVICES": self.gpus[seat % len(self.gpus)]} if self.gpus else {}
        return {"OMP_NUM_THREADS": str(self.threads), **device}

    def flags(self, loading: int) -> list[str]:
        """Return flags that limit the processes that load data to the share of the cores, less one for training.

        Args:
            loading: number of such processes that a trial alone on this machine would start.
        """
        return ["--data.num_workers", str(min(loading, self.threads - 1))]


class Local:
    """Runs workers as processes, and takes over those that an earlier driver left on this machine.

    Args:
        assignment: study of the workers, and what they need to run its trials.
        seats: how the machine is divided.
    """

    outlives_this_process = True

    def __init__(self, assignment: Assignment, seats: Seats) -> None:
        self.assignment = assignment
        self.seats = seats
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def place(self, seat: int, deadline: float) -> None:
        """Start a worker on a free seat."""
        log = self.assignment.log(seat)
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "bcc_lightning.tuning.worker", *self.assignment.arguments(seat, deadline)]
        with log.open("ab") as output:
            self._processes[seat] = subprocess.Popen(
                command,
                env={**os.environ, **self.seats.environment(seat)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # outlives this process, and gets no Ctrl-C from its terminal
            )
        write_json(self._note(seat), Worker.of(self._processes[seat].pid, seat).as_dict())

    def lives(self, seat: int) -> bool:
        """Check whether the worker of a seat still runs."""
        if seat in self._processes:
            return self._processes[seat].poll() is None
        return left_behind(self._note(seat)) is not None

    def failure(self, seat: int) -> str | None:
        """Return why the last worker of a seat failed; None where it did not fail."""
        if seat not in self._processes or (self._processes[seat].poll() or 0) <= 0:  # a killed worker is no failure
            return None
        return last_line(self.assignment.log(seat))

    def stop(self) -> None:
        """Stop all workers cleanly; kill those that take too long, after which their trials exit by themselves."""
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while self._living() and time.monotonic() < deadline:
            time.sleep(0.05)
        self._signal(signal.SIGKILL)
        while self._living():
            time.sleep(0.05)

    def _signal(self, number: signal.Signals) -> None:
        for process in self._living():
            with suppress(ProcessLookupError):
                os.kill(process, number)

    def _living(self) -> list[int]:
        """List the process numbers of all living workers, including those of earlier drivers."""
        own = [process.pid for process in self._processes.values() if process.poll() is None]
        left = [worker.process for note in self.assignment.logs.glob(self._note("*").name) if (worker := left_behind(note))]
        return sorted({*own, *left})

    def _note(self, seat: int | str) -> Path:
        """Return the path of the file that records, for later drivers, the process of a seat's worker."""
        return self.assignment.logs / f"{self.assignment.name(seat)}.json"


def left_behind(note: Path) -> Worker | None:
    """Return the worker that an earlier driver started, if it still lives; None always where a system has no ``/proc``."""
    if not note.is_file():
        return None
    worker = Worker(**json.loads(note.read_text(encoding="utf-8")))
    return worker if worker.is_seen else None


class InProcess:
    """Runs workers as threads of this process.

    Args:
        assignment: study of the workers, and what they need to run its trials.
        seats: how the machine is divided.
    """

    outlives_this_process = False

    def __init__(self, assignment: Assignment, seats: Seats) -> None:
        self.assignment = assignment
        self.seats = seats
        self._stop = threading.Event()
        self._threads: dict[int, threading.Thread] = {}
        self._failures: dict[int, str] = {}

    def place(self, seat: int, deadline: float) -> None:
        """Start a worker on a free seat."""
        self._failures.pop(seat, None)
        self._threads[seat] = threading.Thread(target=self._work, args=(seat, deadline), daemon=True, name=f"worker-{seat}")
        self._threads[seat].start()

    def lives(self, seat: int) -> bool:
        """Check whether the worker of a seat still runs."""
        return seat in self._threads and self._threads[seat].is_alive()

    def failure(self, seat: int) -> str | None:
        """Return why the last worker of a seat failed; None where it did not fail."""
        return self._failures.get(seat)

    def stop(self) -> None:
        """Stop all workers cleanly, and wait until they have ended."""
        self._stop.set()
        for thread in self._threads.values():
            thread.join()

    def _work(self, seat: int, deadline: float) -> None:
        try:
            search = OpenStudy.load(self.assignment.storage, self.assignment.study)
            flags, environment = self.assignment.flags_of(seat), self.seats.environment(seat)
            TrialWorker(search, seat, deadline, flags, environment, self._stop).work()
        except Exception as error:  # otherwise it would only be printed
            self._failures[seat] = f"{type(error).__name__}: {error}"
