"""The files of a comparison: ``comparison.json``, ``.csv``, ``.html`` and ``.md``, and its figures."""

from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bcc_lightning.datasets.cells import CellImages
from bcc_lightning.engine.comparison import Comparison
from bcc_lightning.engine.rebuild import build_data, data_config, refuse_other_data
from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.comparison import Estimate, Pair
from bcc_lightning.evaluation.comparison_figures import COLUMNS, Disagreement, differences_figure, disagreements_figure
from bcc_lightning.evaluation.figures import save_figure
from bcc_lightning.evaluation.metrics import TEST, VALIDATION, in_words
from bcc_lightning.files import whole_file, write_json
from bcc_lightning.pages.numbers import decimals, interval_of, number, percent, percent_interval
from bcc_lightning.pages.rendering import data_uri, write_html
from bcc_lightning.printable import markdown
from bcc_lightning.tracking.trained_networks import TrainedNetwork

STEM = "comparison"

NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1_macro": "macro F1",
    "auroc_macro": "AUROC (macro)",
    "ece": "ECE (lower is better)",
}

PERCENT = {"accuracy", "balanced_accuracy", "f1_macro"}

SHOWN = 4 * COLUMNS
"""Cells of a pair that are drawn in each direction; the CSV lists all."""

SHEETS = 6
"""Pairs of which a sheet is drawn."""

Table: TypeAlias = tuple[list[str], list[list[str]]]
"""Headings and rows."""


def write_comparison(found: Comparison, out: Path, root: str | None = None) -> None:
    """Write all files of a comparison, each whole or not at all.

    Args:
        found: the comparison.
        out: folder, created if missing.
        root: folder of the cells if it has moved.
    """
    drawn = {"differences": out / "differences.png"}
    labelled = [(pair_name(found, pair), pair.differences) for pair in found.figures.pairs]
    save_figure(differences_figure(labelled, NAMES), drawn["differences"])
    cells = cells_of(found, root)
    sheets: list[Path | None] = [None] * len(found.figures.pairs)
    if not isinstance(cells, str):
        for number, pair in enumerate(found.figures.pairs[:SHEETS]):
            only_pair = len(found.figures.pairs) == 1
            suffix = "" if only_pair else f"_{found.letters[pair.first]}_{found.letters[pair.second]}"
            sheets[number] = out / f"disagreements{suffix}.png"
            save_figure(sheet_of(found, pair, cells), sheets[number] or out)
    with whole_file(out / f"{STEM}.csv") as draft:
        found.answers.to_csv(draft, index=False)
    with whole_file(out / f"{STEM}.md") as draft:
        draft.write_text(as_markdown(found), encoding="utf-8")
    write_html(
        out / f"{STEM}.html",
        "bcc_lightning.engine",
        "comparison.html.jinja",
        found=found,
        what=in_words(found.name),
        metrics=metrics_table(found),
        differences=differences_table(found),
        repetitions=repetitions_table(found),
        classes=classes_table(found),
        configuration=configuration_table(found),
        figures={name: data_uri(file) for name, file in drawn.items()},
        pairs=[
            (pair_name(found, pair), pair, data_uri(sheet) if sheet else None, examples(found, pair))
            for pair, sheet in zip(found.figures.pairs, sheets, strict=True)
        ],
        no_sheet=cells if isinstance(cells, str) else f"Sheets are drawn for the first {SHEETS} pairs.",
        shown=SHOWN,
    )
    write_json(out / f"{STEM}.json", found.as_dict())


def pair_name(found: Comparison, pair: Pair) -> str:
    """Describe the direction of a difference."""
    return f"{found.letters[pair.second]} - {found.letters[pair.first]}"


def figure_of(metric: str, one: Estimate) -> str:
    """Format a figure with its interval."""
    if one.value is None or one.low is None or one.high is None:
        return "undefined"
    interval = one.low, one.high
    if metric in PERCENT:
        return f"{percent(one.value, interval)} ({percent_interval(interval)})"
    return f"{number(one.value, interval)} ({interval_of(interval)})"


