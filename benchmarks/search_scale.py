"""A search with many trials and workers on PostgreSQL, without training: the cost of the search itself.

Each trial is a process, as in a real search, but only reports three values. A server from Debian's programs is started for
the measurement, unless ``--storage`` names one.

    python benchmarks/search_scale.py --trials 1000 --workers 64 --seconds 1
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bcc_lightning.tuning.channel import TrialChannel
from bcc_lightning.tuning.driver import Watch
from bcc_lightning.tuning.executors import make_executor
from bcc_lightning.tuning.executors.base import Assignment
from bcc_lightning.tuning.executors.local import Seats
from bcc_lightning.tuning.plan import Plan
from bcc_lightning.tuning.storage import Storage, storage_of
from bcc_lightning.tuning.study import RETRY_OF, OpenStudy

TRIAL = "be-a-trial"

EPOCHS = 3


def be_a_trial(arguments: list[str]) -> None:
    """Report three values over some seconds, and end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--x", type=float)
    options, _ = parser.parse_known_args(arguments)
    trial = TrialChannel.inherited()
    if trial is None:
        raise SystemExit("a trial is started by a worker")
    trial.opened(f"run-{trial.greeting.number}")
    for epoch in range(EPOCHS):
        time.sleep(options.seconds / EPOCHS)
        trial.report(epoch, options.x)
    trial.ended(f"run-{trial.greeting.number}", "FINISHED", None, {"val/accuracy": options.x})


@contextmanager
def postgresql() -> Iterator[str]:
    """Run a PostgreSQL server, reached through a socket; yield its URL."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        raise SystemExit("PostgreSQL's programs are missing: apt-get install postgresql, or give --storage")
    user = "postgres" if os.getuid() == 0 else None  # it refuses to run as root
    initdb, postgres, pg_isready = (str(folders[-1] / name) for name in ("initdb", "postgres", "pg_isready"))
    with tempfile.TemporaryDirectory() as name:
        data = f"{name}/data"
        if user:
            shutil.chown(name, user)
        make = [initdb, "-D", data, "-U", "tester", "-A", "trust", "--no-sync"]
        subprocess.run(make, user=user, check=True, stdout=subprocess.DEVNULL, cwd=name)
        serve = [postgres, "-D", data, "-k", name, "-c", "listen_addresses=", "-c", "fsync=off"]
        server = subprocess.Popen(serve, user=user, stderr=subprocess.DEVNULL, cwd=name)
        try:
            while subprocess.call([pg_isready, "-h", name], stdout=subprocess.DEVNULL):
                time.sleep(0.1)
            yield f"postgresql://tester@/postgres?host={name}"
        finally:
            server.terminate()
            server.wait()


@contextmanager
def counted_connections(storage: Storage) -> Iterator[list[int]]:
    """Count the clients of the server ten times a second, except this one."""
    import psycopg

    counts, done = list[int](), threading.Event()
    query = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"

    def count() -> None:
        with psycopg.connect(storage.url.replace("+psycopg", ""), autocommit=True) as connection:
            while not done.wait(0.1):
                row = connection.execute(query).fetchone()
                counts.append(row[0] if row else 0)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield counts
    finally:
        done.set()
        thread.join()


def measure(storage: Storage, options: argparse.Namespace, folder: Path) -> None:
    """Search, and print the time it took."""
    program = [sys.executable, str(Path(__file__).absolute()), TRIAL, "--seconds", str(options.seconds)]
    space = {"x": {"type": "float", "low": 0.0, "high": 1.0}}
    plan = Plan(
        f"scale-{time.time_ns()}", "stub", [], space, trials=options.trials, sampler=options.sampler, pruner="median",
        epochs=EPOCHS, logs=str(folder), program=program
    )  # fmt: skip
    search = OpenStudy.create(storage, plan)
    seats = Seats(options.workers, [], 1)
    executor = make_executor(options.executor, Assignment(storage, plan.study, folder, program=program), seats)
    start = time.perf_counter()
    with counted_connections(storage) as connections:
        Watch(search, executor, seats.count).until_done()
    seconds = time.perf_counter() - start
    describe(search, seconds, connections)


def describe(search: OpenStudy, seconds: float, connections: list[int]) -> None:
    """Print the results of a finished search."""
    trials = search.trials()
    states = [trial.state.name for trial in trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    retries = sum(RETRY_OF in trial.user_attrs for trial in trials)
    lasted = [trial.duration.total_seconds() for trial in trials if trial.duration and trial.state.name == "COMPLETE"]
    begun = [trial.datetime_start for trial in trials if trial.datetime_start]
    ended = [trial.datetime_complete for trial in trials if trial.datetime_complete]
    busy = (max(ended) - min(begun)).total_seconds()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"trials: {len(trials)}, {counts}, {retries} repeated")
    print(f"seconds: {seconds:.1f} in all, {busy:.1f} from the start of the first trial to the end of the last")
    print(f"trials per second: {len(trials) / busy:.2f}; median of a complete trial {statistics.median(lasted):.2f} seconds")
    print(f"peak memory of the driver: {memory:.0f} MB")
    print(f"database connections: {max(connections)} at most, {statistics.mean(connections):.1f} on average")


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=1.0, help="how long a trial lasts")
    parser.add_argument("--sampler", default="random", help="tpe also measures how long proposals take")
    parser.add_argument("--executor", default="local", choices=["local", "in_process", "slurm", "ray"])
    parser.add_argument("--storage", help="a PostgreSQL URL; by default a server is started")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.storage:
            measure(storage_of(options.storage, Path(folder)), options, Path(folder))
        else:
            with postgresql() as url:
                measure(storage_of(url, Path(folder)), options, Path(folder))


if __name__ == "__main__":
    be_a_trial(sys.argv[2:]) if sys.argv[1:2] == [TRIAL] else main()
