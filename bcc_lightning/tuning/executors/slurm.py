"""Workers as jobs of a SLURM cluster, through submitit."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bcc_lightning.errors import UserError
from bcc_lightning.tuning.executors.base import Assignment
from bcc_lightning.tuning.worker import main

if TYPE_CHECKING:
    from submitit import Job

MINUTES = 24 * 60
"""Time limit of a job unless ``SBATCH_TIMELIMIT`` names another; a worker that meets it ends in order and is replaced."""

LOOK_SECONDS = 5.0
"""Pause between two questions to SLURM's controller about all jobs."""

ENDED = {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE"}


class Slurm:
    """Runs each worker as a job.

    The study must lie on a server that all nodes reach; project, data and ``mlruns`` on a file system that they share. What a job
    gets, SLURM's own variables say, which go before what stands here: ``SBATCH_PARTITION``, ``SBATCH_GRES=gpu:1``,
    ``SBATCH_CPUS_PER_TASK``, ``SBATCH_TIMELIMIT``. Jobs inherit the environment, and with it the storage's password.

    Args:
        assignment: what the workers work at.

    Raises:
        UserError: submitit or SLURM is missing.
    """

    outlives_this_process = True

    def __init__(self, assignment: Assignment) -> None:
        self.assignment = assignment
        self._jobs: dict[int, Job[int]] = {}
        self._states: dict[str, str] = {}
        self._looked = 0.0
        self._executor = make_submitter(assignment)

    def place(self, seat: int, seconds: float) -> None:
        """Submit a job."""
        self._jobs[seat] = self._executor.submit(work, self.assignment.arguments(seat, seconds))
        self._looked = 0.0

    def lives(self, seat: int) -> bool:
        """Tell whether a seat's job waits or runs."""
        return seat in self._jobs and self._state(self._jobs[seat]) not in ENDED

    def failure(self, seat: int) -> str | None:
        """Say why the last job of a seat has failed; one that was ended from outside left no result and did nothing wrong."""
        job = self._jobs.get(seat)
        if job is None or not job.paths.result_pickle.is_file() or (error := job.exception()) is None:
            return None
        trace = str(error).rpartition("\n-----")[0]  # behind it submitit names its files
        return f"job {job.job_id}: {trace.strip().splitlines()[-1]} (all of it: {job.paths.stderr})"

    def stop(self) -> None:
        """End all jobs in order: SLURM sends SIGTERM to their workers, and kills them after its ``KillWait``."""
        jobs = [self._jobs[seat] for seat in self._jobs if self.lives(seat)]
        for job in jobs:
            job.cancel(check=False)
        while any(self.lives(seat) for seat in self._jobs):
            time.sleep(1)

    def _state(self, job: "Job[int]") -> str:
        """Ask the controller, for sacct, which submitit asks, needs an accounting database that not every cluster has."""
        if time.monotonic() - self._looked > LOOK_SECONDS or not self._looked:
            listed = subprocess.run(["squeue", "--noheader", "--states=all", "--format=%i %T"], capture_output=True, text=True)  # noqa: PLW1510
            if listed.returncode == 0:  # else the controller is away for a moment
                self._states = dict(line.split() for line in listed.stdout.splitlines())
            self._looked = time.monotonic()
        return self._states.get(job.job_id, "COMPLETED" if self._states else "PENDING")


def make_submitter(assignment: Assignment) -> Any:  # noqa: ANN401 - submitit's class is imported when it is wanted
    """Make submitit's executor.

    Raises:
        UserError: submitit or SLURM is missing.
    """
    try:
        from submitit import SlurmExecutor
    except ImportError as error:
        raise UserError("--executor slurm needs a package: uv pip install 'bcc-lightning[slurm]'") from error
    if SlurmExecutor.affinity() < 0:
        raise UserError("--executor slurm: there is no srun on this machine; run the command where jobs are submitted")
    executor = SlurmExecutor(folder=assignment.logs.absolute() / "jobs", python=sys.executable)
    executor.update_parameters(job_name=f"tune-{assignment.study}"[:60], time=MINUTES, ntasks_per_node=1)
    return executor


def work(arguments: Sequence[str]) -> int:
    """Be a worker in a job, with as many threads as the job has cores."""
    os.environ.setdefault("OMP_NUM_THREADS", os.environ.get("SLURM_CPUS_PER_TASK", "1"))
    return main(arguments)
