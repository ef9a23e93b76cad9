"""What a cross-validation is to do and has done: read from a call, or from the folder and the folds of one that is resumed."""

from dataclasses import dataclass, field, replace
from typing import Any

from bcc_lightning.cli.arguments import Call
from bcc_lightning.cli.command import without
from bcc_lightning.files import read_json, write_json
from bcc_lightning.tracking.claim import is_trained
from bcc_lightning.tracking.finished_runs import FinishedRun
from bcc_lightning.tracking.resume import find_resumable, resume_arguments
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.run_files import PARENT, RunFolder
from bcc_lightning.tracking.store import all_pages

OF_PARENT = ("tracking.run_name", "tracking.log_model", "tracking.register")
"""Options of a call that are meant for the parent run."""

NO_MODEL = ("--tracking.log_model=false", "--tracking.register=null")
"""Flags of a fold: the folds are one model together, that of the parent run."""


@dataclass
class CrossValidation:
    """What a cross-validation is to do and has done.

    Attributes:
        call: the call that asked for it.
        folds: number of folds K.
        repeats: how often the cells are divided anew.
        finished: summary of each finished fold.
        resumed: folder of the parent run to go on with; None for a new one.
    """

    call: Call
    folds: int
    repeats: int = 1
    finished: dict[str, dict[str, Any]] = field(default_factory=dict)
    resumed: RunFolder | None = None

    @classmethod
    def of(cls, call: Call) -> "CrossValidation | None":
        """Return the cross-validation that a call asks for, new or resumed; None if it asks for none."""
        if call.resume:
            return cls.of_resumed(call, call.resume)
        return cls(call, call.folds, call.repeats or 1) if call.folds else None

    @classmethod
    def of_resumed(cls, call: Call, wanted: str) -> "CrossValidation | None":
        """Read what a cross-validation has left to do; None if the run to go on with is neither one nor a fold of one."""
        folder = find_resumable(call.tracking.work, wanted)
        if folder.parent.is_file():
            folder = RunFolder(call.tracking.work / folder.parent.read_text(encoding="utf-8"))
        kept = read_json(folder.folds)
        return None if kept is None else cls(call, kept["folds"], kept["repeats"], kept["finished"], folder)

    @property
    def numbers(self) -> range:
        """Numbers of all folds."""
        return range(self.folds * self.repeats)

    @property
    def unfinished(self) -> list[int]:
        """Numbers of the folds that are left."""
        return [fold for fold in self.numbers if str(fold) not in self.finished]

    @property
    def figures(self) -> list[dict[str, Any]]:
        """Summaries of the finished folds, in their order."""
        return [self.finished[key] for key in sorted(self.finished, key=int)]

    def keep(self, folder: RunFolder) -> None:
        """Keep in the parent run's folder what is to be done and has been done."""
        write_json(folder.folds, {"folds": self.folds, "repeats": self.repeats, "finished": self.finished})

    def read_finished(self, folder: RunFolder) -> None:
        """Read which folds have been finished."""
        self.finished = (read_json(folder.folds) or {}).get("finished", {})

    @property
    def parent_arguments(self) -> list[str]:
        """Arguments of the parent's configuration, which is that of its first fold."""
        if self.resumed:
            return resume_arguments(self.resumed, self.call.tracking, self.call.flags)
        return replace(self.call, flags=[*self.call.flags, *self._fold_flags(0)]).arguments

    def fold_call(self, fold: int) -> Call:
        """Build the call of a new fold.

        Each fold of a cross-validation that goes on gets the configuration that the parent was started with, then the flags that
        are given now.
        """
        flags = without(self.call.flags, *OF_PARENT)
        begin = resume_arguments(self.resumed, self.call.tracking, flags) if self.resumed else flags
        own = [*self._fold_flags(fold), "--tracking.run_name", f"fold {fold}", *NO_MODEL]
        return replace(self.call, resume=None, folds=None, repeats=None, summary=None, flags=[*begin, *own])

    def resumed_fold_call(self, folder: RunFolder) -> Call:
        """Build the call of a fold that was interrupted."""
        flags = [*(without(self.call.flags, *OF_PARENT) if self.resumed else []), *NO_MODEL]
        return Call(resume=folder.path.name, tracking=self.call.tracking, flags=flags)

    def _fold_flags(self, fold: int) -> list[str]:
        return ["--data.folds", str(self.folds), "--data.fold", str(fold)]


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
    condition = f"tags.`{PARENT}` = '{parent.run_id}' AND attributes.status = 'FINISHED'"
    filed = (
        FinishedRun(parent.client, run, parent.tracking) for run in all_pages(parent.client, [parent.experiment_id], condition)
    )
    return next((run for run in filed if run.parameters["data.fold"] == str(fold)), None)
