"""The storage of a study: a SQLite file, a journal file or a PostgreSQL database, and the lock around it."""

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlparse

from filelock import FileLock

from bcc_lightning.errors import UserError
from bcc_lightning.optional_imports import optional_import
from bcc_lightning.tracking.place import sqlite_file, sqlite_uri
from bcc_lightning.tuning.optuna_private import JournalLock

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from sqlalchemy.engine import Dialect, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection


WAIT_SECONDS = 120.0
"""Seconds that a process waits for a lock, which others hold for milliseconds, or for a server that does not answer."""


LOOK_SECONDS = 0.5
"""Pause between two attempts to reach a server that does not answer."""

JOURNAL = "journal:"

POSTGRESQL = "postgresql+psycopg"
"""SQLAlchemy's name for PostgreSQL with psycopg 3."""

ALLOWED = "a SQLite URL (sqlite:///FILE), a journal (journal:FILE or FILE.log), or postgresql://USER@HOST/DATABASE"


@dataclass(frozen=True)
class Storage:
    """A place where studies are stored.

    Attributes:
        url: ``sqlite:///FILE``, ``journal:FILE`` or ``postgresql+psycopg://...``, without a password.
    """

    url: str

    @property
    def file(self) -> Path | None:
        """Path of the file; None for a database server."""
        if self.url.startswith(JOURNAL):
            return Path(self.url.removeprefix(JOURNAL))
        return sqlite_file(self.url)

    def reach(self) -> None:
        """Check once whether the server answers; later failures of the server are waited out.

        Raises:
            UserError: a package is missing, or the server does not answer.
        """
        if self.file is None:
            with self._explained(), self._server().connect():
                return

    def open(self) -> "BaseStorage":
        """Connect to tables or a file that `create` has made.

        Raises:
            UserError: a package is missing, or the server does not answer.
        """
        return self._connect(create=False)

    def create(self) -> "BaseStorage":
        """Connect, and create tables or file where they are missing; call it within `lock`."""
        return self._connect(create=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the storage's lock against all other processes and threads; it is free at once when its holder is killed."""
        if self.file:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            # Each call opens a lock of its own, so that the system also separates threads of one process.
            with FileLock(f"{self.file}.lock-of-slots", timeout=WAIT_SECONDS, thread_local=False, is_singleton=False):
                yield
            return
        with self._advisory_lock():
            yield

    def dashboard(self) -> str:
        """Return the command that opens Optuna's dashboard; ``uvx`` installs the dashboard by itself."""
        driver = "" if self.file else "--with 'psycopg[binary]' "
        return f"uvx {driver}optuna-dashboard {self.file if self.url.startswith(JOURNAL) else self.url}"

    def _connect(self, create: bool) -> "BaseStorage":
        from optuna.storages import JournalStorage, RDBStorage, get_storage
        from optuna.storages.journal import JournalFileBackend

        if self.url.startswith(JOURNAL):
            return JournalStorage(JournalFileBackend(str(self.file), lock_obj=JournalLock(str(self.file), WAIT_SECONDS)))
        with self._explained():
            storage = RDBStorage(self.url, engine_kwargs=self._engine(), skip_table_creation=not create)
        if self.file is None:
            wait_for_server(storage.engine)
        return get_storage(storage)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn errors of databases into errors with a next step."""
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with optional_import("postgresql", f"storage {self.url}"):  # SQLAlchemy imports the driver when it connects
                yield
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error)[:300].strip()
            raise UserError(
                f"storage {self.url} cannot be opened: {reason}. Next step: start the server, or give the password in "
                "PGPASSWORD or PGPASSFILE"
            ) from error

    def _server(self) -> "Engine":
        from sqlalchemy import create_engine

        return create_engine(self.url, **self._engine())

    def _engine(self) -> dict[str, Any]:
        from sqlalchemy.pool import NullPool

        if self.file:
            return {"connect_args": {"timeout": WAIT_SECONDS}}
        # Connect only while needed: otherwise 64 workers that train would hold 64 of the server's 100 connections.
        return {"poolclass": NullPool}

    @contextmanager
    def _advisory_lock(self) -> Iterator[None]:
        from sqlalchemy import text

        key = int.from_bytes(hashlib.sha256(b"bcc_lightning.tune").digest()[:7], "big")
        engine = self._server()
        wait_for_server(engine)
        with engine.begin() as connection:  # the lock ends with the transaction, also when its holder is killed
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
            yield


def wait_for_server(engine: "Engine", seconds: float = WAIT_SECONDS) -> None:
    """Let an engine wait for a server that does not answer, for example while it restarts, instead of failing at once.

    Args:
        engine: connects to the server.
        seconds: how long to wait.
    """
    from sqlalchemy import event

    @event.listens_for(engine, "do_connect")
    def connect(dialect: "Dialect", record: object, arguments: list[Any], named: dict[str, Any]) -> "DBAPIConnection":
        """Try to connect until the time is over."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return dialect.connect(*arguments, **named)
            except dialect.loaded_dbapi.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(LOOK_SECONDS)


def storage_of(wanted: str | None, home: Path) -> Storage:
    """Read which storage a search uses.

    Args:
        wanted: value of ``--storage``; None for a SQLite file.
        home: local folder of runs, in which that file is.

    Raises:
        UserError: the URL is of no known kind, or holds a password, which the list of processes would show.
    """
    if wanted is None:
        return Storage(sqlite_uri(home / "studies.db"))
    if wanted.startswith(JOURNAL) or wanted.endswith(".log"):
        return Storage(JOURNAL + os.path.abspath(wanted.removeprefix(JOURNAL)))
    if wanted.startswith("sqlite:///"):
        return Storage("sqlite:///" + os.path.abspath(wanted.removeprefix("sqlite:///")))
    url = urlparse(wanted)
    if url.scheme in {"postgresql", "postgres", POSTGRESQL}:
        refuse_password("--storage", wanted, "PGPASSWORD, or into a file named by PGPASSFILE")
        return Storage(wanted.replace(f"{url.scheme}://", f"{POSTGRESQL}://", 1))
    raise UserError(f"--storage is '{wanted.partition('@')[2] or wanted}', it must be {ALLOWED}")


def refuse_password(option: str, url: str, instead: str) -> None:
    """Refuse a password in a URL, without repeating it in the message.

    Args:
        option: name of the option with the URL.
        url: the URL.
        instead: environment variables for the password.

    Raises:
        UserError: the URL holds a password.
    """
    parts = urlparse(url)
    if parts.password is not None or "password" in parse_qs(parts.query):
        raise UserError(
            f"{option} holds a password, which everyone on this machine could read in the list of processes. Next step: remove "
            f"it from the URL, and put it into the environment variable {instead}"
        )
