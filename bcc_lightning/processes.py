"""Processes: which one this is, whether another still lives, and the signals that stop this one."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

BEAT_SECONDS = 5.0
"""Pause between two signs of life; one costs a few milliseconds at most."""


@dataclass(frozen=True)
class Process:
    """A process, by what tells it from all others.

    Attributes:
        machine: names the machine, its start and its space of process numbers.
        process: number of the process.
        started: when the process started, in the machine's own ticks; numbers are used again.
    """

    machine: str
    process: int
    started: str

    @classmethod
    def this(cls) -> "Process":
        """Describe this process."""
        return cls(this_machine(), os.getpid(), start_of(os.getpid()) or "")

    def as_dict(self) -> dict[str, Any]:
        """Return a plain dict for JSON."""
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
    processes = Path("/proc/self/ns/pid")
    return ":".join([socket.gethostname(), boot_id(), os.readlink(processes) if processes.is_symlink() else ""])


def boot_id() -> str:
    """Return the kernel's random name of its last start, which all containers of a host share; its host name elsewhere."""
    file = Path("/proc/sys/kernel/random/boot_id")
    return file.read_text().strip() if file.is_file() else socket.gethostname()


def start_of(process: int) -> str | None:
    """Return when a process of this machine started; None where it is gone, or has ended and only waits for its parent."""
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else fields[18]


@contextmanager
def signs_of_life(give: Callable[[int], None], pause: float) -> Iterator[None]:
    """Send signs of life meanwhile.

    Args:
        give: raises a mark to a number.
        pause: seconds between two.
    """
    done = threading.Event()

    def keep_on() -> None:
        """Send one sign after the other."""
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


STOPPING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Signals that stop a command as Ctrl-C does: of a scheduler, and of a terminal that is closed."""


@contextmanager
def interruption_held(*, drop: bool = False) -> Iterator[None]:
    """Hold off Ctrl-C, SIGTERM and SIGHUP, so that nothing is left half done: a transaction open, an artifact half written.

    Outside the main thread, where no signal arrives, it does nothing.

    Args:
        drop: forget what arrived in the meantime; by default it takes effect afterwards.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[tuple[int, FrameType | None]] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, *STOPPING)}
    for number, handler in handlers.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, lambda *call: arrived.append(call))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler or signal.SIG_DFL)
    if arrived and not drop:
        signal.raise_signal(arrived[0][0])
