"""Processes of a stub search, killed at random moments."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from optuna.trial import TrialState

from bcc_lightning.processes import start_of
from bcc_lightning.tuning.heartbeat import Worker
from bcc_lightning.tuning.options import ExecutorName
from bcc_lightning.tuning.study import OpenStudy
from tests.tuning.searches import ledger


def kill_at_random(search: OpenStudy, folder: Path, executor: ExecutorName, kills: int, seed: str) -> list[str]:
    """Run a search to its end, with so many kills of its driver, workers and trials; gives who was killed."""
    generator, killed = random.Random(seed), list[str]()
    roles = (["driver", "worker", "trial"] * kills)[:kills]
    generator.shuffle(roles)
    driver = start_driver(search, executor)
    try:
        while roles and search.has_work():
            time.sleep(generator.uniform(0.0, 0.6))
            role = roles[-1]
            victim = driver.pid if role == "driver" else a_worker(search) if role == "worker" else a_trial(folder)
            if victim is None:
                continue
            os.kill(victim, signal.SIGKILL)
            killed.append(roles.pop())
            if victim == driver.pid:  # also where its threads are the workers
                driver.wait()
                driver = start_driver(search, executor)
        assert driver.wait(120) == 0
    finally:
        driver.kill()
    return killed


def start_driver(search: OpenStudy, executor: ExecutorName) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.tuning.driver", search.storage.url, executor, "2"]
    return subprocess.Popen(command, cwd=Path(__file__).parents[2])


def a_worker(search: OpenStudy) -> int | None:
    """Choose a worker that is at a trial."""
    for trial in search.trials():
        worker = Worker(**trial.user_attrs["worker"])
        if trial.state == TrialState.RUNNING and not worker.has_vanished:
            return worker.process
    return None


def a_trial(folder: Path) -> int | None:
    """Choose a stub that runs."""
    file = folder / "ledger"
    starts = [line.split() for line in file.read_text().splitlines()] if file.is_file() else []
    ended = ledger(folder, "end")
    for _, number, process in (parts for parts in reversed(starts) if parts[0] == "start"):
        if int(number) not in ended and start_of(int(process)) and is_stub(int(process)):
            return int(process)
    return None


def is_stub(process: int) -> bool:
    """Make sure that a number has not been given to another process meanwhile."""
    try:
        return b"stub_trial.py" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False
