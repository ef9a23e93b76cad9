"""Workers on a Ray cluster: each is a detached actor, which outlives the driver and is found again by its name."""

import os
import signal
import threading
import time
from collections.abc import Mapping
from logging import WARNING
from typing import Any

from bcc_lightning.errors import UserError
from bcc_lightning.network import check_connection
from bcc_lightning.optional_imports import optional_import
from bcc_lightning.tuning.executors.base import Assignment, refuse_files_of_this_machine
from bcc_lightning.tuning.executors.local import STOP_SECONDS
from bcc_lightning.tuning.options import ActorOptions
from bcc_lightning.tuning.study import OpenStudy
from bcc_lightning.tuning.worker import TrialWorker

# If the search was started with `uv run`, Ray would copy the working folder and create an environment for it on each node.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")

NAMESPACE = "bcc_lightning.tune"
"""Ray's namespace of the actors' names."""

HANDED_ON = ("PG", "MLFLOW_", "BCC_", "HF_", "PYTHONPATH")
"""Beginnings of the names of environment variables that actors get from the driver: storage, tracking, data and weights."""

LINGER_SECONDS = 20.0
"""Seconds that an actor whose worker has ended waits for a driver to ask for the reason, before it frees its resources."""

ANSWER_SECONDS = 10.0
"""Seconds in which a running actor answers; an actor that does not answer waits for resources, or its node is lost."""


class WorkerActor:
    """A worker within an actor; Ray restarts both when the process dies or its node is lost.

    Args:
        assignment: study of the worker, and what it needs to run its trials.
        seat: seat of the worker.
        deadline: time after which the worker starts no further trial, in seconds since 1970.
        environment: environment variables for the trials.
        folder: current folder of the driver, for relative paths.
    """

    def __init__(self, assignment: Assignment, seat: int, deadline: float, environment: Mapping[str, str], folder: str) -> None:
        import ray

        os.environ.update(environment)
        if os.path.isdir(folder):
            os.chdir(folder)
        self._actor: Any = ray.get_runtime_context().current_actor
        self._stop = threading.Event()
        self._failure: str | None = None
        self._thread = threading.Thread(target=self._work, args=(assignment, seat, deadline), daemon=True, name="worker")
        self._thread.start()
        threading.Thread(target=self._make_room, daemon=True, name="make-room").start()

    def ended(self) -> tuple[bool, str | None]:
        """Return whether the worker has ended, and why it failed; None where it did not fail."""
        return not self._thread.is_alive(), self._failure

    def stop(self) -> None:
        """Make the worker stop cleanly."""
        self._stop.set()

    def _work(self, assignment: Assignment, seat: int, deadline: float) -> None:
        try:
            search = OpenStudy.load(assignment.storage, assignment.study)
            TrialWorker(search, seat, deadline, assignment.flags_of(seat), stop=self._stop).work()
        except Exception as error:  # otherwise it would only be printed
            self._failure = f"{type(error).__name__}: {error}"

    def _make_room(self) -> None:
        """End the actor for good if no driver does, since it would keep its GPU."""
        import ray

        self._thread.join()
        time.sleep(LINGER_SECONDS)
        ray.kill(self._actor)


