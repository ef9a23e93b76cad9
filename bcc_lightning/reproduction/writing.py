"""The table as Markdown, HTML and CSV."""

import csv
from collections.abc import Sequence
from html import escape
from io import StringIO
from itertools import groupby
from pathlib import Path

from bcc_lightning.pages import page_template
from bcc_lightning.reproduction.results import Result
from bcc_lightning.reproduction.table import COLUMNS, NO_RUN, Row
from bcc_lightning.whole_file import whole_file

FIGURES = ("accuracy", "low", "high")

LEGEND = (
    "Accuracy in percent. 'As published' is the source's own recipe, 'corrected' one protocol for all: the backbone's own input "
    "statistics, the epoch chosen on the validation part, the test part read once. In brackets the 95 % interval (Wilson). "
    "'28 enlarged to 224' and '224 native' are different data. Figures on other data or another split than the published ones "
    "do not compare with them."
)


def write_table(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write ``table.md``, ``table.html`` and ``table.csv``.

    Args:
        rows: the table.
        folder: where they go.

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
    """Lay out the table in Markdown; lines of a cell are divided by ``<br>``."""
    lines = [" | ".join(COLUMNS), " | ".join("---" for _ in COLUMNS)]
    for row in rows:
        lines.append(
            " | ".join("<br>".join(escape(line, quote=False).replace("|", "\\|") for line in cell) for cell in row.cells)
        )
    return "\n".join([LEGEND, "", *(f"| {line} |" for line in lines), ""])


def comma_separated(rows: Sequence[Row]) -> str:
    """Lay out the table as CSV, with the figures once more as shares of one, for programs."""
    stream = StringIO()
    writer = csv.writer(stream)
    kinds = ("as_published", "corrected")
    writer.writerow([*COLUMNS, *(f"{kind}_{figure}" for kind in kinds for figure in FIGURES)])
    for row in rows:
        figures = [value for result in (row.as_published, row.corrected) for value in shares(result)]
        writer.writerow(["; ".join(cell) for cell in row.cells] + figures)
    return stream.getvalue()


def shares(result: Result | None) -> list[str]:
    """Give accuracy and interval of a result in [0, 1]; empty where there is none."""
    if result is None:
        return [""] * len(FIGURES)
    return [f"{result.accuracy:.6f}", *(f"{bound:.6f}" for bound in result.interval or ())] + [""] * (0 if result.interval else 2)


def html(rows: Sequence[Row]) -> str:
    """Lay out the table as a page, grouped by source."""
    groups = [(source, list(members)) for source, members in groupby(rows, key=lambda row: row.system.source)]
    runs = sum(bool(row.runs) for row in rows)
    return page_template("bcc_lightning.reproduction", "table.html.jinja").render(
        columns=COLUMNS, groups=groups, legend=LEGEND, no_run=NO_RUN, runs=runs, total=len(rows)
    )
