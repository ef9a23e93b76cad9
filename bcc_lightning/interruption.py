"""Moments in which Ctrl-C and SIGTERM have to wait."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interruption_held(*, drop: bool = False) -> Iterator[None]:
    """Hold off Ctrl-C and SIGTERM, so that nothing is left half done: a transaction open, an artifact half written.

    Outside the main thread, where no signal arrives, it does nothing.

    Args:
        drop: forget what arrived in the meantime; by default it takes effect afterwards.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[tuple[int, FrameType | None]] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in handlers:
        signal.signal(number, lambda *call: arrived.append(call))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler or signal.SIG_DFL)
    if arrived and not drop:
        signal.raise_signal(arrived[0][0])
