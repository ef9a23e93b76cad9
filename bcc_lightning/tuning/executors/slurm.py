"""Workers as jobs on a SLURM cluster, through submitit.

SLURM's own queue is the list of workers: the name of a job holds its study and seat. A driver that is started again finds the
jobs of an earlier one there, and no other record exists that could contradict the queue.
"""

import math
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from bcc_lightning.errors import UserError
from bcc_lightning.optional_imports import optional_import
from bcc_lightning.tuning.executors.base import Assignment, last_line, refuse_files_of_this_machine
from bcc_lightning.tuning.executors.local import STOP_SECONDS
from bcc_lightning.tuning.options import JobOptions
from bcc_lightning.tuning.worker import main

if TYPE_CHECKING:
    from submitit import Job

LOOK_SECONDS = 2.0
"""Seconds between two queries of the queue; one query serves all seats."""

WARNING_SECONDS = 60
"""Seconds before its time limit at which a job gets SIGUSR2, so that its worker stops cleanly; trials block this signal."""

SIGNALLED = 128
"""Smallest exit code with which a shell reports a signal: the job was killed and did not fail by itself."""


class QueuedJob(NamedTuple):
    """A waiting or running job."""

    seat: int
    number: str
    state: str


class Slurm:
    """Runs each worker as a job.

    The nodes must share a file system with the project, the data and ``mlruns``; the study must be on a server. Jobs inherit the
    environment, including the password of the storage.

    Args:
        assignment: study of the workers, and what they need to run its trials.
        options: resources of each job.

    Raises:
        UserError: submitit or SLURM is missing, or the study or the tracking store is a file that other nodes would use.
    """

    outlives_this_process = True

    def __init__(self, assignment: Assignment, options: JobOptions | None = None) -> None:
        self.assignment = assignment
        self._submitter = make_submitter(assignment, options or JobOptions())
        self._placed: dict[int, Job[int]] = {}
        self._deadlines: dict[int, float] = {}
        self._queue: list[QueuedJob] = []
        self._looked = -math.inf

    def place(self, seat: int, deadline: float) -> None:
        """Submit a job for a free seat.

        Raises:
            UserError: SLURM refuses the job.
        """
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        self._submitter.update_parameters(job_name=self.assignment.name(seat))
        try:
            job = self._submitter.submit(main, self.assignment.arguments(seat, deadline))
        except (FailedJobError, FailedSubmissionError) as error:
            words = str(error).strip().splitlines()[-1]
            raise UserError(
                f"SLURM refuses the job of a worker: {words}. Next step: correct the options that begin with --slurm."
            ) from error
        self._placed[seat], self._deadlines[seat] = job, deadline
        self._queue.append(QueuedJob(seat, job.job_id, "PENDING"))

    def lives(self, seat: int) -> bool:
        """Check whether the job of a seat waits or runs, whichever driver has submitted it."""
        return any(job.seat == seat for job in self._look())

    def failure(self, seat: int) -> str | None:
        """Return why the last job that this process has submitted for a seat failed; None where it did not fail."""
        job = self._placed.get(seat)
        if job is None:
            return None
        shown = run_slurm("scontrol", "show", "job", job.job_id).stdout
        ended = re.search(r"JobState=FAILED.*?ExitCode=(\d+):", shown, re.DOTALL)
        if ended is None or int(ended[1]) >= SIGNALLED:
            return None
        return f"exit code {ended[1]} of job {job.job_id}: {last_line(job.paths.stdout)}"

    def stop(self) -> None:
        """Stop all jobs of the study cleanly; SLURM kills those that take too long, and their trials then exit by themselves."""
        self._cancel("--state=PENDING")
        self._cancel("--signal=USR2")
        deadline = time.monotonic() + STOP_SECONDS
        while self._look(now=True):
            if time.monotonic() > deadline:
                self._cancel()
            time.sleep(0.5)

    def _cancel(self, *which: str) -> None:
        if jobs := [job.number for job in self._look(now=True)]:
            run_slurm("scancel", *which, *jobs)

    def _look(self, now: bool = False) -> list[QueuedJob]:
        """List the study's waiting and running jobs; if the controller does not answer, return the last known list."""
        if now or time.monotonic() - self._looked > LOOK_SECONDS:
            listed = run_slurm("squeue", "--me", "--noheader", "--format=%i %T %j")
            if listed.returncode == 0:
                prefix = self.assignment.name("")
                rows = [line.split() for line in listed.stdout.splitlines() if prefix in line]
                self._queue = [QueuedJob(int(name.removeprefix(prefix)), job, state) for job, state, name in rows]
                self._drop_late()
            self._looked = time.monotonic()
        return self._queue

    def _drop_late(self) -> None:
        """Cancel waiting jobs after the time at which no further trial is started."""
        late = [job for job in self._queue if job.state == "PENDING" and time.time() > self._deadlines.get(job.seat, math.inf)]
        if late:
            run_slurm("scancel", "--state=PENDING", *(job.number for job in late))


def make_submitter(assignment: Assignment, options: JobOptions) -> Any:  # noqa: ANN401 - a class of an optional package
    """Build submitit's executor, which submits jobs.

    Args:
        assignment: study of the workers, and what they need to run its trials.
        options: resources of each job.

    Raises:
        UserError: submitit or SLURM is missing, or the study or the tracking store is a file that other nodes would use.
    """
    with optional_import("slurm", "--executor slurm"):
        from submitit import SlurmExecutor
    nodes, gpus = describe_nodes(options.partition)
    refuse_files_of_this_machine(assignment, nodes)
    submitter = SlurmExecutor(folder=assignment.logs.absolute() / "jobs", python=sys.executable)
    submitter.update_parameters(
        partition=options.partition,
        account=options.account,
        time=options.minutes,
        gpus_per_node=(options.gpus if options.gpus is not None else int(gpus)) or None,
        cpus_per_task=options.cpus,
        mem=f"{options.memory}GB" if options.memory else None,
        dependency="singleton",  # a late job of a killed driver waits until its seat is free
        stderr_to_stdout=True,
        setup=[f"export OMP_NUM_THREADS={options.cpus}"],
        srun_args=["--cpus-per-task", str(options.cpus)],  # srun does not inherit it from sbatch
        signal_delay_s=WARNING_SECONDS,
        additional_parameters={"requeue": True, **options.more},  # a job whose node is lost restarts on another
    )
    return submitter


def describe_nodes(partition: str | None) -> tuple[list[str], bool]:
    """Ask SLURM for the nodes of a partition.

    Returns:
        Addresses of the nodes, and whether any has a GPU.

    Raises:
        UserError: SLURM is missing or does not answer.
    """
    listed = run_slurm("sinfo", "--noheader", "--Node", "--format=%o %G", *([f"--partition={partition}"] if partition else []))
    rows = [line.split() for line in listed.stdout.splitlines()]
    if listed.returncode or not rows:
        raise UserError(
            f"--executor slurm finds no nodes ({listed.stderr.strip() or f'partition {partition}'}). Next step: run the command "
            "where jobs are submitted, and choose a partition that sinfo lists with --slurm.partition"
        )
    return [row[0] for row in rows], any("gpu" in row[1] for row in rows)


def run_slurm(*command: str) -> "subprocess.CompletedProcess[str]":
    """Run one of SLURM's programs; the caller checks its exit code.

    Raises:
        UserError: the program is missing.
    """
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise UserError(
            f"--executor slurm: there is no {command[0]} on this machine; run the command where jobs are submitted"
        ) from error
