"""Standard output and error that take every character, and that nobody has to read to the end.

``describe | head`` closes the pipe after a few lines, a terminal is closed during a training, a service starts a command with its
streams closed, a log file lies on a full disk. None of this may stop a training or the filing of its run. Everything that
writes (print, rich, tqdm, logging, warnings) goes through the two streams, so the cure stands here alone.
"""

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

READER_GONE = {errno.EPIPE, errno.ESHUTDOWN, errno.ECONNRESET, errno.EIO}
"""Errors of a pipe, a socket or a terminal that nobody reads any more; in a regular file EIO means a broken disk."""


class LastingStream:
    """A text stream whose failures do not reach the program.

    Attributes:
        stream: the stream that is written to.
        fault: why text was lost that somebody wanted, such as a log file on a full disk; None where none was, and where the
            reader has gone away, for whom nothing is lost.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.fault: OSError | None = None
        self._gone = False
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """Write text, or lose it; returns the number of its characters."""
        self._attempt(lambda: self.stream.write(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write lines, or lose them."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write what waits, or lose it."""
        self._attempt(self.stream.flush)

    def finish(self) -> None:
        """Write what waits; what cannot be written is dropped, so that the interpreter does not try again at its end."""
        self.flush()
        if self.fault:
            self._divert()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the stream has
        """Look up everything else in the stream: its encoding, its descriptor, whether it is a terminal."""
        return getattr(self.stream, name)

    def _attempt(self, action: Callable[[], object]) -> None:
        if self._gone:
            return
        try:
            action()
        except OSError as error:
            if error.errno in READER_GONE and not self._is_regular_file():
                self._divert()
            else:
                self.fault = self.fault or error
        except ValueError:
            if not self.stream.closed:
                raise
            self._gone = True

    def _divert(self) -> None:
        """Lead the descriptor nowhere, also for libraries and processes that hold it without this object."""
        self._gone = True
        try:
            descriptor = self.stream.fileno()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
            self.stream.flush()
        except (OSError, ValueError):  # a stream without a descriptor
            return

    def _is_regular_file(self) -> bool:
        try:
            return stat.S_ISREG(os.fstat(self.stream.fileno()).st_mode)
        except (OSError, ValueError):
            return False


@contextmanager
def lasting_streams() -> Iterator[LastingStream]:
    """Let standard output and error outlive their readers; yields standard output.

    Streams that were closed before the start lead nowhere. Their descriptors are taken, so that no file of the run gets number 1
    or 2, into which libraries print.
    """
    take_closed_descriptors()
    before = sys.stdout, sys.stderr
    output, error = (LastingStream(stream or open(os.devnull, "w", encoding="utf-8")) for stream in before)  # noqa: SIM115
    sys.stdout, sys.stderr = cast(TextIO, output), cast(TextIO, error)
    try:
        yield output
    finally:
        output.finish()
        error.finish()
        sys.stdout, sys.stderr = before


def take_closed_descriptors() -> None:
    """Open the null device in the place of standard input, output and error where these are closed."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
