"""What a cross-validation is to do: read from the arguments, or from the folder of one that is resumed."""

from dataclasses import dataclass, field, fields
from typing import Any

from bcc_lightning.cli.command import take_option
from bcc_lightning.errors import UserError
from bcc_lightning.files import read_json, write_json
from bcc_lightning.tracking.resume import find_resumable, refuse_with_resume, resume_arguments
from bcc_lightning.tracking.run_files import RunFolder
from bcc_lightning.tracking.store import Tracking


@dataclass
class CrossValidation:
    """What a cross-validation is to do and has done.

    Attributes:
        argv: arguments of each fold, without those that tell folds apart.
        folds: number of folds K.
        repeats: how often the cells are divided anew.
        finished: summary of each finished fold.
        summary: file that gets the summary; None for none.
        resumed: folder of the parent run to go on with; None for a new one.
    """

    argv: list[str]
    folds: int
    repeats: int = 1
    finished: dict[str, dict[str, Any]] = field(default_factory=dict)
    summary: str | None = None
    resumed: RunFolder | None = None

    @property
    def numbers(self) -> range:
        """Numbers of all folds."""
        return range(self.folds * self.repeats)

    @property
    def unfinished(self) -> list[int]:
        """Numbers of the folds that are left."""
        return [fold for fold in self.numbers if str(fold) not in self.finished]

    def keep(self, folder: RunFolder) -> None:
        """Keep what is to be done and has been done in the parent run's folder."""
        write_json(folder.folds, {"folds": self.folds, "repeats": self.repeats, "finished": self.finished})

    def read_finished(self, folder: RunFolder) -> None:
        """Read which folds have been finished."""
        self.finished = (read_json(folder.folds) or {}).get("finished", {})


def cross_validation_plan(argv: list[str]) -> CrossValidation | None:
    """Read from the arguments whether a cross-validation is wanted, new or to be gone on with.

    Raises:
        UserError: the number of folds or repeats is none.
    """
    resumed, rest = take_option(argv, "--resume")
    folds, rest = take_option(rest, "--folds")
    repeats, rest = take_option(rest, "--repeats")
    summary, rest = take_option(rest, "--summary")
    if resumed:
        return resumed_plan(resumed[-1], argv)
    if not folds:
        if repeats:
            raise UserError("--repeats needs --folds K")
        return None
    return CrossValidation(
        rest,
        whole("--folds", folds[-1], 2),
        whole("--repeats", repeats[-1] if repeats else "1", 1),
        summary=summary[-1] if summary else None,
    )


def resumed_plan(wanted: str, argv: list[str]) -> CrossValidation | None:
    """Read the plan of a cross-validation that is gone on with; None where the run to go on with is none, and no part of one.

    Each fold that is left gets the configuration that the parent was started with, and the flags that are given now.

    Raises:
        UserError: there is no such run, or an option was given that starts something new.
    """
    _, flags = take_option(argv, "--resume")
    summary, flags = take_option(flags, "--summary")
    work = tracking_of(flags).work
    folder = find_resumable(work, wanted)
    if folder.parent.is_file():
        folder = RunFolder(work / folder.parent.read_text(encoding="utf-8"))
    kept = read_json(folder.folds)
    if kept is None:
        return None
    refuse_with_resume(flags)
    plan = CrossValidation(flags, kept["folds"], kept["repeats"], kept["finished"], resumed=folder)
    plan.summary = summary[-1] if summary else None
    return plan


def whole(option: str, value: str, least: int) -> int:
    """Read a whole number.

    Raises:
        UserError: it is none, or too small.
    """
    if not value.isdecimal() or int(value) < least:
        raise UserError(f"{option} is '{value}', it must be a whole number from {least}")
    return int(value)


def tracking_of(argv: list[str]) -> Tracking:
    """Read from the arguments where runs are kept."""
    given = {key.name: take_option(argv, f"--tracking.{key.name}")[0] for key in fields(Tracking)}
    return Tracking(**{name: values[-1] for name, values in given.items() if values})


def fold_arguments(plan: CrossValidation, fold: int) -> list[str]:
    """Put together the arguments of a new fold; those of a cross-validation that is gone on with begin with its configuration."""
    begin = resume_arguments(plan.resumed, flags_of_folds(plan)) if plan.resumed else plan.argv
    return [*begin, "--data.folds", str(plan.folds), "--data.fold", str(fold)]


def resume_fold(plan: CrossValidation, folder: RunFolder) -> list[str]:
    """Put together the arguments of a fold that was interrupted."""
    return ["--resume", folder.path.name, *(flags_of_folds(plan) if plan.resumed else tracking_flags(plan.argv))]


def flags_of_folds(plan: CrossValidation) -> list[str]:
    """Choose the flags that are given to each fold: all but the parent's name."""
    return take_option(plan.argv, "--tracking.run_name")[1]


def tracking_flags(argv: list[str]) -> list[str]:
    """Choose the flags that say where runs are kept."""
    folders, _ = take_option(argv, "--tracking.folder")
    return ["--tracking.folder", folders[-1]] if folders else []
