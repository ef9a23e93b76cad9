"""Whether all nodes of a cluster reach the study."""

import socket
from collections.abc import Iterable

from bcc_lightning.errors import UserError
from bcc_lightning.tuning.storage import Storage


def refuse_file_of_this_machine(storage: Storage, nodes: Iterable[str]) -> None:
    """Refuse a study in a file where workers run on other machines: over a network its locks do not hold.

    Args:
        storage: where the study is kept.
        nodes: addresses or host names of the cluster's nodes.

    Raises:
        UserError: some node is another machine.
    """
    name = socket.gethostname()
    here = {"127.0.0.1", "localhost", name, name.partition(".")[0]}
    others = sorted(set(nodes) - here)
    if storage.file and others:
        raise UserError(
            f"--storage {storage.url} is a file, which only one machine can write safely, but workers would also run on "
            f"{', '.join(others[:3])}. Next step: keep the study on a server, with --storage postgresql://USER@HOST/DATABASE"
        )
