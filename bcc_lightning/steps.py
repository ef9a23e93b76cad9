"""What a command says of its work: one line for each step, with the seconds that it took.

Only commands say it, only the first of several processes, and no run that is one of many, such as a fold or a trial. Nothing is
imported that takes time to load: the first step of a command is to load the libraries.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from bcc_lightning.errors import is_command_line
from bcc_lightning.printable import printable

RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
"""Environment variables that hold the number of a process, in the order in which Lightning asks for them."""

MINUTE, HOUR = 60, 3600

_hushed = ContextVar("hushed", default=False)


@contextmanager
def hushed(quiet: bool = True) -> Iterator[None]:
    """Say nothing of steps while the context is open, if `quiet`: of many runs, each would fill a screen."""
    token = _hushed.set(quiet or _hushed.get())
    try:
        yield
    finally:
        _hushed.reset(token)


def is_hushed() -> bool:
    """Check whether this is one of many runs, of which a line each is enough."""
    return _hushed.get()


def is_heard() -> bool:
    """Check whether steps are said here."""
    rank = next((os.environ[name] for name in RANKS if name in os.environ), "0")
    return is_command_line() and not is_hushed() and rank == "0"


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is done while the context is open, and then how long it took.

    Args:
        what: such as ``reading the cells``; shorter than a line, since a terminal goes back only to where its last line begins.
    """
    if not is_heard():
        yield
        return
    line, start = printable(f"{what} ..."), time.perf_counter()
    print(line, end="", flush=True)
    try:
        yield
    except BaseException:
        print(flush=True)  # what follows is an error, which begins a line
        raise
    again = f"\r{line}" if is_terminal() else ""  # a progress bar may have been where the line was
    print(f"{again} {duration(time.perf_counter() - start)}", flush=True)


def is_terminal() -> bool:
    """Check whether standard output is a terminal; a closed one is none."""
    try:
        return sys.stdout.isatty()
    except ValueError:
        return False


def duration(seconds: float) -> str:
    """Format a time as a person would say it: ``0.4 s``, ``42 s``, ``3 min 22 s``, ``2 h 5 min``."""
    if seconds < 9.95:  # noqa: PLR2004 - what rounds to 10
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE} s"
    minutes = round(seconds / MINUTE)
    return f"{minutes // MINUTE} h {minutes % MINUTE} min"
