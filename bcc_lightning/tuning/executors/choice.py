"""Executors by name."""

from collections.abc import Callable

from bcc_lightning.tuning.executors.base import Assignment, Executor
from bcc_lightning.tuning.executors.local import Seats


def make_executor(name: str, assignment: Assignment, seats: Seats) -> Executor:
    """Make an executor.

    Args:
        name: one of `EXECUTORS`.
        assignment: what its workers work at.
        seats: how this machine is divided, where it does the work.

    Raises:
        UserError: a package that it needs is missing.
    """
    return EXECUTORS[name](assignment, seats)


def in_process(assignment: Assignment, seats: Seats) -> Executor:
    """Workers as threads of this process."""
    from bcc_lightning.tuning.executors.in_process import InProcess

    return InProcess(assignment, seats)


def local(assignment: Assignment, seats: Seats) -> Executor:
    """Workers as processes of this machine."""
    from bcc_lightning.tuning.executors.local import Local

    return Local(assignment, seats)


def slurm(assignment: Assignment, seats: Seats) -> Executor:
    """Workers as jobs of a SLURM cluster, which divides itself."""
    from bcc_lightning.tuning.executors.slurm import Slurm

    return Slurm(assignment)


def ray(assignment: Assignment, seats: Seats) -> Executor:
    """Workers on a Ray cluster, which divides itself."""
    from bcc_lightning.tuning.executors.ray import Ray

    return Ray(assignment)


EXECUTORS: dict[str, Callable[[Assignment, Seats], Executor]] = {
    "local": local,
    "in_process": in_process,
    "slurm": slurm,
    "ray": ray,
}
"""Makers of executors; each imports what it needs when it is chosen."""
