"""Print the tables of the pages in this folder from the runs of `train.sh`: python docs/findings/table.py [PAGE ...].

A row is an arm, or several joined by ``+``, whose probabilities are averaged: an ensemble; ``arm@1`` is the arm with seed 1.
It is compared with the first row on the same cells and seeds, by accuracy or, on the pages of `BALANCED`, by balanced accuracy.
The interval of a difference comes from 5,000 draws of test cells (for balanced accuracy within each class) and of seeds with
replacement; p is that of the paired t-test over the seeds.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import ttest_rel

LABORATORIES = ("bccd_crops", "segmentation_wbc")

PAGES = {
    "small-cnn": (("frozen", "wrong_range", "tuned", "small_cnn"), ("test", "bccd_crops")),
    "lion": (("lite0", "lion", "mixed", "lion_mixed"), ("test",)),
    "hybrid": (("lite0+lite1", "hybrid", "lite0", "lite1"), ("test",)),
    "efficientswin": (("lite0", "efficientswin", "swin", "lite0+swin"), ("test",)),
    "ensemble": (("lite0+lite1+lite2", "lite0", "lite1", "lite2", "long"), ("test",)),
    "another-laboratory": (("traveller", "training_shares", "reinhard"), ("test", *LABORATORIES)),
    "vote": (("traveller@0+traveller@1+traveller@2", "traveller"), ("test", *LABORATORIES)),
    "others": (
        ("training_shares", "traveller", "transfer_lite0", "probe_lite0", "house", "resnet18_28"),
        ("test", *LABORATORIES),
    ),
    "left_out": (tuple(f"left_out_{name}" for name in (*LABORATORIES, "pbc")), ()),
    "ablation": (
        (
            "whole",
            "plain",
            *(f"without_{part}" for part in ("normalisation", "stain", "frame", "camera", "background")),
            "frozen_norm",
            "mixup",
        ),
        ("test", *LABORATORIES),
    ),
}
"""By page: the arms, the first of which the others are compared with, and the sets."""

BALANCED = ("another-laboratory", "vote", "others", "ablation")
"""Pages on cells of other laboratories, where two cells of three are of one class."""

DRAWS = 5000

FEWEST_CELLS = 10
"""A class of fewer cells does not count in the balanced accuracy: each of its cells would weigh as much as hundreds of others."""

Right = npt.NDArray[np.bool_]


def predictions(arm: str, seed: int, name: str, folder: Path) -> pd.DataFrame:
    """Read the filed probabilities of an arm, or the mean of those of several."""
    tables = []
    for one in arm.split("+"):
        name_of_arm, _, own_seed = one.partition("@")
        summary = json.loads((folder / "findings" / f"{name_of_arm}-{own_seed or seed}.json").read_text())
        files = Path(summary["checkpoint"]).parents[1]
        tables.append(pd.read_parquet(files / "predictions" / f"{name}.parquet").set_index("id").sort_index())
    mean = sum(table.drop(columns="label") for table in tables) / len(tables)
    return mean.assign(label=tables[0]["label"])


def right(arm: str, seeds: list[int], name: str, folder: Path) -> tuple[Right, npt.NDArray[np.str_]]:
    """Return whether each seed's network classified each cell correctly, (seeds, N), and the labels of the cells, (N,)."""
    tables = [predictions(arm, seed, name, folder) for seed in seeds]
    found = np.stack([(table.drop(columns="label").idxmax(axis=1) == table["label"]).to_numpy() for table in tables])
    return found, tables[0]["label"].to_numpy(str)


def counted(labels: npt.NDArray[np.str_]) -> list[npt.NDArray[np.int_]]:
    """Return the positions of the cells of each class that has enough of them."""
    found = [np.flatnonzero(labels == name) for name in np.unique(labels)]
    return [cells for cells in found if len(cells) >= FEWEST_CELLS]


def by_seed(found: npt.NDArray[Any], groups: list[npt.NDArray[np.int_]]) -> npt.NDArray[np.float64]:
    """Return the mean over groups of cells of the mean within each, (seeds,)."""
    means: npt.NDArray[np.float64] = np.mean([found[:, cells].mean(axis=1) for cells in groups], axis=0)
    return means


