"""Where the workers of a search run: in this process, on this machine, on a SLURM cluster, on a Ray cluster.

What a worker does belongs to `tuning.worker`; an executor only starts, watches and ends workers.
"""

from bcc_lightning.argument_types import check_choice
from bcc_lightning.tuning.executors.base import Assignment, Executor
from bcc_lightning.tuning.executors.local import InProcess, Local, Seats
from bcc_lightning.tuning.executors.ray import Ray
from bcc_lightning.tuning.executors.slurm import Slurm
from bcc_lightning.tuning.options import ActorOptions, ExecutorName, JobOptions


def make_executor(
    name: ExecutorName, assignment: Assignment, seats: Seats, slurm: JobOptions | None = None, ray: ActorOptions | None = None
) -> Executor:
    """Make an executor, and import the package that it needs.

    Args:
        name: name of the executor.
        assignment: study of the workers, and what they need to run its trials.
        seats: how this machine is divided among workers; not used on a cluster.
        slurm: resources of each job of SLURM.
        ray: resources of each actor of Ray.

    Raises:
        UserError: the name is unknown, the package that the executor needs is missing, or there is no cluster.
    """
    check_choice("executor", name, ExecutorName)
    if name == "slurm":
        return Slurm(assignment, slurm)
    if name == "ray":
        return Ray(assignment, ray)
    return InProcess(assignment, seats) if name == "in_process" else Local(assignment, seats)