def difference_of(metric: str, one: Estimate) -> str:
    """Format a difference with its interval, in points for shares."""
    if one.value is None:
        return "undefined"
    interval = None if one.low is None or one.high is None else (one.low, one.high)
    digits, scale = (decimals(interval) - 2, 100) if metric in PERCENT else (decimals(interval), 1)
    value, *ends = (f"{scale * figure:+.{digits}f}" for figure in (one.value, *(interval or ())))
    return f"{value} ({ends[0]} to {ends[1]})" if ends else value


def p_of(p_value: float | None) -> str:
    """Format a p-value for a table."""
    if p_value is None:
        return "-"
    return "< 0.0001" if p_value < 0.0001 else f"{p_value:.4f}"  # noqa: PLR2004 - smaller ones say no more


def metrics_table(found: Comparison) -> Table:
    """Lay out the figures of each network; of two also their difference."""
    figures, pairs = found.figures, found.figures.pairs
    most = f"always answering {figures.most_frequent_class}"
    difference = pairs[0] if len(pairs) == 1 else None
    rows = [[name, *(figure_of(metric, one[metric]) for one in figures.metrics)] for metric, name in NAMES.items()]
    rows.insert(1, [most, *([percent(figures.most_frequent)] * len(figures.metrics))])
    if difference:
        changes = [difference_of(metric, difference.differences[metric]) for metric in NAMES]
        changes.insert(1, "")
        rows = [[*row, change] for row, change in zip(rows, changes, strict=True)]
    return ["", *found.names, *([pair_name(found, difference)] if difference else [])], rows


def differences_table(found: Comparison) -> Table:
    """Lay out the differences and McNemar's test of each pair."""
    several = len(found.figures.pairs) > 1
    rows = [
        [
            pair_name(found, pair),
            *(difference_of(metric, pair.differences[metric]) for metric in NAMES),
            f"{found.letters[pair.first]} {pair.only_first:,}, {found.letters[pair.second]} {pair.only_second:,}",
            p_of(pair.p_value),
            *([p_of(pair.p_holm)] if several else []),
        ]
        for pair in found.figures.pairs
    ]
    return ["pair", *NAMES.values(), "cells only one gets right", "exact McNemar p", *(["p after Holm"] if several else [])], rows


def repetitions_table(found: Comparison) -> Table:
    """Lay out the corrected resampled t-tests; no rows where there are none."""
    rows = [
        [
            f"{one.second} - {one.first}",
            f"{one.trainings} {one.over}",
            NAMES[metric],
            difference_of(metric, result.difference),
            p_of(result.p_value),
        ]
        for one in found.repetitions
        for metric, result in one.metrics.items()
    ]
    return ["pair", "trainings of each", "metric", "mean difference (95 % interval)", "p"], rows


def classes_table(found: Comparison) -> Table:
    """Lay out the recall of each class; of two networks also the cells that only one of them gets right."""
    pair = found.figures.pairs[0] if len(found.figures.pairs) == 1 else None
    only = [f"only {found.letters[place]} right" for place in (pair.first, pair.second)] if pair else []
    rows = []
    for name, one in found.figures.classes.items():
        recall = [f"{100 * right / one.cells:.1f} %" if one.cells else "-" for right in one.right]
        counted = [f"{count:,}" for count in pair.only_by_class[name]] if pair else []
        rows.append([name, f"{one.cells:,}", *recall, *counted])
    return ["class", "cells", *(f"recall {letter}" for letter in found.letters), *only], rows


def configuration_table(found: Comparison) -> Table:
    """Lay out the keys of the configuration that differ."""
    rows = [[key, *("-" if value is None else value for value in values)] for key, values in found.configuration.items()]
    return ["key", *found.names], rows


