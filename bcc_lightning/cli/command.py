"""What all commands share: exit codes, quiet libraries, interruptions, and output that lasts."""

import argparse
import errno
import logging
import os
import signal
import stat
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TextIO, cast

from bcc_lightning.errors import RENAME, UserError, command_line, fault_of
from bcc_lightning.printable import printable
from bcc_lightning.processes import STOPPING
from bcc_lightning.trust import OPTION, trusting

TRUST = OPTION.removeprefix("--")

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

NOISE = (
    r".*does not have many workers.*",  # the number of workers is chosen on purpose
    r".*The number of training batches.*is smaller than the logging interval.*",
    r".*LightningCLI's args parameter.*",  # a command passes its own arguments on
    r".*exists and is not empty.*",  # a resumed run goes on in its own folder
    r".*treespec.*",
    r".*sync_dist=True.*",  # metrics are added up over all processes before they are logged
    r".*module\(s\) in eval mode at the start of training.*",  # frozen batch normalisation is held there
    r".*The `srun` command is available on your system but is not used.*",  # on a cluster the search places its trials
    r".*Using `DistributedSampler` with the dataloaders.*",  # ours does not fill up test cells
)


def run_command(body: Callable[[list[str]], int | None], argv: list[str] | None = None) -> int:
    """Run a command and turn what happens into an exit code.

    Args:
        body: the command; takes the arguments, may return an exit code of its own.
        argv: arguments without the program's name; by default those of the process.

    Returns:
        0, or the command's own code, when all was done, 2 after an error that a person can mend, 130 after an interruption.
        Other exceptions pass.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    quieten()
    if threading.current_thread() is threading.main_thread():
        for number in STOPPING:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` wants it
                signal.signal(number, interrupt)
    with command_line(), lasting_streams() as output:
        code = outcome(body, arguments)
        output.flush()
        if output.fault and code == 0:
            print(f"error: the output of this command could not be written ({output.fault}); free space there", file=sys.stderr)
            return EXIT_USER_ERROR
        return code


def outcome(body: Callable[[list[str]], int | None], arguments: list[str]) -> int:
    """Run a command and report the errors that a person can mend; arguments and exit codes as `run_command`."""
    try:
        refuse_other_encodings(arguments)
        found, rest = separate([argument for argument in arguments if argument != "--traceback"], [TRUST])
        with trusting(found[TRUST]):
            return body(rest) or 0
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:
        reason = str(error) if isinstance(error, UserError) or is_misconfiguration(error) else fault_of(error)
        if reason is None:
            raise
        if "--traceback" in arguments:
            traceback.print_exc()
        print(printable(f"error: {reason}"), file=sys.stderr)
        return EXIT_USER_ERROR


def is_misconfiguration(error: Exception) -> bool:
    """Check whether Lightning refuses a configuration; it is not imported for that."""
    return any(kind.__name__ == "MisconfigurationException" for kind in type(error).__mro__)


def refuse_other_encodings(arguments: list[str]) -> None:
    """Refuse arguments that are not UTF-8, which neither a configuration nor a run can hold.

    Raises:
        UserError: with the first of them.
    """
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"argument {argument!a} is not UTF-8. {RENAME}") from error


def interrupt(number: int, frame: FrameType | None) -> None:
    """Treat SIGTERM, which schedulers send, and SIGHUP, of a closed terminal, as Ctrl-C; Lightning would end the epoch first."""
    raise KeyboardInterrupt


def quieten() -> None:
    """Silence what libraries say that helps nobody here."""
    lightning = ("pytorch.utilities.rank_zero", "fabric.utilities.seed", "fabric.utilities.distributed")
    for name in (*(f"lightning.{module}" for module in lightning), "alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # shows the traceback of an error that it also raises
    for pattern in NOISE:
        warnings.filterwarnings("ignore", message=pattern)


def separate(argv: list[str], names: Iterable[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Separate options, with their values, from all other arguments.

    Args:
        argv: the arguments.
        names: of the options, e.g. ``exp``; both ``--exp X`` and ``--exp=X`` are understood.

    Returns:
        The values of each option in order, and the arguments that are left.

    Raises:
        UserError: an option has no value.
    """
    splitter = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in names:
        splitter.add_argument(f"--{name}", dest=name, action="append", default=[])
    try:
        found, rest = splitter.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise UserError(f"{error.argument_name} needs a value") from error
    return vars(found), rest


def without(argv: list[str], *names: str) -> list[str]:
    """Leave options and their values out of a list of arguments."""
    return separate(argv, names)[1]


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
        """Redirect the descriptor to nowhere, also for libraries and processes that hold it without this object."""
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
    """Keep standard output and error usable after their readers are gone; yields standard output.

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
