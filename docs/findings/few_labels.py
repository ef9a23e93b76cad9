"""Print and draw what the runs of `few_labels.sh` reach: python docs/findings/few_labels.py [--figure FILE].

Each run tunes one network on a few cells of another laboratory and tests on that laboratory's others, so that each draw of cells
has test cells of its own. Balanced accuracy is over the classes that have ten test cells or more.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from table import LABORATORIES, by_seed, counted, right

from bcc_lightning.evaluation.figures import GREY, STYLE, save_figure

CELLS = (10, 25, 50, 100)
"""Of each class that are trained on; of a class that has fewer, at most half."""

TUNED = {"head": "the head", "last3": "the last three blocks", "full": "all"}


class Reached(NamedTuple):
    """What the draws reached.

    Attributes:
        accuracy: on the laboratory's other cells, of each draw.
        balanced: balanced accuracy there, of each draw.
        own: accuracy on the test set of the laboratory that the network comes from, of each draw.
    """

    accuracy: list[float]
    balanced: list[float]
    own: list[float]


def reached(arm: str, laboratory: str, folder: Path) -> Reached:
    """Read the runs of one arm."""
    draws = sorted(int(file.stem.rpartition("-")[2]) for file in (folder / "findings").glob(f"{arm}-*.json"))
    tested = [right(arm, [draw], laboratory, folder) for draw in draws]
    return Reached(
        [float(found.mean()) for found, _ in tested],
        [float(by_seed(found, counted(labels))[0]) for found, labels in tested],
        [float(right(arm, [draw], "test", folder)[0].mean()) for draw in draws],
    )


def cells_of(one: Reached) -> str:
    """Write three cells of the table."""
    draws = f" ({', '.join(f'{value:.3f}' for value in one.accuracy)})" if len(one.accuracy) > 1 else ""
    return f"{np.mean(one.accuracy):.3f}{draws} | {np.mean(one.balanced):.3f} | {np.mean(one.own):.3f}"


def print_table(tables: dict[str, tuple[Reached, dict[tuple[str, int], Reached]]]) -> None:
    """Print the table in Markdown."""
    heads = " | ".join(f"`{name}`: accuracy (each draw) | balanced | test set of PBC then" for name in tables)
    print(f"| tuned | cells of each class | {heads} |\n|" + "---|" * (2 + 3 * len(tables)))
    print(f"| nothing | 0 | {' | '.join(cells_of(before) for before, _ in tables.values())} |")
    for tuned, label in TUNED.items():
        for cells in CELLS:
            print(f"| {label} | {cells} | {' | '.join(cells_of(found[tuned, cells]) for _, found in tables.values())} |")


def draw(tables: dict[str, tuple[Reached, dict[tuple[str, int], Reached]]]) -> Figure:
    """Draw balanced accuracy by the number of cells: means as lines, draws as points."""
    with rc_context(STYLE):
        figure = Figure(figsize=(8, 3.4), layout="constrained")
        for axes, (laboratory, (before, found)) in zip(figure.subplots(1, len(tables), sharey=True), tables.items(), strict=True):
            axes.axhline(before.balanced[0], color=GREY, linestyle="--", label="not tuned")
            for tuned, label in TUNED.items():
                points = [found[tuned, cells].balanced for cells in CELLS]
                (line,) = axes.plot(CELLS, [np.mean(values) for values in points], label=f"{label} tuned")
                for cells, values in zip(CELLS, points, strict=True):
                    axes.plot([cells] * len(values), values, "o", markersize=4, color=line.get_color())
            axes.set(xscale="log", xticks=CELLS, xticklabels=CELLS, title=laboratory, xlabel="labelled cells of each class")
            axes.minorticks_off()
            axes.grid(axis="y")
        figure.axes[0].set_ylabel("balanced accuracy on its other cells")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def main() -> None:
    """Print the tables, and draw the figure if it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("mlruns"))
    parser.add_argument("--network", default="traveller-0", help="summary of the network that was tuned, in findings/")
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    arm, _, seed = options.network.rpartition("-")
    tables = {}
    for name in LABORATORIES:
        (found, labels), (own, _) = (right(arm, [int(seed)], tested, options.folder) for tested in (name, "test"))
        before = Reached([float(found.mean())], [float(by_seed(found, counted(labels))[0])], [float(own.mean())])
        few = {(tuned, cells): reached(f"few_{tuned}_{cells}_{name}", name, options.folder) for tuned in TUNED for cells in CELLS}
        tables[name] = before, few
    print_table(tables)
    if options.figure:
        save_figure(draw(tables), options.figure)


if __name__ == "__main__":
    main()
