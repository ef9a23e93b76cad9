"""Finding the folds of a cross-validation again."""

from bcc_lightning.tracking.claim import is_trained
from bcc_lightning.tracking.finished import FinishedRun
from bcc_lightning.tracking.folder import PARENT, RunFolder
from bcc_lightning.tracking.run import TrackedRun


def interrupted_fold(parent: RunFolder) -> RunFolder | None:
    """Find the fold of a parent run that was interrupted; one that had not begun is deleted instead."""
    for file in sorted(parent.path.parent.glob("*/state/parent")):
        folder = RunFolder(file.parents[1])
        if file.read_text(encoding="utf-8") != parent.path.name:
            continue
        if folder.config.is_file():
            return folder
        if not is_trained(folder):
            folder.remove()
    return None


def filed_fold(parent: TrackedRun, fold: int) -> FinishedRun | None:
    """Find a fold that was filed just before its process died, so that the parent does not know of it."""
    condition = f"tags.`{PARENT}` = '{parent.run_id}' AND params.`data.fold` = '{fold}' AND attributes.status = 'FINISHED'"
    found = parent.client.search_runs([parent.experiment_id], condition, max_results=1)
    return FinishedRun(parent.client, found[0], parent.tracking) if found else None
