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
"""How long a process waits for a lock that others hold for milliseconds."""


LOOK_SECONDS = 0.5
"""Pause between two attempts to reach a server that is away."""

JOURNAL = "journal:"

POSTGRESQL = "postgresql+psycopg"
"""SQLAlchemy's name of PostgreSQL through psycopg 3."""

ALLOWED = "a SQLite URL (sqlite:///FILE), a journal (journal:FILE or FILE.log), or postgresql://USER@HOST/DATABASE"


@dataclass(frozen=True)
class Storage:
    """A place that keeps studies.

    Attributes:
        url: ``sqlite:///FILE``, ``journal:FILE`` or ``postgresql+psycopg://...``, without a password.
    """

    url: str

    @property
    def file(self) -> Path | None:
        """The file; None for a database server."""
        if self.url.startswith(JOURNAL):
            return Path(self.url.removeprefix(JOURNAL))
        return sqlite_file(self.url)

    def reach(self) -> None:
        """Find out at once whether a server answers; later it is waited for.

        Raises:
            UserError: a package is missing, or the server does not answer.
        """
        if self.file is None:
            with self._explained(), self._server().connect():
                return

    def open(self) -> "BaseStorage":
        """Connect; the tables or the file must have been made by `create`.

        Raises:
            UserError: a package is missing, or the server does not answer.
        """
        return self._connect(create=False)

    def create(self) -> "BaseStorage":
        """Connect, and make tables or file where they are missing; to be called under `lock`."""
        return self._connect(create=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep all other processes and threads out; a killed holder's lock is free at once."""
        if self.file:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            # A lock of its own for each call: the system then also keeps threads of one process apart.
            with FileLock(f"{self.file}.lock-of-slots", timeout=WAIT_SECONDS, thread_local=False, is_singleton=False):
                yield
            return
        with self._advisory_lock():
            yield

    def dashboard(self) -> str:
        """Word the command that opens Optuna's dashboard, which need not be installed for it."""
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
        """Turn what databases say into what to do."""
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
        # A connection only while it is needed: 64 workers that train would else hold 64 of the server's 100.
        return {"poolclass": NullPool}

    @contextmanager
    def _advisory_lock(self) -> Iterator[None]:
        from sqlalchemy import text

        key = int.from_bytes(hashlib.sha256(b"bcc_lightning.tune").digest()[:7], "big")
        engine = self._server()
        wait_for_server(engine)
        with engine.begin() as connection:  # the lock ends with the transaction, also where its holder was killed
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
            yield


def wait_for_server(engine: "Engine", seconds: float = WAIT_SECONDS) -> None:
    """Let an engine wait for a server that is away, as while it is started anew, instead of failing at once."""
    from sqlalchemy import event

    @event.listens_for(engine, "do_connect")
    def connect(dialect: "Dialect", record: object, arguments: list[Any], named: dict[str, Any]) -> "DBAPIConnection":
        """Connect, again and again."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return dialect.connect(*arguments, **named)
            except dialect.loaded_dbapi.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(LOOK_SECONDS)


def storage_of(wanted: str | None, home: Path) -> Storage:
    """Read which storage is wanted.

    Args:
        wanted: value of ``--storage``; None for a SQLite file.
        home: local folder of runs, which holds that file.

    Raises:
        UserError: it is none that is known, or holds a password, which would show in the list of processes.
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
    """Refuse a password in a URL; it is not repeated in the message.

    Args:
        option: which holds the URL.
        url: its value.
        instead: where a password belongs.

    Raises:
        UserError: there is one.
    """
    parts = urlparse(url)
    if parts.password is not None or "password" in parse_qs(parts.query):
        raise UserError(
            f"{option} holds a password, which everybody on this machine could read in the list of processes. Next step: leave "
            f"it out of the URL, and put it into the environment variable {instead}"
        )
