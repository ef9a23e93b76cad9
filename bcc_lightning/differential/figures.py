"""Figures of differential counts: shares with their limits, and agreement with an examiner."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bcc_lightning.differential.agreement import bland_altman, passing_bablok, shares

PLAIN, CORRECTED, IDENTITY = "#8a8a8a", "#1f5fa8", "#bbbbbb"
MOST_SLIDES = 12
"""Slides that a figure shows."""


def differential_figure(table: pd.DataFrame) -> Figure:
    """Draw the shares of each class with their limits, a panel per slide.

    Args:
        table: as `bcc_lightning.differential.counting.differential` returns it.
    """
    slides = list(dict.fromkeys(table["slide"]))[:MOST_SLIDES]
    classes = list(dict.fromkeys(table["class"]))
    columns = min(3, len(slides))
    rows = -(-len(slides) // columns)
    figure = Figure(figsize=(4.2 * columns + 1, (0.34 * len(classes) + 1.1) * rows + 0.7), dpi=120, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes in panels.flat:
        axes.axis("off")
    places = np.arange(len(classes))
    for axes, slide in zip(panels.flat, slides, strict=False):
        axes.axis("on")
        part = table[table["slide"] == slide].set_index("class").loc[classes]
        for middle, low, high, shift, colour, label in (
            ("share", "low", "high", -0.17, PLAIN, "counted, exact binomial limits"),
            ("corrected", "corrected_low", "corrected_high", 0.17, CORRECTED, "corrected for confusions"),
        ):
            value = 100 * part[middle].to_numpy()
            if np.isnan(value).all():
                continue
            spread = [value - 100 * part[low].to_numpy(), 100 * part[high].to_numpy() - value]
            axes.errorbar(value, places + shift, xerr=np.maximum(spread, 0), fmt="o", ms=4, color=colour, capsize=2, label=label)
        axes.set_yticks(places, classes)
        axes.invert_yaxis() if not axes.yaxis_inverted() else None
        axes.set_title(f"{slide}: {int(part['count'].sum()):,} cells", fontsize=10)
        axes.grid(axis="x", alpha=0.3)
        axes.set_xlabel("% of cells")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    left = len(dict.fromkeys(table["slide"])) - len(slides)
    figure.suptitle("Differential count with 95 % limits" + (f" (first {len(slides)} slides; {left} more)" if left else ""))
    return figure


def agreement_figure(counted: pd.DataFrame, reference: pd.DataFrame, observers: dict[str, pd.DataFrame]) -> Figure:
    """Draw the network's shares beside an examiner's, and their differences, a row per class.

    Args:
        counted: cells by slide and class, as the network counts them.
        reference: as an examiner counts them.
        observers: counts of two examiners, whose limits of agreement are drawn for comparison; empty for one.
    """
    slides = [slide for slide in counted.index if slide in reference.index]
    classes = [name for name in counted.columns if counted.loc[slides, name].any() or reference.loc[slides, name].any()]
    ours, theirs = shares(counted.loc[slides]), shares(reference.loc[slides])
    figure = Figure(figsize=(11, 2.6 * max(len(classes), 1) + 0.6), dpi=110, layout="constrained")
    panels = figure.subplots(max(len(classes), 1), 2, squeeze=False)
    for (left, right), name in zip(panels, classes, strict=False):
        x, y = theirs[name].to_numpy(np.float64), ours[name].to_numpy(np.float64)
        ends = np.array([0, max(x.max(), y.max(), 1) * 1.05])
        left.plot(ends, ends, color=IDENTITY, linewidth=1, label="equal")
        left.plot(x, y, "o", ms=4, color=CORRECTED, alpha=0.8)
        line = passing_bablok(x, y)
        if np.isfinite(line.slope):
            left.plot(ends, line.intercept + line.slope * ends, color="#b71c1c", linewidth=1.2, label="Passing-Bablok")
        left.set(xlabel="examiner, % of cells", ylabel="network, % of cells", title=name)
        left.legend(frameon=False, fontsize=8)
        found = bland_altman(x, y)
        right.plot((x + y) / 2, y - x, "o", ms=4, color=CORRECTED, alpha=0.8)
        right.axhline(0, color=IDENTITY, linewidth=1)
        right.axhline(found.bias, color="#b71c1c", linewidth=1.2, label=f"bias {found.bias:+.1f}")
        if np.isfinite(found.agreement_low):
            label = f"limits {found.agreement_low:.1f} to {found.agreement_high:.1f}"
            for place, text in ((found.agreement_low, label), (found.agreement_high, None)):
                right.axhline(place, color="#b71c1c", linestyle="--", linewidth=1, label=text)
        if observers:
            one, other = (shares(counts) for counts in observers.values())
            both = [slide for slide in one.index if slide in other.index]
            between = bland_altman(one.loc[both, name].to_numpy(np.float64), other.loc[both, name].to_numpy(np.float64))
            right.axhspan(
                between.agreement_low, between.agreement_high, color="#dddddd", alpha=0.6, label="between the two examiners"
            )
        right.set(xlabel="mean of both, % of cells", ylabel="network - examiner")
        right.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    figure.suptitle(f"Agreement over {len(slides)} slides")
    return figure
