"""Finding the run that ``--resume`` means."""

import json
from pathlib import Path

from bcc_lightning.errors import UserError
from bcc_lightning.tracking.folder import RunFolder

LISTED = 5


def find_resumable(work: Path, wanted: str) -> RunFolder:
    """Find the folder of a run that can go on.

    Args:
        work: folder of runs at work.
        wanted: a run id, or ``last`` for the one that was active last.

    Raises:
        UserError: there is none.
    """
    folders = sorted(
        (RunFolder(path) for path in work.glob("*") if RunFolder(path).config.is_file()), key=last_active, reverse=True
    )
    for folder in folders:
        if wanted in {"last", folder.path.name}:
            return folder
    known = ", ".join(folder.path.name for folder in folders[:LISTED]) or "none"
    raise UserError(
        f"no run '{wanted}' to resume in {work}; unfinished runs there: {known}. A finished run is not kept there. "
        "Next step: name one of them, or start a new run with --exp NAME"
    )


def last_active(folder: RunFolder) -> float:
    """Time of the last change of a run's state, seconds since 1970."""
    return max(path.stat().st_mtime for path in (folder.config, folder.state, *folder.state.iterdir()))


def is_complete(folder: RunFolder) -> bool:
    """Tell whether a run did all its work and only waits to be sent."""
    return folder.summary.is_file() and json.loads(folder.summary.read_text(encoding="utf-8"))["status"] == "FINISHED"
