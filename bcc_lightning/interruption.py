"""The signals that stop a command, and moments in which they have to wait."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

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