def as_markdown(found: Comparison) -> str:
    """Format a comparison in Markdown."""
    figures = found.figures
    lines = [f"# Comparison on {markdown(in_words(found.name))}: {figures.cells:,} cells", ""]
    lines += [f"- {markdown(sentence)}" for sentence in found.verdict]
    tables = (
        ("Figures of merit", metrics_table(found)),
        ("Differences", differences_table(found)),
        ("Over several trainings", repetitions_table(found)),
        ("By class", classes_table(found)),
        ("What differs in the configuration", configuration_table(found)),
    )
    for title, (headings, rows) in tables:
        if rows:
            written = [headings, ["---"] * len(headings), *([markdown(cell) for cell in row] for row in rows)]
            lines += ["", f"## {title}", "", *(f"| {' | '.join(row)} |" for row in written)]
    lines += ["", "## Notes", "", *(f"- {markdown(note)}" for note in found.notes), ""]
    return "\n".join(lines)


def cells_of(found: Comparison, root: str | None) -> CellImages | str:
    """Read the compared cells again, in the largest size in which a network saw them; why not, where that is not possible."""
    reasons = []
    for network in sorted(found.networks, key=lambda network: -image_size(network)):
        try:
            data = build_data(data_config(network.config or {}, **({"root": root} if root else {})))
            refuse_other_data(network, data)
            cells = data.cells if found.name in {TEST, VALIDATION} else data.external.get(found.name)
        except UserError as error:
            reasons.append(str(error))
            continue
        if cells is not None and set(found.answers["id"]) <= set(cells.ids):
            return cells
        reasons.append(f"the data of {network.title} do not contain the cells of {in_words(found.name)}")
    return f"No cells are drawn: {reasons[0]}"


def image_size(network: TrainedNetwork) -> int:
    """Read the image size of a network; 0 if unknown."""
    data = (network.config or {}).get("data") or {}
    return int((data.get("init_args") or {}).get("image_size") or 0)


def directions(found: Comparison, pair: Pair) -> list[tuple[int, int, pd.DataFrame]]:
    """Return for both directions the network that is right, the one that is wrong, and the cells, the clearest ones first.

    The first cells are those where the network that is right gave the true class much more than the other one did.
    """
    result = []
    for right, wrong in ((pair.first, pair.second), (pair.second, pair.first)):
        one, two = column_of(found, right), column_of(found, wrong)
        cells = found.answers[found.answers[f"right_{one}"] & ~found.answers[f"right_{two}"]]
        lead = cells[f"true_probability_{one}"] - cells[f"true_probability_{two}"]
        result.append((right, wrong, cells.loc[lead.sort_values(ascending=False, kind="stable").index]))
    return result


def examples(found: Comparison, pair: Pair) -> list[tuple[str, str, int, list[str]]]:
    """Return for both directions the letters of the network that is right and of the other, how many cells, and the first ids."""
    return [
        (found.letters[right], found.letters[wrong], len(cells), [str(cell) for cell in cells["id"][:SHOWN]])
        for right, wrong, cells in directions(found, pair)
    ]


def column_of(found: Comparison, place: int) -> str:
    """Return the part of a network's columns that names its run."""
    return found.run_ids[place][:8]


def sheet_of(found: Comparison, pair: Pair, cells: CellImages) -> Figure:
    """Draw the clearest cells that one network of a pair gets right and the other wrong."""
    places = {name: place for place, name in enumerate(cells.ids)}
    sides = []
    for right, wrong, rows in directions(found, pair):
        one, two = column_of(found, right), column_of(found, wrong)
        drawn = rows[:SHOWN]
        images = cells.take(np.array([places[name] for name in drawn["id"]], np.int64))
        shown = [
            Disagreement(image, *row)
            for image, row in zip(
                images,
                drawn[["label", f"probability_{one}", f"predicted_{two}", f"probability_{two}"]].itertuples(index=False),
                strict=True,
            )
        ]
        title = f"{len(rows):,} cells only {found.letters[right]} gets right"
        title += f", the clearest {len(shown)}" if len(shown) < len(rows) else ""
        sides.append((f"{title}; the answer of {found.letters[wrong]} in red", shown))
    return disagreements_figure(sides)
