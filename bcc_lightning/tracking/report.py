"""The report of a run: one page that holds all its figures, and can be forwarded and printed."""

from pathlib import Path
from typing import Any

from bcc_lightning.evaluation.metrics import TEST
from bcc_lightning.files import read_json
from bcc_lightning.pages.rendering import data_uri, write_html
from bcc_lightning.safe_names import file_name
from bcc_lightning.tracking.checklist import filled, items
from bcc_lightning.tracking.description import MERITS, SETS, Description, merit
from bcc_lightning.tracking.run_files import RunFolder, Summary

SINGLE = ("recall/", "loss")
"""Metrics that have a place of their own, or none, in the report: their beginnings."""


def write_report(folder: RunFolder, summary: Summary) -> None:
    """Write the report from what the run's folder holds; figures that do not exist are left out.

    Args:
        folder: the run's folder.
        summary: its figures.
    """
    run = Description.of(folder, summary)
    mistakes = read_json(folder.mistakes) or {}
    sets = [
        {
            "set": one,
            "anchor": f"set-{number}",
            "confusion": picture(folder.figure(confusion_name(one.name))),
            "mistakes": mistakes.get(one.name, []),
        }
        for number, one in enumerate(run.sets)
    ]
    names = ("curves", "reliability", "members", "folds", "samples", "confusion_matrix")
    write_html(
        folder.report,
        "bcc_lightning.tracking",
        "report.html.jinja",
        summary=summary,
        run=run,
        sets=sets,
        merits=merits(run),
        cells=cells_by_class(summary),
        figures={name: picture(folder.figure(name)) for name in names} | {"maps": picture(folder.explanation("gradcam"))},
        checklist=items(run) if summary.status == "FINISHED" and summary.tested_on == TEST else [],
        filled=filled,
        config=folder.config.read_text(encoding="utf-8") if folder.config.is_file() else "",
    )


def picture(file: Path) -> str | None:
    """Return a PNG file as a URI; None if there is none."""
    return data_uri(file) if file.is_file() else None


def confusion_name(name: str) -> str:
    """Name the figure that holds the confusion matrix of a set."""
    return "confusion_matrix" if name == TEST else f"confusion_matrix_{file_name(name)}"


def merits(run: Description) -> tuple[list[str], list[list[str]]]:
    """Lay out the figures of merit of each set: headings and rows."""
    known = dict.fromkeys(name for one in run.sets for name in one.metrics if not name.startswith(SINGLE))
    order = [*(name for name in MERITS if name in known), *sorted(name for name in known if name not in MERITS)]
    rows = [[MERITS.get(name, name), *(merit(one, name) for one in run.sets)] for name in order]
    return ["", *(one.title for one in run.sets)], rows


def cells_by_class(summary: Summary) -> tuple[list[str], list[list[str]]] | None:
    """Lay out how many cells of each class each set holds: headings and rows; None where it is not known."""
    counts: dict[str, list[int]] = summary.cells
    if not counts:
        return None
    columns: list[Any] = list(zip(*counts.values(), strict=True))
    rows = [[name, *(f"{count:,}" for count in row)] for name, row in zip(summary.classes, columns, strict=True)]
    rows.append(["all", *(f"{sum(count):,}" for count in counts.values())])
    return ["class", *(SETS.get(name, name) for name in counts)], rows
