"""Tables of a differential and of its agreement with an examiner: as files, and as lines of text."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bcc_lightning.differential.agreement import agree
from bcc_lightning.differential.figures import agreement_figure, differential_figure, in_per_cent
from bcc_lightning.evaluation.figures import save_figure
from bcc_lightning.files import whole_file

DIGITS = "%.6g"
"""Format of shares in files."""


def write_both(table: pd.DataFrame, figure: Figure | None, file: Path) -> list[Path]:
    """Write a table as CSV, in which NaN is left blank, and its figure beside it; return the files."""
    with whole_file(file) as draft:
        table.to_csv(draft, index=False, float_format=DIGITS, encoding="utf-8", errors="backslashreplace")
    if figure is None:
        return [file]
    save_figure(figure, file.with_suffix(".png"))
    return [file, file.with_suffix(".png")]


def write_differential(table: pd.DataFrame, file: Path) -> list[Path]:
    """Write a differential and its figure.

    Args:
        table: as from `counting.differential`.
        file: the CSV, e.g. ``cells.differential.csv``; the figure has the suffix ``.png`` instead.

    Returns:
        The files that were written; no figure without slides.
    """
    figure = None if table.empty else differential_figure(table)
    return write_both(table, figure, file)


def write_agreement(counted: pd.DataFrame, reference: pd.DataFrame, file: Path) -> list[Path]:
    """Write the agreement with an examiner and its figure; arguments as in `agreement.agree` and `write_differential`."""
    return write_both(agree(counted, reference), agreement_figure(counted, reference), file)


def differential_cells(table: pd.DataFrame) -> list[tuple[str, str, str, str, str]]:
    """Return a differential as text for a table on a terminal or a page.

    Args:
        table: as from `counting.differential`.

    Returns:
        For each row slide, class, cells, and in % the counted and the corrected share with their limits, as in
        ``3.0 (1.1 to 6.4)``; a dash where there is none. Names are as they are; escape them when they are displayed.
    """
    return [
        (
            str(row["slide"]),
            str(row["class"]),
            f"{row['count']:,}",
            in_per_cent(row["share"], row["low"], row["high"]),
            in_per_cent(row["corrected"], row["corrected_low"], row["corrected_high"]),
        )
        for row in table.to_dict("records")
    ]


def agreement_cells(table: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return an agreement as text for a table on a terminal or a page.

    Args:
        table: as from `agreement.agree`.

    Returns:
        For each class its name, the number of slides, bias with limits and both limits of agreement in points of %, the slopes
        of Passing and Bablok and of Deming with limits, Lin's correlation, and the limits between two observers.
    """

    def estimate(row: dict[Hashable, Any], key: str, factor: float = 1, digits: int = 2) -> str:
        """Format an estimate with its limits."""
        value, low, high = (round(factor * row[name], digits) + 0.0 for name in (key, f"{key}_low", f"{key}_high"))
        if np.isnan(value):
            return "–"
        return f"{value:.{digits}f}" + ("" if np.isnan(low) or np.isnan(high) else f" ({low:.{digits}f} to {high:.{digits}f})")

    def span(row: dict[Hashable, Any], kind: str) -> str:
        """Format two limits of agreement in points of %."""
        lower, upper = (round(100 * row[f"{kind}{limit}"], 1) + 0.0 for limit in ("lower", "upper"))  # never -0.0
        return "–" if np.isnan(lower) else f"{lower:+.1f} to {upper:+.1f}"

    return [
        (
            str(row["class"]),
            f"{row['slides']}",
            estimate(row, "bias", 100, 1),
            span(row, ""),
            estimate(row, "passing_bablok_slope"),
            estimate(row, "deming_slope"),
            "–" if np.isnan(row["lin"]) else f"{row['lin']:.3f}",
            span(row, "observers_"),
        )
        for row in table.to_dict("records")
    ]
