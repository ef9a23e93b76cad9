"""The table of published and measured figures, row by row."""

from collections.abc import Sequence
from dataclasses import dataclass

from bcc_lightning.reproduction.published import PUBLISHED, System
from bcc_lightning.reproduction.results import Result, result_of
from bcc_lightning.tracking.finished import FinishedRun

NO_RUN = "no run"

AS_PUBLISHED = "as_published/"

COLUMNS = (
    "system",
    "published (what the figure really is; source; split)",
    "this project as published",
    "corrected, with 95 % interval",
    "data, resolution, pretrained",
    "run id",
)


@dataclass(frozen=True)
class Row:
    """A system with its published figure and those of this project.

    Attributes:
        system: what was published.
        as_published: from runs of the source's own recipe; None where there is no run.
        corrected: from runs under the corrected protocol; likewise.
    """

    system: System
    as_published: Result | None
    corrected: Result | None

    @property
    def published(self) -> list[str]:
        """Lines on what was published: figures with their meaning, source and split, note."""
        figures = [f"{figure.percent}: {figure.meaning}" for figure in self.system.figures] or ["no figure"]
        places = "; ".join(part for part in (self.system.source, self.system.split) if part)
        return [*figures, places, *([self.system.note] if self.system.note else [])]

    @property
    def data(self) -> list[str]:
        """Lines on the data of the runs; told apart where there are two."""
        return self._told_apart({name: result.data for name, result in self._results.items()})

    @property
    def runs(self) -> list[str]:
        """Lines with the run ids; told apart where there are two."""
        return self._told_apart({name: ", ".join(result.runs) for name, result in self._results.items()})

    @property
    def cells(self) -> list[list[str]]:
        """The row's cells, each as lines, in the order of `COLUMNS`."""
        return [
            [self.system.experiment],
            self.published,
            [str(self.as_published or NO_RUN)],
            [str(self.corrected or NO_RUN)],
            self.data or [NO_RUN],
            self.runs or [NO_RUN],
        ]

    @property
    def _results(self) -> dict[str, Result]:
        both = {"corrected": self.corrected, "as published": self.as_published}
        return {name: result for name, result in both.items() if result is not None}

    @staticmethod
    def _told_apart(lines: dict[str, str]) -> list[str]:
        if len(set(lines.values())) == 1:
            return [next(iter(lines.values()))]
        return [f"{name}: {line}" for name, line in lines.items()]


def table(runs: Sequence[FinishedRun], systems: Sequence[System] = PUBLISHED) -> list[Row]:
    """Put the finished runs beside the published figures.

    Args:
        runs: finished runs, the newest first.
        systems: what was published.
    """
    found: dict[str, list[FinishedRun]] = {}
    for run in runs:
        found.setdefault(run.experiment, []).append(run)
    return [
        Row(
            system,
            result_of(found.get(AS_PUBLISHED + system.experiment, [])),
            result_of(found.get(system.experiment, [])),
        )
        for system in systems
    ]
