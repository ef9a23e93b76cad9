"""Only one process trains a run: it holds a lock on the run's folder, and shows that it lives.

The lock is the system's own. It ends with its holder however that ends, and all containers of a host see the same one, so that on
one host nothing else is asked. A folder may also be shared between hosts, of which some file systems do not lock across, or be
copied from a machine that was switched off: there a file that is touched every few seconds tells whether somebody still trains.
"""

import errno
import fcntl
import os
import secrets
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from weakref import WeakSet

from bcc_lightning.errors import UserError
from bcc_lightning.files import clear_drafts, read_json, write_json
from bcc_lightning.processes import BEAT_SECONDS, boot_id, signs_of_life
from bcc_lightning.tracking.run_files import RunFolder

GRACE_SECONDS = 60.0
"""Silence after which a process on another host counts as dead; network file systems may tell of a change that late."""

LONG_AGO_SECONDS = 600.0
"""Silence by the clock of the file system for which nobody need wait and watch."""

PATIENCE_SECONDS = 1.0
"""Time to try again for a lock that is held: whoever only looks whether a run is trained holds it for a moment."""

EXIT_REPLACED = 75

HELD: "WeakSet[Claim]" = WeakSet()
"""The claims of this process."""


@dataclass(frozen=True)
class Holder:
    """A process that trains a run, as it has written it into the run's folder.

    Attributes:
        boot: the start of its host's kernel.
        host: name of its host, or container.
        process: number of the process there.
        token: random, tells it from all others.
    """

    boot: str
    host: str
    process: int
    token: str

    @classmethod
    def this(cls) -> "Holder":
        """Describe this process."""
        return cls(boot_id(), socket.gethostname(), os.getpid(), secrets.token_hex(8))

    def __str__(self) -> str:
        """Format for people: where the process is."""
        return f"process {self.process} on {self.host}"


class Claim:
    """The right to train a run, held until `release` or the end of the process.

    Args:
        folder: the run's folder.
        shared: several processes may hold it together, such as the drivers of one search.

    Raises:
        UserError: another process trains the run, or its folder cannot be written.
    """

    def __init__(self, folder: RunFolder, *, shared: bool = False) -> None:
        self.folder = folder
        self._stack = ExitStack()
        self._lock: int | None = None
        self._holder = Holder.this()
        try:
            self._take(shared)
        except FileNotFoundError as error:
            self.release()
            raise UserError(f"run {folder.path.name} has just finished, or its folder {folder.path} was deleted") from error
        except OSError as error:
            self.release()
            raise UserError(
                f"the folder of run {folder.path.name} cannot be written ({error}). Next step: make it writable, or keep runs "
                "elsewhere with --tracking.folder DIR"
            ) from error
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Release the right."""
        self._stack.close()
        with suppress(OSError):
            holder = read_holder(self.folder)
            if self._lock is not None and holder is not None and holder.token == self._holder.token:
                self.folder.alive.unlink(missing_ok=True)
        self.forget()

    def forget(self) -> None:
        """Close the lock's file; it stays locked where a forked process still has it open."""
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None
        HELD.discard(self)

    def _take(self, shared: bool) -> None:
        self._lock, is_exclusive = open_lock(self.folder.lock, shared, PATIENCE_SECONDS)
        if self._lock is None:
            raise trained_elsewhere(self.folder)
        HELD.add(self)
        if not self.folder.lock.exists():  # its last holder has deleted the folder in the meantime
            raise FileNotFoundError(self.folder.lock)
        if not shared:
            wait_for_silence(self.folder, self._lock, is_exclusive)
            clear_drafts(self.folder.path)
        write_json(self.folder.alive, asdict(self._holder))
        self._stack.enter_context(signs_of_life(lambda _: self._give_sign(shared), BEAT_SECONDS))

    def _give_sign(self, shared: bool) -> None:
        """Touch the file, and notice when another host has taken this process for dead: two must not go on."""
        with suppress(OSError):  # the folder may be out of reach for a moment
            holder = read_holder(self.folder)
            if holder is not None and holder.token != self._holder.token and not shared:
                run = self.folder.path.name
                print(f"run {run} was taken over by {holder}, since this process had stood still; it ends", file=sys.stderr)
                sys.stderr.flush()
                os._exit(EXIT_REPLACED)
            os.utime(self.folder.alive)


