"""A PostgreSQL server for the tests, which they may also stop and start."""

import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path

from tests.tuning.clusters import free_ports


class PostgreSQL:
    """A cluster of databases, and its server.

    Args:
        programs: folder of the programs.
        folder: empty folder for data and log.
        user: who runs the server, which refuses to be root; None for this user.
    """

    def __init__(self, programs: Path, folder: Path, user: str | None) -> None:
        self.programs, self.folder, self.user = programs, folder, user
        self.password = secrets.token_hex(8)
        (self.port,) = free_ports(1)
        (folder / "password").write_text(self.password)
        if user:
            for path in (folder, folder / "password"):
                shutil.chown(path, user)
        make = ["-U", "tester", "--pwfile", str(folder / "password"), "-A", "scram-sha-256", "--no-sync"]
        command = [programs / "initdb", "-D", folder / "data", *make]
        subprocess.run(command, user=user, check=True, stdout=subprocess.DEVNULL, cwd=folder)

    @property
    def url(self) -> str:
        """URL of the server, without password and database."""
        return f"postgresql://tester@127.0.0.1:{self.port}"

    def start(self) -> None:
        options = ["-p", str(self.port), "-k", str(self.folder), "-c", "fsync=off", "-c", "listen_addresses=127.0.0.1"]
        command = [self.programs / "postgres", "-D", self.folder / "data", *options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, user=self.user, stdout=log, stderr=log, cwd=self.folder)
        deadline = time.monotonic() + 60
        knock = [self.programs / "pg_isready", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.call(knock, stdout=subprocess.DEVNULL):
            assert time.monotonic() < deadline
            assert self._process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.1)

    def stop(self, number: signal.Signals) -> None:
        self._process.send_signal(number)
        self._process.wait(30)
