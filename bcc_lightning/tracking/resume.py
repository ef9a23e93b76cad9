"""Finding the run that ``--resume`` means."""

from contextlib import suppress
from pathlib import Path

import yaml

from bcc_lightning.command import take_option
from bcc_lightning.errors import UserError
from bcc_lightning.tracking.folder import RunFolder
from bcc_lightning.tracking.place import sqlite_file
from bcc_lightning.tracking.store import Tracking
from bcc_lightning.whole_file import read_json

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
    """Return when a run's state last changed, in seconds since 1970; drafts in it may vanish meanwhile."""
    times = [0.0]
    for path in (folder.config, folder.state, *folder.state.glob("*")):
        with suppress(FileNotFoundError):
            times.append(path.stat().st_mtime)
    return max(times)


def is_complete(folder: RunFolder) -> bool:
    """Check whether a run did all its work and only waits to be sent."""
    summary = read_json(folder.summary)
    return summary is not None and summary["status"] == "FINISHED"


def refuse_with_resume(flags: list[str]) -> None:
    """Refuse options that start something new.

    Raises:
        UserError: one was given together with ``--resume``.
    """
    for option in ("--exp", "--folds", "--repeats"):
        if values := take_option(flags, option)[0]:
            raise UserError(
                f"{option} {values[-1]} cannot be combined with --resume: a run goes on with the configuration that it began "
                f"with. Next step: leave {option} out to go on, or leave --resume out to start a new run"
            )


def resume_arguments(folder: RunFolder, flags: list[str]) -> list[str]:
    """Put together the arguments of a run to go on with: its configuration, then the flags, then the folder that it was found in.

    A database that the run named and that is gone has moved with the folder, if there is one beside the run.
    """
    home = folder.path.parent.parent
    uri = (yaml.safe_load(folder.config.read_text(encoding="utf-8")).get("tracking") or {}).get("uri")
    database = sqlite_file(uri) if uri else None
    moved = database is not None and not database.is_file() and (home / "mlflow.db").is_file()
    found = take_option(flags, "--tracking.folder")[0] or [Tracking.folder]
    return ["--config", str(folder.config), *(["--tracking.uri=null"] if moved else []), *flags, f"--tracking.folder={found[-1]}"]