def figures(found: Right, labels: npt.NDArray[np.str_]) -> str:
    """Write the accuracy of each seed and the mean balanced accuracy."""
    accuracy = found.mean(axis=1)
    seeds = ", ".join(f"{value:.4f}" for value in accuracy)
    return f"{accuracy.mean():.4f} ({seeds}) | {by_seed(found, counted(labels)).mean():.4f}"


def row(arm: str, seeds: list[int], name: str, folder: Path, reference: Right | None, is_balanced: bool) -> str:
    """Write a row of the table."""
    found, labels = right(arm, seeds, name, folder)
    if reference is None:
        return f"| `{arm}` | {figures(found, labels)} | | |"
    groups = counted(labels) if is_balanced else [np.arange(len(labels))]
    difference = found.astype(np.float64) - reference
    draw = np.random.default_rng(0)
    drawn = []
    for _ in range(DRAWS):
        some_seeds = difference[draw.integers(len(seeds), size=len(seeds))]
        drawn.append(by_seed(some_seeds, [draw.choice(cells, len(cells)) for cells in groups]).mean())
    low, high = np.percentile(drawn, [2.5, 97.5])
    p = ttest_rel(by_seed(found, groups), by_seed(reference, groups)).pvalue if len(seeds) > 1 else float("nan")
    shown = "< 0.001" if p < 0.001 else f"{p:.3f}"  # noqa: PLR2004 - the three digits that are shown
    mean = by_seed(difference, groups).mean()
    return f"| `{arm}` | {figures(found, labels)} | {100 * mean:+.2f} ({100 * low:+.2f} to {100 * high:+.2f}) | {shown} |"


def divisions(seeds: list[int], folder: Path) -> None:
    """Print the accuracies of one recipe on the published sets and on two random divisions, for the claim on shuffling."""
    print("\n| division | accuracy (each seed) |\n|---|---|")
    for arm in ("lite0", "split1", "split2"):
        found = [right(arm, [seed], "test", folder)[0] for seed in seeds]
        print(f"| `{arm}` | {np.mean([one.mean() for one in found]):.4f} ({', '.join(f'{one.mean():.4f}' for one in found)}) |")
    share, cells = found[0].mean(), found[0].size
    deviation = 100 * np.sqrt(share * (1 - share) / cells)
    print(f"\nBy chance alone, the accuracy on {cells:,} test cells varies by {deviation:.2f} points (one standard deviation).")


def left_out(seeds: list[int], folder: Path) -> None:
    """Print how well two laboratories together prepare for the third, beside PBC alone."""
    print("\n| tested on | trained on | accuracy (each seed) | balanced accuracy |\n|---|---|---|---|")
    for name in (*LABORATORIES, "pbc"):
        print(f"| {name} | the two others | {figures(*right(f'left_out_{name}', seeds, 'test', folder))} |")
        if name in LABORATORIES:
            print(f"| {name} | PBC alone | {figures(*right('reinhard', seeds, name, folder))} |")


def main() -> None:
    """Print the tables of the named pages, or of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="*", default=list(PAGES))
    parser.add_argument("--folder", type=Path, default=Path("mlruns"))
    options = parser.parse_args()
    for page in options.pages:
        arms, sets = PAGES[page]
        stored = [int(file.stem.rpartition("-")[2]) for file in (options.folder / "findings").glob("*.json")]
        needed = {one.partition("@")[0] for arm in arms for one in arm.split("+")}
        seeds = [
            seed
            for seed in sorted(set(stored))
            if all((options.folder / "findings" / f"{one}-{seed}.json").is_file() for one in needed)
        ]
        for name in sets:
            print(f"\n{page}, {name}, seeds {', '.join(map(str, seeds))}\n")
            of = "balanced accuracy" if page in BALANCED else "accuracy"
            print(f"| arm | accuracy (each seed) | balanced accuracy | {of}, points to the first arm (95 % interval) | p |")
            print("|" + "---|" * 5)
            reference, labels = right(arms[0], seeds, name, options.folder)
            print(row(arms[0], seeds, name, options.folder, None, page in BALANCED))
            for arm in arms[1:]:
                print(row(arm, seeds, name, options.folder, reference, page in BALANCED))
            cells = pd.Series(labels).value_counts()
            print(f"| always {cells.index[0]} | {cells.iloc[0] / len(labels):.4f} | {1 / len(counted(labels)):.4f} | | |")
        if page == "hybrid":
            divisions(seeds, options.folder)
        if page == "left_out":
            left_out(seeds, options.folder)


if __name__ == "__main__":
    main()
