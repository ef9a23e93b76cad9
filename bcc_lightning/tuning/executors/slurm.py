"""Workers as jobs of a SLURM cluster, through submitit.

SLURM's queue itself is the list of workers: a job's name says which seat of which study it fills. A driver that was started again
finds there what an earlier one has placed, and nothing is kept elsewhere that could contradict the queue.
"""

import math
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from bcc_lightning.errors import UserError
from bcc_lightning.optional_imports import optional_import
from bcc_lightning.tuning.executors.base import Assignment, last_line, refuse_files_of_this_machine
from bcc_lightning.tuning.executors.local import STOP_SECONDS
from bcc_lightning.tuning.worker import main

if TYPE_CHECKING:
    from submitit import Job

LOOK_SECONDS = 2.0
"""Pause between two looks at the queue; one look serves all seats."""

WARNING_SECONDS = 60
"""How long before its time limit a job gets SIGUSR2, on which its worker ends in order; trials are deaf to it."""

SIGNALLED = 128
"""Exit codes of a shell from here on tell a signal: somebody has killed the job, which did nothing wrong."""


@dataclass(frozen=True)
class JobOptions:
    """What a job gets, in which one worker runs.

    Args:
        partition: where jobs wait; by default the cluster's own default.
        account: who is charged; by default the user's own.
        minutes: time limit of a job; by default the partition's. A worker that meets it ends in order and is replaced.
        gpus: GPUs of a job; by default one where the partition has any.
        cpus: cores of a job.
        memory: gigabytes of a job; by default the cluster's.
        more: further options of sbatch by name, as in ``{"qos": "long"}``.
    """

    partition: str | None = None
    account: str | None = None
    minutes: int | None = None
    gpus: int | None = None
    cpus: int = 2
    memory: int | None = None
    more: Mapping[str, str] = field(default_factory=dict)


class QueuedJob(NamedTuple):
    """A job that waits or runs."""

    seat: int
    number: str
    state: str


class Slurm:
    """Runs each worker as a job.

    Project, data and ``mlruns`` lie on a file system that the nodes share, the study on a server. Jobs inherit the environment,
    and with it the storage's password.

    Args:
        assignment: what the workers work at.
        options: what each job gets.

    Raises:
        UserError: submitit or SLURM is missing, or the study lies where nodes do not reach it.
    """

    outlives_this_process = True

    def __init__(self, assignment: Assignment, options: JobOptions | None = None) -> None:
        self.assignment = assignment
        self._submitter = make_submitter(assignment, options or JobOptions())
        self._placed: dict[int, Job[int]] = {}
        self._deadlines: dict[int, float] = {}
        self._queue: list[QueuedJob] = []
        self._looked = -math.inf

    def place(self, seat: int, seconds: float) -> None:
        """Submit a job.

        Raises:
            UserError: SLURM refuses it.
        """
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        deadline = time.time() + seconds
        self._submitter.update_parameters(job_name=self.assignment.name(seat))
        try:
            job = self._submitter.submit(work, self.assignment.arguments(seat, math.inf), deadline)
        except (FailedJobError, FailedSubmissionError) as error:
            words = str(error).strip().splitlines()[-1]
            raise UserError(
                f"SLURM refuses the job of a worker: {words}. Next step: mend --slurm.partition and its kind"
            ) from error
        self._placed[seat], self._deadlines[seat] = job, deadline
        self._queue.append(QueuedJob(seat, job.job_id, "PENDING"))

    def lives(self, seat: int) -> bool:
        """Tell whether a seat's job waits or runs, whoever has placed it."""
        return any(job.seat == seat for job in self._look())

    def failure(self, seat: int) -> str | None:
        """Say why the last job that this process has placed on a seat failed by itself."""
        job = self._placed.get(seat)
        if job is None:
            return None
        shown = run_slurm("scontrol", "show", "job", job.job_id).stdout
        ended = re.search(r"JobState=FAILED.*?ExitCode=(\d+):", shown, re.DOTALL)
        if ended is None or int(ended[1]) >= SIGNALLED:
            return None
        return f"exit code {ended[1]} of job {job.job_id}: {last_line(job.paths.stdout)}"

    def stop(self) -> None:
        """End all jobs of the study in order; SLURM kills those that take too long, upon which their trials end themselves."""
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
        """List the study's jobs that wait or run; a controller that is away for a moment changes nothing."""
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
        """Take jobs back that wait although no further trial is to be begun."""
        late = [job for job in self._queue if job.state == "PENDING" and time.time() > self._deadlines.get(job.seat, math.inf)]
        if late:
            run_slurm("scancel", "--state=PENDING", *(job.number for job in late))


def work(arguments: Sequence[str], deadline: float) -> int:
    """Be a worker in a job.

    Args:
        arguments: of ``python -m bcc_lightning.tuning.worker``.
        deadline: when no further trial is to be begun, in seconds since 1970: the job may have waited long.
    """
    return main([*([] if math.isinf(deadline) else ["--seconds", str(deadline - time.time())]), *arguments])


def make_submitter(assignment: Assignment, options: JobOptions) -> Any:  # noqa: ANN401 - submitit's class is imported when it is wanted
    """Make what submits jobs.

    Raises:
        UserError: submitit or SLURM is missing, or the study lies where nodes do not reach it.
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
        dependency="singleton",  # should a killed driver's job turn up late, it waits until its seat is free
        stderr_to_stdout=True,
        setup=[f"export OMP_NUM_THREADS={options.cpus}"],
        srun_args=["--cpus-per-task", str(options.cpus)],  # srun does not take it from sbatch
        signal_delay_s=WARNING_SECONDS,
        additional_parameters={"requeue": True, **options.more},  # the job of a lost node starts again elsewhere
    )
    return submitter


def describe_nodes(partition: str | None) -> tuple[list[str], bool]:
    """Ask SLURM which nodes there are.

    Returns:
        Their addresses, and whether any has a GPU.

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
    """Run one of SLURM's programs; its exit code is looked at by who asks.

    Raises:
        UserError: it is missing.
    """
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise UserError(
            f"--executor slurm: there is no {command[0]} on this machine; run the command where jobs are submitted"
        ) from error