def forget_in_child() -> None:
    """Close the locks' files in a forked process, such as one that loads data: it would hold them beyond its parent's death."""
    for claim in list(HELD):
        claim.forget()


os.register_at_fork(after_in_child=forget_in_child)


@contextmanager
def claimed(folder: RunFolder) -> Iterator[Claim | None]:
    """Hold the right to train a run in this context; on processes that only train along with the first, hold nothing.

    Raises:
        UserError: another process trains the run, or its folder cannot be written.
    """
    from lightning.pytorch.utilities import rank_zero_only

    if rank_zero_only.rank != 0:  # type: ignore[attr-defined]
        yield None
        return
    claim = Claim(folder)
    try:
        yield claim
    finally:
        claim.release()


def is_trained(folder: RunFolder) -> bool:
    """Check whether a process trains a run, as far as its folder shows it at once; in doubt it does."""
    if not folder.lock.is_file():
        return False
    try:
        lock, is_exclusive = open_lock(folder.lock)
    except OSError:
        return True
    if lock is None:
        return True
    try:
        return may_live(folder, is_exclusive) and silence(folder, lock) <= GRACE_SECONDS
    finally:
        os.close(lock)


def open_lock(file: Path, shared: bool = False, patience: float = 0.0) -> tuple[int | None, bool]:
    """Open a file and lock it.

    Args:
        file: the file; made if it does not exist.
        shared: with others that share it.
        patience: seconds to try.

    Returns:
        Its descriptor, None where another process has locked it; and whether the file system locks at all.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            return descriptor, True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                return None, True
            time.sleep(0.05)
        except OSError as error:
            if error.errno in {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}:
                return descriptor, False
            os.close(descriptor)
            raise


def read_holder(folder: RunFolder) -> Holder | None:
    """Read who trains a run, or trained it when it was cut off; None if it ended cleanly."""
    content = read_json(folder.alive)
    return Holder(**content) if content else None


def may_live(folder: RunFolder, is_exclusive: bool) -> bool:
    """Check whether the process that a run's folder names may live although its lock is free: on another host, or unlocked."""
    holder = read_holder(folder)
    return holder is not None and (holder.boot != boot_id() or not is_exclusive)


def silence(folder: RunFolder, lock: int) -> float:
    """Measure the time since the last sign of life, in seconds, by the clock of the file system alone."""
    try:
        os.utime(lock)
        return os.fstat(lock).st_mtime - folder.alive.stat().st_mtime
    except OSError:
        return 0.0


def wait_for_silence(folder: RunFolder, lock: int, is_exclusive: bool) -> None:
    """Wait until it is certain that a process on another host, which a run's folder names, does not train any more.

    Raises:
        UserError: it does.
    """
    if not may_live(folder, is_exclusive) or silence(folder, lock) > LONG_AGO_SECONDS:
        return
    print(
        f"run {folder.path.name} was last trained by {read_holder(folder)}; waiting {GRACE_SECONDS:.0f} seconds for a sign of it"
    )
    deadline, mark = time.monotonic() + GRACE_SECONDS, last_sign(folder)
    while time.monotonic() < deadline:
        time.sleep(min(1.0, GRACE_SECONDS / 4))
        if last_sign(folder) != mark and read_holder(folder):
            raise trained_elsewhere(folder)


def last_sign(folder: RunFolder) -> tuple[Holder | None, int]:
    """Look at the last sign of life: who gave it, and when. The file is opened, so that a network file system asks its server."""
    try:
        with folder.alive.open("rb") as file:
            return read_holder(folder), os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return None, 0


def trained_elsewhere(folder: RunFolder) -> UserError:
    """Describe that another process trains the run."""
    holder = read_holder(folder)
    return UserError(
        f"run {folder.path.name} is being trained by {holder or 'another process'}. Next step: wait until it has finished, or "
        "stop it there first"
    )
