"""Figures of a differential and of its agreement with an examiner."""

from collections.abc import Sequence
from math import ceil

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bcc_lightning.differential.agreement import agree, paired_shares
from bcc_lightning.evaluation.figures import LONGEST_NAME
from bcc_lightning.printable import shortened

NETWORK, PLAIN, EXAMINER = "#3b6fb6", "#9a9a9a", "#d1603d"

SLIDES_SHOWN = 6
"""Slides in a figure of a differential; the table has all."""

CLASSES_SHOWN = 12
"""Classes in a figure of an agreement, the most frequent ones; the table has all."""

TICKS = (0, 1, 5, 10, 20, 40, 60, 80, 100)
"""Marked shares, in %."""


def in_per_cent(share: float, low: float, high: float) -> str:
    """Format a share with its limits, e.g. ``3.0 (1.1 to 6.4)``; a dash for NaN."""
    return "–" if np.isnan(share) else f"{100 * share:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def differential_figure(table: pd.DataFrame, slides: Sequence[str] | None = None) -> Figure:
    """Draw differentials: share and limits of each class, as a drawing and in figures.

    Args:
        table: as from `counting.differential`.
        slides: names of the slides to draw; by default the first `SLIDES_SHOWN`.

    Returns:
        A panel per slide. The corrected share is drawn above the counted one, if there is one. Shares are drawn by their
        square root, so that 0, 1 and 5 % can be told apart.
    """
    known = list(table["slide"].unique())
    chosen = known[:SLIDES_SHOWN] if slides is None else list(slides)
    classes = table["class"].nunique()
    figure = Figure(figsize=(11, max(1, len(chosen)) * (0.9 + 0.36 * classes)), dpi=120, layout="constrained")
    panels = figure.subplots(max(1, len(chosen)), 1, squeeze=False)[:, 0]
    for axes, slide in zip(panels, chosen, strict=False):
        draw_slide(axes, table[table["slide"] == slide], str(slide))
    if slides is None and len(known) > len(chosen):
        figure.suptitle(f"The first {len(chosen)} of {len(known)} slides", fontsize=10)
    return figure


def draw_slide(axes: Axes, rows: pd.DataFrame, slide: str) -> None:
    """Draw the differential of a slide; arguments as in `differential_figure`."""
    corrected = bool(rows["corrected"].notna().any())
    places = np.arange(len(rows), dtype=np.float64)
    counted = places + (0.18 if corrected else 0)
    draw_limits(axes, counted, rows, ("share", "low", "high"), PLAIN if corrected else NETWORK, "counted, exact binomial limits")
    if corrected:
        columns = ("corrected", "corrected_low", "corrected_high")
        draw_limits(axes, places - 0.18, rows, columns, NETWORK, "corrected for the network's confusions")
    cells = int(rows["count"].sum())
    names = shortened(map(str, rows["class"]), LONGEST_NAME)
    axes.set_yticks(places, [f"{name}   {count:,}" for name, count in zip(names, rows["count"], strict=True)])
    axes.set(ylim=(len(rows) - 0.4, -0.6), xlim=(0, 1))
    axes.set_xticks(np.sqrt(np.array(TICKS) / 100), [f"{tick}" for tick in TICKS])
    title = f"{shortened([slide], LONGEST_NAME)[0]}: {cells:,} cells" + (", so no shares" if not cells else "")
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel("% of the cells, with 95 % limits", fontsize=9)
    axes.grid(axis="x", alpha=0.25)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0)
    beside = axes.twinx()
    columns = ("corrected", "corrected_low", "corrected_high") if corrected else ("share", "low", "high")
    values = rows[list(columns)].to_numpy(np.float64)
    beside.set_yticks(places, [in_per_cent(*value) for value in values])
    beside.set_ylim(axes.get_ylim())
    beside.tick_params(axis="y", length=0, labelcolor=NETWORK)
    beside.spines[:].set_visible(False)


def draw_limits(
    axes: Axes, places: npt.NDArray[np.float64], rows: pd.DataFrame, columns: Sequence[str], colour: str, label: str
) -> None:
    """Draw shares as points and their limits as bars."""
    share, low, high = (np.sqrt(rows[column].to_numpy(np.float64)) for column in columns)
    axes.hlines(places, low, high, color=colour, linewidth=2.2, alpha=0.75)
    axes.plot(share, places, "o", color=colour, markersize=5, label=label, clip_on=False, zorder=3)