class Ray:
    """Runs each worker in a detached actor.

    The nodes must share a file system with the project, the data and ``mlruns``; the study must be on a server.

    Args:
        assignment: study of the workers, and what they need to run its trials.
        options: resources of each actor.

    Raises:
        UserError: ray is missing, there is no cluster, or the study or the tracking store is a file that other nodes would use.
    """

    outlives_this_process = True

    def __init__(self, assignment: Assignment, options: ActorOptions | None = None) -> None:
        options = options or ActorOptions()
        self.assignment = assignment
        self._ray = connect(options)
        refuse_files_of_this_machine(assignment, [node["NodeManagerHostname"] for node in self._ray.nodes() if node["Alive"]])
        self._environment = {name: value for name, value in os.environ.items() if name.startswith(HANDED_ON)}
        self._environment["OMP_NUM_THREADS"] = str(options.cpus)
        gpus = float("GPU" in self._ray.cluster_resources()) if options.gpus is None else options.gpus
        self._class = self._ray.remote(WorkerActor)
        self._options = {"lifetime": "detached", "num_cpus": options.cpus, "num_gpus": gpus, "max_restarts": -1}
        self._asked: dict[int, Any] = {}
        self._failures: dict[int, str] = {}

    def place(self, seat: int, deadline: float) -> None:
        """Create an actor; it waits until the cluster has resources for it."""
        self._failures.pop(seat, None)
        # The environment is an argument: a `runtime_env` would show in the actor's command line, with the password.
        self._class.options(name=self.assignment.name(seat), get_if_exists=True, **self._options).remote(
            self.assignment, seat, deadline, self._environment, os.getcwd()
        )

    def lives(self, seat: int) -> bool:
        """Check whether the worker of a seat runs or waits, whichever driver has started it."""
        from ray.exceptions import RayActorError

        actor = self._actor(seat)
        if actor is None:
            self._asked.pop(seat, None)
            return False
        if seat not in self._asked:
            self._asked[seat] = actor.ended.remote()
        if not self._ray.wait([self._asked[seat]], timeout=0)[0]:
            return True
        try:
            ended, failure = self._ray.get(self._asked.pop(seat))
        except RayActorError:  # it has just died; Ray restarts it or forgets its name
            return True
        if ended:
            self._failures.update({seat: failure} if failure else {})
            self._remove(seat)
        return not ended

    def failure(self, seat: int) -> str | None:
        """Return why the last worker of a seat failed; None where it did not fail."""
        return self._failures.get(seat)

    def stop(self) -> None:
        """Stop all workers of the study cleanly; kill those that take too long, after which their trials exit by themselves."""
        answers = {seat: actor.stop.remote() for seat in self._seats() if (actor := self._actor(seat)) is not None}
        self._ray.wait(list(answers.values()), num_returns=max(1, len(answers)), timeout=ANSWER_SECONDS) if answers else None
        for seat, answer in answers.items():
            if not self._ray.wait([answer], timeout=0)[0]:
                self._remove(seat)
        deadline = time.monotonic() + STOP_SECONDS
        while living := [seat for seat in self._seats() if self.lives(seat)]:
            if time.monotonic() > deadline:
                for seat in living:
                    self._remove(seat)
            time.sleep(0.2)

    def _seats(self) -> list[int]:
        """List the seats with actors, whichever driver has started them."""
        prefix = self.assignment.name("")
        names = self._ray.util.list_named_actors()
        return [int(name.removeprefix(prefix)) for name in names if name.startswith(prefix)]

    def _actor(self, seat: int) -> Any:  # noqa: ANN401 - Ray's handles have no public type
        try:
            return self._ray.get_actor(self.assignment.name(seat))
        except ValueError:
            return None

    def _remove(self, seat: int) -> None:
        """End an actor for good, and wait until its name is free."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while (actor := self._actor(seat)) is not None and time.monotonic() < deadline:
            self._ray.kill(actor)
            time.sleep(0.05)
        self._asked.pop(seat, None)


def connect(options: ActorOptions) -> Any:  # noqa: ANN401 - an optional package
    """Connect to the cluster.

    Returns:
        The package ``ray``.

    Raises:
        UserError: ray is missing, or there is no cluster.
    """
    with optional_import("ray", "--executor ray"):
        import ray
    handler = signal.getsignal(signal.SIGTERM)  # Ray replaces it
    address = os.environ.get("RAY_ADDRESS", options.address) if options.address == "auto" else options.address
    try:
        check_cluster(address)
        ray.init(address=address, namespace=NAMESPACE, ignore_reinit_error=True, log_to_driver=False, logging_level=WARNING)
    except (ConnectionError, OSError, ValueError) as error:
        raise UserError(
            f"--executor ray finds no cluster at '{address}'. Next step: start one with `ray start --head`, and "
            "`ray start --address HOST:6379` on each further node, or give its address with --ray.address HOST:6379"
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
    return ray


def check_cluster(address: str) -> None:
    """Check that a cluster answers, since Ray itself would try for minutes.

    Args:
        address: ``HOST:PORT``, or ``auto``, which Ray checks by itself.

    Raises:
        OSError: no server answers at this address.
        ValueError: the address has no port.
    """
    if address != "auto":
        host, _, port = address.rpartition(":")
        check_connection(host, int(port), ANSWER_SECONDS)
