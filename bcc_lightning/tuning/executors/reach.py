"""Whether all nodes of a cluster reach the study and the runs."""

import socket
from collections.abc import Iterable

from bcc_lightning.errors import UserError
from bcc_lightning.tuning.executors.base import Assignment


def refuse_files_of_this_machine(assignment: Assignment, nodes: Iterable[str]) -> None:
    """Refuse a study or a tracking store in a file where workers run on other machines: over a network its locks do not hold.

    Args:
        assignment: what the workers work at.
        nodes: addresses or host names of the cluster's nodes.

    Raises:
        UserError: some node is another machine.
    """
    name = socket.gethostname()
    others = sorted(set(nodes) - {"127.0.0.1", "localhost", name, name.partition(".")[0]})
    if not others:
        return
    why = f"is a file, which only one machine can write safely, but workers would also run on {', '.join(others[:3])}. Next step"
    if assignment.storage.file:
        raise UserError(
            f"--storage {assignment.storage.url} {why}: keep the study on a server, with --storage postgresql://USER@HOST/DATABASE"
        )
    if assignment.tracking.startswith("sqlite:"):
        raise UserError(
            f"tracking store {assignment.tracking} {why}: start an MLflow server that all nodes reach, and name it with "
            "--tracking.uri http://HOST:PORT behind --, or in MLFLOW_TRACKING_URI"
        )
