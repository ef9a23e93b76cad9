"""Processes: the identity of this one, whether another is still running, and the signals that stop this one."""

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
"""Seconds between two signs of life; each costs a few milliseconds at most."""


@dataclass(frozen=True)
class Process:
    """The identity of a process.

    Attributes:
        machine: identifies the machine, its boot and its namespace of process numbers.
        process: number of the process.
        started: start of the process, in the machine's own ticks, because process numbers are reused.
    """

    machine: str
    process: int
    started: str

    @classmethod
    def this(cls) -> "Process":
        """Return the identity of this process."""
        return cls(this_machine(), os.getpid(), start_of(os.getpid()) or "")

    def as_dict(self) -> dict[str, Any]:
        """Return a plain dict for JSON."""
        return asdict(self)

    @property
    def has_vanished(self) -> bool:
        """Whether it ran on this machine and has ended; False also if that is unknown."""
        if not Path("/proc/self").exists():
            return False
        return self.machine == this_machine() and start_of(self.process) != self.started

    @property
    def is_seen(self) -> bool:
        """Whether it runs on this machine; False also if that is unknown."""
        return self.machine == this_machine() and self.started != "" and start_of(self.process) == self.started


def this_machine() -> str:
    """Return the identity of this machine; it differs between containers on one host, and after a restart."""
    processes = Path("/proc/self/ns/pid")
    return ":".join([socket.gethostname(), boot_id(), os.readlink(processes) if processes.is_symlink() else ""])


def boot_id() -> str:
    """Return the kernel's random boot id, which all containers of a host share; the host name if there is none."""
    file = Path("/proc/sys/kernel/random/boot_id")
    return file.read_text().strip() if file.is_file() else socket.gethostname()


def start_of(process: int) -> str | None:
    """Return when a process of this machine started; None if it does not exist, or is a zombie."""
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else fields[18]


@contextmanager
def signs_of_life(give: Callable[[int], None], pause: float) -> Iterator[None]:
    """Send signs of life while the context is open.

    Args:
        give: sends the sign with a number, which counts from 1.
        pause: seconds between two signs.
    """
    done = threading.Event()

    def keep_on() -> None:
        """Send signs until the context closes."""
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
"""Signals that stop a command as Ctrl-C does: from a scheduler, and from a closed terminal."""


@contextmanager
def interruption_held(*, drop: bool = False) -> Iterator[None]:
    """Delay Ctrl-C, SIGTERM and SIGHUP, so that no transaction is left open and no artifact half written.

    Outside the main thread, where no signal arrives, it does nothing.

    Args:
        drop: discard signals that arrive while the context is open; by default they take effect afterwards.
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
