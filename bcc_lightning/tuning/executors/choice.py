"""Executors by name."""

from typing import Literal

from bcc_lightning.argument_types import check_choice
from bcc_lightning.tuning.executors.base import Assignment, Executor
from bcc_lightning.tuning.executors.local import InProcess, Local, Seats
from bcc_lightning.tuning.executors.ray import ActorOptions, Ray
from bcc_lightning.tuning.executors.slurm import JobOptions, Slurm

ExecutorName = Literal["local", "in_process", "slurm", "ray"]


def make_executor(
    name: ExecutorName, assignment: Assignment, seats: Seats, slurm: JobOptions | None = None, ray: ActorOptions | None = None
) -> Executor:
    """Make an executor; what packages it needs is imported here.

    Args:
        name: which one.
        assignment: what its workers work at.
        seats: how this machine is divided, where it does the work.
        slurm: what each job of SLURM gets.
        ray: what each actor of Ray gets.

    Raises:
        UserError: the name is unknown, a package that it needs is missing, or there is no cluster.
    """
    check_choice("executor", name, ExecutorName)
    if name == "slurm":
        return Slurm(assignment, slurm)
    if name == "ray":
        return Ray(assignment, ray)
    return InProcess(assignment, seats) if name == "in_process" else Local(assignment, seats)
