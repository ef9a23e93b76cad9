"""A trial's process as its worker handles it: start, messages, stop, and the reason of its end."""

import json
import math
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from bcc_lightning.tuning.channel import VARIABLE, Greeting
from bcc_lightning.tuning.plan import Plan
from bcc_lightning.tuning.study import FAILED, OUT_OF_MEMORY

MEMORY_ERRORS = ("OutOfMemoryError", "MemoryError", "out of memory", "can't allocate memory", "cannot allocate memory")
"""Words in the out-of-memory errors of torch, Python and torch's allocator for the CPU."""


@dataclass(frozen=True)
class TrialEnd:
    """How a trial ended.

    Attributes:
        values: a value for each metric; None where the trial failed.
        ending: how the trial failed, see `bcc_lightning.tuning.study`; None where it did not.
        reason: explanation for people.
    """

    values: list[float] | None
    ending: str | None = None
    reason: str = ""


def read_end(plan: Plan, last: dict[str, Any] | None, exit_code: int, last_words: str) -> TrialEnd:
    """Determine how a trial ended that was not stopped.

    Args:
        plan: the search.
        last: the trial's closing message; None where it sent none.
        exit_code: exit code of its process; negative for a signal.
        last_words: last line of its output.
    """
    if last and last["status"] == "FINISHED":  # even if its run could not be sent to MLflow, which the exit code shows
        return read_figures(plan, last["figures"])
    reason = (last or {}).get("failure") or describe_exit(exit_code, last_words)
    ending = OUT_OF_MEMORY if any(sign in reason for sign in MEMORY_ERRORS) else FAILED
    return TrialEnd(None, ending, reason)


def read_figures(plan: Plan, figures: dict[str, float]) -> TrialEnd:
    """Select the search's metrics from the values of a finished trial."""
    if missing := [metric for metric in plan.metrics if metric not in figures]:
        return TrialEnd(None, FAILED, f"there is no {' or '.join(missing)}; there are: {', '.join(sorted(figures))}")
    values = [float(figures[metric]) for metric in plan.metrics]
    if not all(map(math.isfinite, values)):
        named = ", ".join(f"{metric} is {value}" for metric, value in zip(plan.metrics, values, strict=True))
        return TrialEnd(None, FAILED, f"not finite: {named}")
    return TrialEnd(values)


def describe_exit(exit_code: int, last_words: str) -> str:
    """Describe how a process ended that sent no closing message."""
    if exit_code < 0:
        memory = " (the system does that when memory runs out)" if -exit_code == signal.SIGKILL else ""
        return f"killed by {signal.Signals(-exit_code).name}{memory}"
    return f"exit code {exit_code}: {last_words}"


LISTEN_SECONDS = 0.2
"""Largest delay in seconds until a stop signal is noticed."""

ENDING_SECONDS = 30.0
"""Seconds that a trial has to stop cleanly before it is killed."""

TAIL = 4000
"""Characters at the end of a trial's output that are searched for the reason of its end."""


@contextmanager
def blocked(number: signal.Signals) -> Iterator[None]:
    """Block a signal for processes that are started within: SLURM sends it to a whole job, but it is meant for the worker."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class TrialProcess(AbstractContextManager["TrialProcess"]):
    """A trial's process, which has ended when the context is left.

    Args:
        command: program and arguments.
        environment: environment variables, in addition to those of this process.
        greeting: what the worker tells the trial about itself.
        log: file for its output.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], greeting: Greeting, log: Path) -> None:
        self.log = log
        self._start = time.monotonic()
        log.parent.mkdir(parents=True, exist_ok=True)
        self._ours, theirs = socket.socketpair()
        with theirs, log.open("ab") as output, blocked(signal.SIGUSR2):
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **environment, VARIABLE: str(theirs.fileno())},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal must not reach it directly
            )
        self.send(asdict(greeting))

    @property
    def age(self) -> float:
        """Seconds since the start of the process."""
        return time.monotonic() - self._start

    def send(self, message: dict[str, Any]) -> None:
        """Send a message as a line of JSON; if the process has ended, nothing is sent."""
        try:
            self._ours.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return

    def messages(self, is_over: Callable[[], bool]) -> Iterator[dict[str, Any]]:
        """Yield the messages of the trial until it closes the channel or `is_over` returns True."""
        received = b""
        while not is_over():
            if not select.select([self._ours], [], [], LISTEN_SECONDS)[0]:
                continue
            try:
                part = self._ours.recv(65536)
            except ConnectionError:
                return
            if not part:
                return
            *lines, received = (received + part).split(b"\n")
            yield from map(json.loads, lines)

    def wait(self) -> int:
        """Wait until the process has ended, and kill it if it takes too long after closing the channel.

        Returns:
            Its exit code, or the negative number of the signal that killed it.
        """
        try:
            return self._process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill()
            return self._process.wait()

    def stop(self) -> None:
        """Stop the trial cleanly, as Ctrl-C does, so that it stores its results; kill it if that takes too long."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self.wait()

    def last_words(self) -> str:
        """Return the last error in its output, or else the last line."""
        lines = self.log.read_text(encoding="utf-8", errors="replace")[-TAIL:].strip().splitlines() or [""]
        errors = [line for line in lines if line.startswith("error: ")]
        return (errors or lines)[-1].removeprefix("error: ")

    def _kill(self) -> None:
        """Kill the process and the processes that load its data."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the channel, on which a running trial exits; kill it if it does not."""
        self._ours.close()
        deadline = time.monotonic() + LISTEN_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        if self._process.poll() is None:
            self._kill()
            self._process.wait()
