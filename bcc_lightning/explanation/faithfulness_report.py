"""The faithfulness of maps as a page for people, a table in the terminal, and files for programs."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from bcc_lightning.evaluation.figures import save_figure
from bcc_lightning.explanation.colours import enlarged, overlaid, without_peaks
from bcc_lightning.explanation.masks import Mask, MaskValue
from bcc_lightning.explanation.methods import METHODS, Maps
from bcc_lightning.explanation.page import PACKAGE, PageFacts
from bcc_lightning.explanation.perturbation import BLUR, PERCENTILES, STEPS
from bcc_lightning.explanation.scores import Faithfulness, MethodScores, Metric, is_better
from bcc_lightning.files import write_csv, write_json
from bcc_lightning.pages.rendering import data_uri, write_html
from bcc_lightning.printable import plain

BETTER, SAME, WORSE = "▲", "", "▼"

TERMINAL = 165
"""Columns of the tables in the terminal; narrower ones could not be read."""

PANEL = 240
"""Side of a panel of the examples in pixels of the figure, which is shown at half the size."""


def write_faithfulness(found: Faithfulness, facts: PageFacts, examples: Figure, out: Path) -> None:
    """Write ``faithfulness.json``, ``.csv``, ``.html`` and the examples that the page shows.

    Args:
        found: the scores.
        facts: what is to be known of the network.
        examples: see `examples_figure`.
        out: folder.
    """
    picture = out / "examples.png"
    save_figure(examples, picture)
    write_json(out / "faithfulness.json", {"run_id": facts.run_id, "network": facts.network, **found.as_dict()})
    write_csv(as_table(found), out / "faithfulness.csv")
    write_html(
        out / "faithfulness.html",
        PACKAGE,
        "faithfulness.html.jinja",
        found=found,
        facts=facts,
        groups=groups(found),
        cell=cell_text,
        mark=lambda one, metric: mark(found, one, metric),
        sources={name: method.source for name, method in METHODS.items()},
        examples=data_uri(picture),
        steps=STEPS,
        percentiles=PERCENTILES,
        blur=BLUR,
    )


def print_faithfulness(found: Faithfulness) -> None:
    """Print a table for each group of metrics."""
    for title, metrics in groups(found):
        table = Table(title=title)
        table.add_column("method", no_wrap=True)
        for metric in metrics:
            table.add_column(f"{metric.title} {'↑' if metric.higher else '↓'}", justify="right", no_wrap=True)
        for one in found.methods:
            row = [f"{mark(found, one, metric)} {' '.join(cell_text(one, metric))}" for metric in metrics]
            table.add_row(plain(f"({one.title})" if one.is_baseline else one.title), *row)
        Console(width=TERMINAL).print(table)
    print(
        f"In brackets: 95 % intervals over the cells. {BETTER} better, {WORSE} worse than {found.reference.title} on the same "
        "cells: the interval of the difference excludes 0. Methods in brackets are baselines, which know nothing of the network."
    )
    for metric in found.metrics:
        if metric.is_sanity:
            continue
        print(f"{metric.title}: better than every baseline: {', '.join(found.beating_baselines(metric)) or 'none'}")


def groups(found: Faithfulness) -> list[tuple[str, list[Metric]]]:
    """Divide the metrics by the cells that they were measured on, with a title."""
    both = ((False, f"{found.cells} test cells"), (True, f"{found.masked_cells} cells with masks"))
    named = [(title, [metric for metric in found.metrics if metric.on_masks == on_masks]) for on_masks, title in both]
    return [(title, metrics) for title, metrics in named if metrics]


def cell_text(one: MethodScores, metric: Metric) -> tuple[str, str]:
    """Format mean and interval of a metric."""
    low, high = one.interval(metric.name)
    return f"{one.mean(metric.name):.3f}", f"({low:.3f} to {high:.3f})"


def mark(found: Faithfulness, one: MethodScores, metric: Metric) -> str:
    """Mark a method that is better or worse than the reference."""
    better = is_better(one, found.reference, metric)
    return SAME if better is None else BETTER if better else WORSE


def as_table(found: Faithfulness) -> pd.DataFrame:
    """Lay out all scores, a row per method and metric."""
    rows: list[dict[str, Any]] = []
    for one in found.methods:
        for metric in found.metrics:
            (low, high), (difference, spread) = one.interval(metric.name), one.against(found.reference, metric.name)
            rows.append(
                {
                    "method": one.name,
                    "baseline": one.is_baseline,
                    "metric": metric.name,
                    "better": "higher" if metric.higher else "lower",
                    "cells": len(one.scores[metric.name]),
                    "mean": one.mean(metric.name),
                    "low": low,
                    "high": high,
                    f"minus_{found.reference.name}": difference,
                    "difference_low": spread[0],
                    "difference_high": spread[1],
                }
            )
    return pd.DataFrame(rows)


def examples_figure(pixels: Maps, maps: Iterable[tuple[str, Maps]], masks: Mask | None) -> Figure:
    """Draw a few cells, and the maps of all methods beside each.

    Args:
        pixels: (N, S, S, 3) float32 in [0, 1].
        maps: title and maps (N, S, S) of each method.
        masks: (N, S, S), whose outlines are drawn; None for none.
    """
    columns: list[tuple[str, Maps | None]] = [("image", None), *maps]
    figure = Figure(figsize=(1.2 * len(columns), 1.2 * len(pixels) + 0.3), dpi=2 * 100)
    grid = figure.subplots(len(pixels), len(columns), squeeze=False)
    figure.subplots_adjust(0.002, 0.002, 0.998, 1 - 0.3 / figure.get_figheight(), 0.04, 0.04)
    for row, image in enumerate(pixels):
        for column, (title, values) in enumerate(columns):
            axes = grid[row, column]
            axes.axis("off")
            large = enlarged(image, PANEL, smooth=False)
            axes.imshow(large if values is None else overlaid(large, without_peaks(values[row])), interpolation="none")
            if row == 0:
                axes.set_title(title, fontsize=8.5, pad=4)
            if masks is not None:
                outline = enlarged(masks[row].astype(np.float32), PANEL, smooth=False)
                between = (MaskValue.BACKGROUND + MaskValue.CYTOPLASM) / 2, (MaskValue.CYTOPLASM + MaskValue.NUCLEUS) / 2
                axes.contour(outline, levels=between, colors=("white", "#ff4d4d"), linewidths=0.9)
    return figure
