"""Workers on a Ray cluster: each an actor that outlives the driver and ends with its worker."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bcc_lightning.errors import UserError
from bcc_lightning.tuning.executors.base import Assignment, last_line

NAMESPACE = "bcc_lightning"

ANSWER_SECONDS = 30.0


class Seat:
    """An actor that runs one worker as a process of its own: Ray's processes are used again, so that they say nothing about it.

    Args:
        command: the worker's command line.
        folder: working directory, the same on all nodes.
        path: search path for Python's modules.
        log: file that gets the worker's output.
    """

    def __init__(self, command: Sequence[str], folder: str, path: str, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        threading.Thread(target=self._end_with_the_worker, daemon=True).start()

    def lives(self) -> bool:
        """Tell whether the worker has not ended."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End the worker in order."""
        self._process.terminate()

    def _end_with_the_worker(self) -> None:
        """End with the worker: an actor that has nothing to do would keep its GPU. A failure is left in a file."""
        import ray

        if self._process.wait() > 0:
            failed_file(self._log).touch()
        ray.kill(ray.get_runtime_context().current_actor)


def failed_file(log: Path) -> Path:
    """Name the file that says that the worker with this output has failed."""
    return log.with_suffix(".failed")


class Ray:
    """Runs each worker as a detached actor with one GPU, where the cluster has any, and one core.

    The study must lie on a server that all nodes reach; project, data and ``mlruns`` on a file system that they share. An actor
    has the environment of its node; a password belongs into the file there that ``PGPASSFILE`` names, for what is handed to
    Ray can be read in its dashboard. ``RAY_ADDRESS`` names the cluster; without it Ray is started on this machine.

    Args:
        assignment: what the workers work at.

    Raises:
        UserError: ray is missing.
    """

    def __init__(self, assignment: Assignment) -> None:
        try:
            import ray
        except ImportError as error:
            raise UserError("--executor ray needs a package: uv pip install 'bcc-lightning[ray]'") from error
        self.assignment = assignment
        self._ray: Any = ray
        self.outlives_this_process = "RAY_ADDRESS" in os.environ
        ray.init(namespace=NAMESPACE, ignore_reinit_error=True, log_to_driver=False, include_dashboard=False)
        self._gpus = int("GPU" in self._ray.cluster_resources())

    def place(self, seat: int, seconds: float) -> None:
        """Start an actor; it waits where the cluster has no room."""
        command = [sys.executable, "-m", "bcc_lightning.tuning.worker", *self.assignment.arguments(seat, seconds)]
        actor = self._ray.remote(Seat).options(
            name=self._name(seat), lifetime="detached", get_if_exists=True, num_cpus=1, num_gpus=self._gpus, max_restarts=0
        )
        log = self.assignment.log(seat).absolute()
        failed_file(log).unlink(missing_ok=True)
        actor.remote(command, os.getcwd(), os.environ.get("PYTHONPATH", ""), log)

    def lives(self, seat: int) -> bool:
        """Tell whether a seat's worker has not ended, or waits for room."""
        actor = self._actor(seat)
        if actor is None:
            return False
        try:
            return bool(self._ray.get(actor.lives.remote(), timeout=ANSWER_SECONDS))
        except self._ray.exceptions.GetTimeoutError:
            return True
        except self._ray.exceptions.RayActorError:
            return False

    def failure(self, seat: int) -> str | None:
        """Say why the last worker of a seat has failed."""
        log = self.assignment.log(seat).absolute()
        return last_line(log) if failed_file(log).exists() else None

    def stop(self) -> None:
        """End all workers in order."""
        prefix = self._name(0).removesuffix("0")
        names = [
            actor["name"] for actor in self._ray.util.list_named_actors(all_namespaces=True) if actor["name"].startswith(prefix)
        ]
        seats = [int(name.removeprefix(prefix)) for name in names]
        for seat in seats:
            if (actor := self._actor(seat)) is not None:
                actor.stop.remote()
        while any(self.lives(seat) for seat in seats):
            time.sleep(0.5)

    def _name(self, seat: int) -> str:
        return f"tune-{self.assignment.study}-{seat}"

    def _actor(self, seat: int) -> Any:  # noqa: ANN401 - Ray's handles have no type of their own
        try:
            return self._ray.get_actor(self._name(seat), namespace=NAMESPACE)
        except ValueError:
            return None