def agreement_figure(counted: pd.DataFrame, reference: pd.DataFrame) -> Figure:
    """Draw the agreement of counted slides with an examiner's counts; two panels per class.

    Args:
        counted: as in `agreement.agree`.
        reference: as there.

    Returns:
        For each class, on the left the counted against the examiner's share, with the line of equal shares and both
        regressions; on the right their difference against their mean, with bias and limits of agreement, and those between
        two observers.
    """
    table = agree(counted, reference).set_index("class")
    pairs = paired_shares(counted, reference)
    names = sorted(table.nlargest(CLASSES_SHOWN, "reference").index, key=list(table.index).index)
    across = min(2, len(names))
    down = ceil(len(names) / across)
    figure = Figure(figsize=(7.4 * across, 3.3 * down + 0.9), dpi=110, layout="constrained")
    panels = figure.subplots(down, 2 * across, squeeze=False).reshape(-1, 2)
    titles = shortened(map(str, names), LONGEST_NAME)
    for (left, right), name, title in zip(panels, names, titles, strict=False):
        own, examiner = (100 * values for values in pairs[name][:2])
        draw_regressions(left, examiner, own, table.loc[name], title)
        draw_differences(right, examiner, own, table.loc[name])
    for axes in panels[len(names) :].ravel():
        axes.set_axis_off()
    handles: dict[str, Artist] = {}
    for axes in panels.ravel():
        handles |= {str(label): handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    if len(table) > len(names):
        figure.supxlabel(f"The {len(names)} most frequent of {len(table)} classes", fontsize=10)
    return figure


def draw_regressions(
    axes: Axes, examiner: npt.NDArray[np.float64], own: npt.NDArray[np.float64], row: pd.Series, title: str
) -> None:
    """Draw counted against examined shares, in %, with the lines of a row of `agreement.agree`."""
    top = 1.08 * max(float(examiner.max()), float(own.max()), 1)
    ends = np.array([0, top])
    axes.plot(ends, ends, color="#888888", linewidth=1, linestyle="--", label="line of equality")
    for kind, colour, label in (("passing_bablok", NETWORK, "Passing-Bablok"), ("deming", EXAMINER, "Deming")):
        slope, intercept = float(row[f"{kind}_slope"]), 100 * float(row[f"{kind}_intercept"])
        if np.isfinite(slope):
            axes.plot(ends, intercept + slope * ends, color=colour, linewidth=1.3, label=label)
    axes.plot(examiner, own, "o", color="#222222", markersize=3.5, alpha=0.6)
    axes.set(xlim=(0, top), ylim=(0, top), aspect="equal", xlabel="examiner, %", ylabel="counted, %")
    axes.set_title(title, loc="left", fontsize=10)
    axes.grid(alpha=0.25)


def draw_differences(axes: Axes, examiner: npt.NDArray[np.float64], own: npt.NDArray[np.float64], row: pd.Series) -> None:
    """Draw differences against means, in points of %, with bias and limits of a row of `agreement.agree`."""
    axes.axhline(0, color="#888888", linewidth=1, linestyle="--")
    if np.isfinite(row["observers_lower"]):
        between = 100 * float(row["observers_lower"]), 100 * float(row["observers_upper"])
        axes.axhspan(*between, color=EXAMINER, alpha=0.13, linewidth=0, label="limits between the observers")
    for key, label, style in (
        ("bias", "bias", "-"),
        ("lower", "limits of agreement", ":"),
        ("upper", "limits of agreement", ":"),
    ):
        value, low, high = (100 * float(row[column]) for column in (key, f"{key}_low", f"{key}_high"))
        if np.isfinite(value):
            axes.axhline(value, color=NETWORK, linewidth=1.4, linestyle=style, label=label)
        if np.isfinite(low):
            axes.axhspan(low, high, color=NETWORK, alpha=0.1, linewidth=0, label="95 % intervals of bias and limits")
    axes.plot((examiner + own) / 2, own - examiner, "o", color="#222222", markersize=3.5, alpha=0.6)
    reach = 1.1 * max(np.abs(axes.get_ylim()).max(), 0.5)
    axes.set(ylim=(-reach, reach), xlabel="mean of both, %", ylabel="counted minus examiner, points")
    slides = int(row["slides"])
    bias, lower, upper = (round(100 * float(row[key]), 1) + 0.0 for key in ("bias", "lower", "upper"))  # never -0.0
    text = f"bias {bias:+.1f}" + (f", limits {lower:+.1f} to {upper:+.1f}" if np.isfinite(lower) else "")
    axes.set_title(f"{text}  ({slides} slide{'s' * (slides != 1)})", loc="right", fontsize=9)
    axes.grid(alpha=0.25)
