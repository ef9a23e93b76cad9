"""Errors that the user can fix: in a command, a file, or the environment, such as a full disk."""

import errno
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


@contextmanager
def command_line() -> Iterator[None]:
    """Let errors name flags while a command runs; elsewhere they name arguments of Python."""
    global _commands  # noqa: PLW0603 - of the process, since workers of data are threads too
    _commands += 1
    try:
        yield
    finally:
        _commands -= 1


_commands = 0


def is_command_line() -> bool:
    """Check whether a command runs, not a function from Python."""
    return _commands > 0


COMMANDS = re.compile(r"(`[^`]*`|python -m bcc_lightning[\w.]*(?: --?[\w.]+(?:[ =][^\s;,.)]+)?)*)")
"""Commands inside of a message, which stay as they are."""

FLAG = re.compile(r"--(?:data\.|model\.)?(exp|[\w.]*\w)(?:[ =]([A-Z][A-Z_0-9]*\b|true\b|false\b|null\b))?")
"""A flag, and the word in capitals that stands for its value, or a value that Python spells otherwise."""

ON_THE_LINE = "command line: "
"""How a message begins that is about an argument, not about a file."""

PYTHON = {"true": "True", "false": "False", "null": "None"}


def in_python(message: str) -> str:
    """Name arguments of Python instead of flags: ``--data.root DIR`` is ``root=DIR``, ``--model.lr is -1`` is ``lr is -1``."""

    def argument(flag: re.Match[str]) -> str:
        """Write a flag as an argument."""
        name, value = flag.groups()
        return name if value is None else f"{name}={PYTHON.get(value, value)}"

    parts = COMMANDS.split(message.removeprefix(ON_THE_LINE))
    return "".join(part if place % 2 else FLAG.sub(argument, part) for place, part in enumerate(parts))


class UserError(Exception):
    """A mistake in a command, a file or the environment, described in one or a few lines.

    The message names the value, the allowed values and the next step. Commands print it without a traceback and end with
    exit code 2 (``--traceback`` shows the traceback). Where there is no command line, it names arguments of Python.
    """

    def __str__(self) -> str:
        """Return the message, in the terms of the command line or of Python."""
        message = super().__str__()
        return message if is_command_line() else in_python(message)


class NonFiniteLossError(UserError):
    """The training loss became infinite or not a number."""


class Pruned(Exception):  # noqa: N818 - not an error
    """A search stops a trial that is not promising."""


def nearest(name: str, known: Iterable[str], form: str = "{}") -> str:
    """Ask whether the nearest known name was meant, as the end of a clause; empty if none is near. Case does not matter.

    Args:
        name: the name that is not known.
        known: those that are.
        form: what is around the name, as in ``data.{}``.
    """
    spelt = {one.lower(): one for one in known}
    found = get_close_matches(name.lower(), spelt, n=1)
    return f"; did you mean {form.format(spelt[found[0]])}?" if found else ""


MAKE_SPACE = (
    "Next step: free space there, or write elsewhere: --tracking.folder DIR for runs, BCC_CACHE_DIR for decoded images, --out "
    "for what a command writes"
)
ALLOW = "Next step: allow this user to read and write there, or name another place"
FEWER_FILES = "Next step: raise the limit with `ulimit -n 4096`, or lower --data.num_workers"
RENAME = "Next step: rename the file or folder; `convmv -f latin1 -t utf8 -r DIR` does it for a whole folder"
CHECK_DEVICE = "Next step: check the disk, or the network that it is mounted over"

NEXT_STEPS = {
    errno.ENOSPC: MAKE_SPACE,
    errno.EDQUOT: MAKE_SPACE,
    errno.EFBIG: "Next step: raise the limit of file sizes (`ulimit -f unlimited`), or write to another disk",
    errno.EACCES: ALLOW,
    errno.EPERM: ALLOW,
    errno.EROFS: ALLOW,
    errno.ENAMETOOLONG: "Next step: choose a shorter name",
    errno.ENOTDIR: "Next step: name a folder; a part of this path is a file",
    errno.EISDIR: "Next step: name a file; this is a folder",
    errno.ELOOP: "Next step: correct the symbolic links, which are circular",
    errno.EMFILE: FEWER_FILES,
    errno.ENFILE: FEWER_FILES,
    errno.EIO: CHECK_DEVICE,
    errno.ESTALE: CHECK_DEVICE,
}
"""What the user can do about an error of the operating system; other errors count as bugs."""

DATABASE = {
    "disk is full": MAKE_SPACE,
    "readonly database": ALLOW,
    "unable to open database file": ALLOW,
    "disk I/O error": CHECK_DEVICE,
}
"""The same for SQLite, which has no error numbers of its own for them."""

PROCESSES = {
    "out of shared memory": "Next step: give a container more with `--shm-size 8g`, or load in one process: --data.num_workers 0",
    "unable to open shared memory object": FEWER_FILES,
    "items of ancdata": FEWER_FILES,
    "Too many open files": FEWER_FILES,
    "can't start new thread": "Next step: raise the limit of processes (`ulimit -u`), or lower --data.num_workers",
}
"""The same for the messages of torch, whose loading processes do not pass error numbers on."""


def fault_of(error: BaseException) -> str | None:
    """Describe the fault of the environment that caused an error.

    Args:
        error: the error as raised.

    Returns:
        The fault, with its path, and the next step; None if the error has another cause.
    """
    for each in causes(error):
        if isinstance(each, OSError) and each.errno in NEXT_STEPS:
            return f"{place(each)}{each.strerror or each}. {NEXT_STEPS[each.errno]}"
        if isinstance(each, UnicodeEncodeError) and each.reason == "surrogates not allowed":
            return f"{each.object[max(0, each.start - 100) : each.start + 100]!a} is not UTF-8. {RENAME}"
        if isinstance(each, FileNotFoundError) and "temporary directory" in str(each):
            return f"{each.strerror}. Next step: set TMPDIR to a folder that can be written to"
        known = DATABASE if isinstance(each, sqlite3.Error) else PROCESSES if isinstance(each, RuntimeError) else {}
        for sign, step in known.items():
            if sign in str(each):
                what = "the tracking database: " if known is DATABASE else ""
                return f"{what}{' '.join(str(each).split())[:300]}. {step}"
    return None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those from which it was raised."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__


def place(error: OSError) -> str:
    """Format the path of an error as the beginning of a message; if a file was moved or copied, the target."""
    path = error.filename2 or error.filename
    return "" if path is None or isinstance(path, int) else f"{path if isinstance(path, str) else repr(path)}: "
