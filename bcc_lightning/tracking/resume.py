"""Resuming a run: which one is meant, and whether its data are still the same."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from bcc_lightning.datamodules import CellDataModule
from bcc_lightning.errors import UserError
from bcc_lightning.files import read_json
from bcc_lightning.tracking.place import sqlite_file
from bcc_lightning.tracking.recipe import read_sets
from bcc_lightning.tracking.run_files import RunFolder
from bcc_lightning.tracking.settings import Tracking

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
    """Return when a run's state last changed, in seconds since 1970; drafts in it may vanish while it is read."""
    times = [0.0]
    for path in (folder.config, folder.state, *folder.state.glob("*")):
        with suppress(FileNotFoundError):
            times.append(path.stat().st_mtime)
    return max(times)


def is_complete(folder: RunFolder) -> bool:
    """Check whether a run did all its work and only waits to be sent."""
    summary = read_json(folder.summary)
    return summary is not None and summary["status"] == "FINISHED"


def resume_arguments(folder: RunFolder, tracking: Tracking, flags: list[str]) -> list[str]:
    """Build the arguments of a run that goes on: its configuration, then the flags, then the folder in which it was found.

    If the database that the run named is gone and there is one beside the run, it has moved with the folder.
    """
    home = folder.path.parent.parent
    uri = (yaml.safe_load(folder.config.read_text(encoding="utf-8")).get("tracking") or {}).get("uri")
    database = sqlite_file(uri) if uri else None
    moved = database is not None and not database.is_file() and (home / "mlflow.db").is_file()
    store = ["--tracking.uri=null"] if moved else []
    return ["--config", str(folder.config), *store, *flags, f"--tracking.folder={tracking.folder}"]


HASHES = {"data.sha256": "the data set", "split.sha256": "which cell is in which set"}
"""Facts that must be the same, and what they stand for."""


def refuse_other_data(run_id: str, record: Path, split: Path, data: CellDataModule) -> None:
    """Refuse to resume a run with other data than it began with.

    Args:
        run_id: the run.
        record: what `CellDataModule.record` said when it began; nothing is compared where the run was cut off before that.
        split: which cell was in which set: CSV with the columns ``id`` and ``split``.
        data: the data as they are now.

    Raises:
        UserError: with what differs.
    """
    before = read_json(record)
    if before is None or before == (now := data.record()):
        return
    differences = [
        *moved_cells(split, data),
        *changed_classes(before, now),
        *changed_components(before["components"], now["components"]),
    ]
    if not differences:
        differences = [
            f"{what} ({name} {before[name][:12]}, now {now[name][:12]})"
            for name, what in HASHES.items()
            if before[name] != now[name]
        ]
    if not differences:
        return
    raise UserError(
        f"run {run_id} cannot be resumed, since its data have changed: {'; '.join(differences)}. Next step: bring back the data "
        "that it began with, or name their folder with --data.root DIR; or start a new run with --exp NAME"
    )


def moved_cells(split: Path, data: CellDataModule) -> list[str]:
    """List which cells are new, missing or in another set than a filed split says: how many, and the first of each."""
    if not split.is_file():
        return []
    before = read_sets(split)
    now = {str(cell): str(name) for name, cells in data.splits.items() for cell in cells.ids}
    new = [cell for cell in now if cell not in before]
    missing = [cell for cell in before if cell not in now]
    moved = [f"{cell} from {before[cell]} to {now[cell]}" for cell in before if cell in now and now[cell] != before[cell]]
    named = {"new": new, "missing": missing, "in another set": moved}
    return [
        f"{len(cells)} {'cell is' if len(cells) == 1 else 'cells are'} {what} ({cells[0]}{', ...' if cells[1:] else ''})"
        for what, cells in named.items()
        if cells
    ]


def changed_classes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Describe how the classes differ, if they do."""
    if before["classes"] == now["classes"]:
        return []
    return [f"the classes were {', '.join(before['classes'])}, now {', '.join(now['classes'])}"]


def changed_components(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Name the components of the data, such as pixels or labels, whose hashes differ; one that was not known then is left out."""
    named = [name for name in before if name in now and before[name] != now[name] and name != "classes"]
    return [f"{', '.join(named)} differ"] if named else []
