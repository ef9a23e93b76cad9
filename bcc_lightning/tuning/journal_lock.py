"""A lock for Optuna's journal files."""

from filelock import FileLock
from optuna.storages.journal._file import BaseJournalFileLock  # what `JournalFileBackend` takes; exported nowhere else

from bcc_lightning.tuning.waiting import WAIT_SECONDS


class JournalLock(BaseJournalFileLock):
    """The lock of a journal file, which the system frees when its holder dies; Optuna's waits 30 seconds for it.

    Args:
        file: the journal file.
    """

    def __init__(self, file: str) -> None:
        self._lock = FileLock(f"{file}.lock", timeout=WAIT_SECONDS, thread_local=False, is_singleton=False)

    def acquire(self) -> bool:
        """Wait for the lock and take it."""
        self._lock.acquire()
        return True

    def release(self) -> None:
        """Give it back."""
        self._lock.release()
