"""The page, tables and figures of a probe."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from bcc_lightning.embedding.choices import PAGE, chosen_folds
from bcc_lightning.embedding.features import Embedded
from bcc_lightning.embedding.probing import METRICS, FewShot, ProbeResult, few_shot, probe_folds, probe_sets
from bcc_lightning.embedding.projection import NEAREST, Drawn, embedding_figure, projections
from bcc_lightning.evaluation.figures import save_figure
from bcc_lightning.files import write_csv, write_json
from bcc_lightning.pages.rendering import data_uri, write_html

TITLES = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "f1_weighted": "weighted F1"}


@dataclass(frozen=True)
class Probe:
    """What a probe has found.

    Attributes:
        extractor: name of the network.
        origin: where its weights come from.
        width: number of features.
        data: name of the data set.
        side: side in pixels of the cells.
        division: how the cells were divided, in words.
        results: of each classifier.
        few: few-shot curve.
        of_class: share of the nearest neighbours of a cell that have its class.
        of_laboratory: that are of its laboratory; None if there is one only.
        contamination: a sentence if the network may have seen these cells.
    """

    extractor: str
    origin: str
    width: int
    data: str
    side: int
    division: str
    results: Sequence[ProbeResult]
    few: Sequence[FewShot]
    of_class: float
    of_laboratory: float | None
    contamination: str | None = None


def probe(embedded: Embedded, out: Path, folds: int | None = None, with_few: bool = True) -> Probe:
    """Probe features, and write page, tables and figures.

    Args:
        embedded: the features.
        out: folder of ``probe.html``, ``.csv``, ``.json`` and the figures.
        folds: stratified folds, see `chosen_folds`; 0 takes the data set's own training and test sets.
        with_few: whether few labelled cells are tried as well.

    Raises:
        UserError: there is one class, one has fewer cells than there are folds, or the data cannot be divided into them.
    """
    classes, extractor = len(embedded.class_names), embedded.extractor
    folds = chosen_folds(folds, embedded.left_out)
    if folds:
        features, labels, groups = embedded.in_order()
        whole = "" if groups is None else " of whole patients or slides"
        division = f"{folds} stratified folds{whole}, each cell classified by what was fitted on the others"
        results = list(probe_folds(features, labels, classes, folds, groups))
    else:
        tested = f"all cells of {embedded.left_out}, which was left out" if embedded.left_out else "the test set"
        division = f"fitted on the training and validation set, evaluated on {tested}"
        results = list(probe_sets(embedded.of("train", "val"), embedded.of("test"), classes))
    drawn = Drawn(embedded)
    several = len(set(drawn.laboratories)) > 1
    found = Probe(
        extractor.name,
        extractor.origin,
        embedded.width,
        embedded.data,
        extractor.side,
        division,
        results,
        list(few_shot(embedded.of("train"), embedded.of("test"), classes)) if with_few else [],
        drawn.agreement(drawn.classes),
        drawn.agreement(drawn.laboratories) if several else None,
        " ".join(embedded.contamination) or None,
    )
    write_probe(found, embedding_figure(drawn, projections(drawn.features)), out)
    return found


def few_shot_figure(few: Sequence[FewShot], full: ProbeResult | None) -> Figure:
    """Draw what is learnt from few cells: mean and 95 % range over the draws, and the figure with all cells as a line."""
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.subplots()
    sizes = [one.cells for one in few]
    for metric, colour in (("accuracy", "#0072b2"), ("balanced_accuracy", "#d55e00")):
        low, high = zip(*(one.ranges[metric] for one in few), strict=True)
        axes.plot(sizes, [one.metrics[metric] for one in few], marker="o", color=colour, label=TITLES[metric])
        axes.fill_between(sizes, low, high, color=colour, alpha=0.15, linewidth=0)
        if full:
            axes.axhline(full.metrics[metric], color=colour, linestyle="--", linewidth=1, label=f"{TITLES[metric]}, all cells")
    axes.set_xscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set(xlabel="labelled cells of each class", ylabel="on the test set", ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", frameon=False)
    return figure


def as_table(probe: Probe) -> pd.DataFrame:
    """Return a row for each classifier and size of the few-shot curve."""
    rows = [
        {"classifier": one.name, "labelled": "all", **numbers(one.metrics, one.intervals), "cells": one.cells}
        for one in probe.results
    ]
    rows += [
        {"classifier": "logistic regression", "labelled": one.cells, **numbers(one.metrics, one.ranges)} for one in probe.few
    ]
    return pd.DataFrame(rows)


def numbers(metrics: dict[str, float], limits: dict[str, tuple[float, float]]) -> dict[str, float]:
    """Lay out metrics and their limits as columns."""
    found: dict[str, float] = {}
    for name in METRICS:
        found |= {name: metrics[name], f"{name}_low": limits[name][0], f"{name}_high": limits[name][1]}
    return found


def write_probe(probe: Probe, projected: Figure, out: Path) -> None:
    """Write ``probe.html``, ``.csv``, ``.json`` and the figures into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    save_figure(projected, out / "embedding.png")
    if probe.few:
        full = next((one for one in probe.results if one.name == "logistic regression"), None)
        save_figure(few_shot_figure(probe.few, full), out / "few_shot.png")
    write_csv(as_table(probe), out / "probe.csv")
    write_json(out / "probe.json", asdict(probe))
    write_html(
        out / PAGE,
        "bcc_lightning.embedding",
        "probe.html.jinja",
        probe=probe,
        titles=TITLES,
        nearest=NEAREST,
        embedding=data_uri(out / "embedding.png"),
        few_shot=data_uri(out / "few_shot.png") if probe.few else None,
    )
