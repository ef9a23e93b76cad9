"""The table of published and measured figures, row by row."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import StringIO
from itertools import groupby
from pathlib import Path

import yaml

from bcc_lightning.cli.experiment_files import experiment_names
from bcc_lightning.files import whole_file
from bcc_lightning.pages.rendering import page_template
from bcc_lightning.reproduction.published import PUBLISHED, System
from bcc_lightning.reproduction.results import Result, result_of
from bcc_lightning.tracking.finished_runs import FinishedRun

NO_RUN = "no run"

AS_PUBLISHED, LITE = "as_published/", "lite/"
"""Folders of the experiments that belong to a system: the source's own recipe, and its method with weights from packages."""

COLUMNS = (
    "system",
    "published (what the figure really is; source; split)",
    "this project as published",
    "corrected, with 95 % interval",
    "its method with packaged weights",
    "data, resolution, pretrained",
    "run id",
)


@dataclass(frozen=True)
class Row:
    """A system with its published figure and those of this project.

    Attributes:
        system: the published system.
        as_published: result of runs of the source's own recipe; None if there are none.
        corrected: result of runs under the corrected protocol; likewise.
        lite: result of runs of its method with a network whose weights come as a package; likewise.
    """

    system: System
    as_published: Result | None
    corrected: Result | None
    lite: Result | None = None

    @property
    def published(self) -> list[str]:
        """Lines about the publication: figures with their meaning, source and split, note."""
        figures = [f"{figure.percent}: {figure.meaning}" for figure in self.system.figures] or ["no figure"]
        places = "; ".join(part for part in (self.system.source, self.system.split) if part)
        return [*figures, places, *([self.system.note] if self.system.note else [])]

    @property
    def data(self) -> list[str]:
        """Lines about the data of the runs; named if there are two results."""
        return self._named({name: result.data for name, result in self._results.items()})

    @property
    def runs(self) -> list[str]:
        """Lines with the run ids; named if there are two results."""
        return self._named({name: ", ".join(result.runs) for name, result in self._results.items()})

    @property
    def cells(self) -> list[list[str]]:
        """The row's table cells, each a list of lines, in the order of `COLUMNS`."""
        return [
            [self.system.experiment],
            self.published,
            [str(self.as_published or NO_RUN)],
            [str(self.corrected or NO_RUN)],
            [str(self.lite), self.lite.weights] if self.lite else [NO_RUN],
            self.data or [NO_RUN],
            self.runs or [NO_RUN],
        ]

    @property
    def _results(self) -> dict[str, Result]:
        every = {"corrected": self.corrected, "as published": self.as_published, "packaged weights": self.lite}
        return {name: result for name, result in every.items() if result is not None}

    @staticmethod
    def _named(lines: dict[str, str]) -> list[str]:
        if len(set(lines.values())) == 1:
            return [next(iter(lines.values()))]
        return [f"{name}: {line}" for name, line in lines.items()]


def table(runs: Sequence[FinishedRun], systems: Sequence[System] = PUBLISHED) -> list[Row]:
    """Put the finished runs beside the published figures.

    Args:
        runs: finished runs, the newest first.
        systems: the published systems.
    """
    found: dict[str, list[FinishedRun]] = {}
    files = {file.resolve() for file in experiment_names().values()}
    for run in runs:
        if all(is_named(experiment, files) for experiment in yaml.safe_load(run.parameters.get("exp", "[]")) or []):
            found.setdefault(run.experiment, []).append(run)
    return [
        Row(
            system,
            result_of(found.get(AS_PUBLISHED + system.experiment, [])),
            result_of(found.get(system.experiment, [])),
            result_of(found.get(LITE + system.experiment, [])),
        )
        for system in systems
    ]


def is_named(experiment: str, files: set[Path]) -> bool:
    """Check that an experiment was given by its name, or as one of these files: a file elsewhere may be called the same."""
    return not experiment.endswith((".yaml", ".yml")) or Path(experiment).resolve() in files


FIGURES = ("accuracy", "low", "high")

LEGEND = (
    "Accuracy in percent. 'As published' is the source's own recipe, 'corrected' one protocol for all: the backbone's own input "
    "statistics, the epoch chosen on the validation set, the test set evaluated once. 'Its method with packaged weights' is that "
    "recipe on a smaller network that is really pretrained. In brackets the 95 % interval (Wilson). "
    "'28 enlarged to 224' and '224 native' are different data. Results on other data or another split are not comparable with "
    "the published figures."
)


def write_table(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write ``table.md``, ``table.html`` and ``table.csv``.

    Args:
        rows: the table.
        folder: folder for the files.

    Returns:
        The files.
    """
    written = []
    for suffix, content in (("md", markdown(rows)), ("html", html(rows)), ("csv", comma_separated(rows))):
        file = folder / f"table.{suffix}"
        with whole_file(file) as draft:
            draft.write_text(content, encoding="utf-8", newline="")
        written.append(file)
    return written


def markdown(rows: Sequence[Row]) -> str:
    """Format the table in Markdown; lines of a cell are separated by ``<br>``."""
    lines = [" | ".join(COLUMNS), " | ".join("---" for _ in COLUMNS)]
    for row in rows:
        lines.append(
            " | ".join("<br>".join(escape(line, quote=False).replace("|", "\\|") for line in cell) for cell in row.cells)
        )
    return "\n".join([LEGEND, "", *(f"| {line} |" for line in lines), ""])


def comma_separated(rows: Sequence[Row]) -> str:
    """Format the table as CSV, with accuracies also as shares in [0, 1], for programs."""
    stream = StringIO()
    writer = csv.writer(stream)
    kinds = ("as_published", "corrected", "lite")
    writer.writerow([*COLUMNS, *(f"{kind}_{figure}" for kind in kinds for figure in FIGURES)])
    for row in rows:
        figures = [value for result in (row.as_published, row.corrected, row.lite) for value in shares(result)]
        writer.writerow(["; ".join(cell) for cell in row.cells] + figures)
    return stream.getvalue()


def shares(result: Result | None) -> list[str]:
    """Return accuracy and interval of a result in [0, 1]; empty if there is none."""
    if result is None:
        return [""] * len(FIGURES)
    return [f"{result.accuracy:.6f}", *(f"{bound:.6f}" for bound in result.interval or ())] + [""] * (0 if result.interval else 2)


def html(rows: Sequence[Row]) -> str:
    """Format the table as a page, grouped by source."""
    groups = [(source, list(members)) for source, members in groupby(rows, key=lambda row: row.system.source)]
    runs = sum(bool(row.runs) for row in rows)
    return page_template("bcc_lightning.reproduction", "table.html.jinja").render(
        columns=COLUMNS, groups=groups, legend=LEGEND, no_run=NO_RUN, runs=runs, total=len(rows)
    )
