"""Coverage of the limits of a differential, on drawn slides of known mixes.

Nothing here is a real smear. For each slide a validation set is drawn, as large as that of a run on PBC, and so are 100, 200 or
400 cells of the slide and the classes that the network predicts for them. The true confusions are those that a real network had
on the validation and test sets of PBC: ``good`` (98.4 % of the cells correct) or ``poor`` (84.8 %). The limits should hold the
share of the mix in 95 % of the slides.

    python benchmarks/differential_coverage.py --slides 1000
    python benchmarks/differential_coverage.py --slides 1000 --alternatives   # also the methods that were not chosen
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd

from bcc_lightning.differential.correction import DRAWS, most_likely_shares, rates
from bcc_lightning.differential.counting import Confusion, differential

Limits = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]

CLASSES = ("basophil", "eosinophil", "erythroblast", "ig", "lymphocyte", "monocyte", "neutrophil", "platelet")
VALIDATION_CELLS = (122, 312, 155, 290, 122, 143, 333, 235)

NETWORKS = {
    "good": (
        (363, 0, 0, 2, 0, 0, 1, 0),
        (1, 933, 0, 1, 0, 0, 1, 0),
        (0, 0, 460, 3, 1, 0, 2, 0),
        (3, 0, 0, 839, 1, 10, 16, 0),
        (0, 0, 0, 2, 360, 3, 0, 0),
        (0, 0, 0, 6, 4, 417, 0, 0),
        (1, 0, 0, 21, 0, 0, 977, 0),
        (0, 0, 1, 0, 0, 0, 0, 704),
    ),
    "poor": (
        (280, 4, 0, 64, 14, 0, 4, 0),
        (1, 909, 3, 16, 1, 1, 5, 0),
        (4, 1, 351, 46, 32, 0, 27, 5),
        (18, 4, 26, 732, 39, 35, 15, 0),
        (4, 0, 15, 46, 298, 1, 1, 0),
        (1, 0, 0, 249, 6, 170, 1, 0),
        (6, 3, 8, 68, 0, 1, 912, 1),
        (0, 0, 2, 0, 0, 1, 0, 702),
    ),
}
"""Cells by true (rows) and predicted class."""

UNSEEN = 0.02
"""Cells added to each entry, so that mistakes that did not occur are possible."""

MIXES = {
    "healthy": (0.5, 3, 0, 0.5, 30, 7, 58.5, 0.5),
    "infection, many neutrophils": (0.5, 1, 0.5, 6, 10, 5, 76.5, 0.5),
    "many immature granulocytes": (2, 3, 3, 32, 12, 8, 38, 2),
    "eosinophilia": (1, 35, 0, 1, 20, 6, 36.5, 0.5),
    "basophilia": (6, 4, 1, 10, 15, 5, 57, 2),
}
"""True shares in %."""

CELLS = (100, 200, 400)
RARE = 0.02
"""Below this share a slide has so few cells of a class that no limits of whole numbers hold in exactly 95 %."""


def bootstrap(cells: npt.NDArray[np.int64], confusion: Confusion, generator: np.random.Generator) -> Limits:
    """Return percentile limits of the corrected share; slide and validation set are drawn again from what was observed."""
    matrix = confusion.counts / confusion.counts.sum(axis=1, keepdims=True)
    shares = []
    for _ in range(200):
        drawn = np.stack([generator.multinomial(row.sum(), share) for row, share in zip(confusion.counts, matrix, strict=True)])
        shares.append(most_likely_shares(generator.multinomial(cells.sum(), cells / cells.sum())[None], drawn)[0])
    low, high = np.quantile(shares, (0.025, 0.975), axis=0)
    return low, high


def posterior(cells: npt.NDArray[np.int64], confusion: Confusion, generator: np.random.Generator) -> Limits:
    """Return equal-tailed limits of the posterior under uniform priors, by Gibbs sampling; quapy's BayesianCC has this model."""
    chains, shares = 64, []
    matrix = np.broadcast_to(rates(confusion.counts), (chains, len(cells), len(cells)))
    share = np.full((chains, len(cells)), 1 / len(cells))
    for step in range(80):
        joint = share[:, :, None] * matrix
        split = (joint / joint.sum(axis=1, keepdims=True)).transpose(0, 2, 1)
        true = generator.multinomial(np.broadcast_to(cells, share.shape), split).transpose(0, 2, 1)
        weight = generator.standard_gamma(true.sum(axis=2) + 1.0)
        share = weight / weight.sum(axis=1, keepdims=True)
        rows = generator.standard_gamma(confusion.counts + true + 1.0)
        matrix = rows / rows.sum(axis=2, keepdims=True)
        if step >= 30:  # noqa: PLR2004 - the chains have forgotten where they began
            shares.append(share)
    low, high = np.quantile(np.concatenate(shares), (0.025, 0.975), axis=0)
    return low, high


ALTERNATIVES: dict[str, Callable[..., Limits]] = {"bootstrap": bootstrap, "posterior": posterior}


def limits_of_slide(cells: npt.NDArray[np.int64], confusion: Confusion) -> dict[str, Limits]:
    """Return the plain and the corrected limits of a slide."""
    table = differential(pd.DataFrame(cells[None], index=["slide"], columns=list(CLASSES)), confusion)
    return {
        "plain": (table["low"].to_numpy(), table["high"].to_numpy()),
        "corrected": (table["corrected_low"].to_numpy(), table["corrected_high"].to_numpy()),
    }


def measure(network: str, slides: int, alternatives: bool) -> pd.DataFrame:
    """Return the share of slides whose limits hold the true share, and the mean width of the limits in points."""
    matrix = np.array(NETWORKS[network]) + UNSEEN
    matrix /= matrix.sum(axis=1, keepdims=True)
    rows = []
    for number, (mix, per_cent) in enumerate(MIXES.items()):
        generator, truth = np.random.default_rng([7, number]), np.array(per_cent) / 100
        held: dict[str, list[npt.NDArray[np.bool_]]] = {}
        width: dict[str, list[npt.NDArray[np.float64]]] = {}
        for _ in range(slides):
            drawn = np.stack([generator.multinomial(cells, row) for cells, row in zip(VALIDATION_CELLS, matrix, strict=True)])
            confusion = Confusion(CLASSES, drawn)
            cells = generator.multinomial(generator.choice(CELLS), truth @ matrix)
            found = limits_of_slide(cells, confusion)
            if alternatives:
                found |= {name: method(cells, confusion, generator) for name, method in ALTERNATIVES.items()}
            for name, (low, high) in found.items():
                held.setdefault(name, []).append((low <= truth) & (truth <= high))
                width.setdefault(name, []).append(high - low)
        for name, hits in held.items():
            values = zip(CLASSES, truth, np.mean(hits, axis=0), np.mean(width[name], axis=0), strict=True)
            rows += [(network, mix, name, *value) for value in values]
    return pd.DataFrame(rows, columns=["network", "mix", "limits", "class", "share", "coverage", "width"])


def seconds_of(slides: int) -> float:
    """Return the seconds that the differential of a table of slides takes."""
    generator = np.random.default_rng(0)
    matrix = np.array(NETWORKS["good"]) / np.array(NETWORKS["good"]).sum(axis=1, keepdims=True)
    cells = generator.multinomial(200, np.array(MIXES["healthy"]) / 100 @ matrix, size=slides)
    counts = pd.DataFrame(cells, index=[f"slide {number}" for number in range(slides)], columns=list(CLASSES))
    start = time.perf_counter()
    differential(counts, Confusion(CLASSES, np.array(NETWORKS["good"])))
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, default=1000, help="slides per mix")
    parser.add_argument("--alternatives", action="store_true", help="also measure the methods that were not chosen")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    options = parser.parse_args()
    print(f"{options.slides} slides per mix, {DRAWS} draws; 50 slides take {seconds_of(50):.2f} s\n")
    for network in options.networks:
        table = measure(network, options.slides, options.alternatives)
        for mix, part in table.groupby("mix", sort=False):
            print(f"{network} network, {mix}: coverage in % (mean width in points)")
            print("  " + " " * 10 + "".join(f"{name[:12]:>14}" for name in CLASSES))
            print(f"  {'share in %':<10}" + "".join(f"{100 * share:>14.1f}" for share in part["share"][: len(CLASSES)]))
            for limits, line in part.groupby("limits", sort=False):
                figures = zip(line["coverage"].to_numpy(), line["width"].to_numpy(), strict=True)
                cells = [f"{100 * coverage:.1f} ({100 * width:.1f})" for coverage, width in figures]
                print(f"  {limits:<10}" + "".join(f"{cell:>14}" for cell in cells))
        print()
        print(f"{network} network, all mixes: coverage in % by class")
        for limits, part in table.groupby("limits", sort=False):
            by_class = 100 * part.groupby("class", sort=False)["coverage"].mean()
            print(f"  {limits:<10}" + "".join(f"{value:>14.1f}" for value in by_class))
        for limits, part in table.groupby("limits", sort=False):
            for label, rare in ((f"shares from {100 * RARE:.0f} %", part["share"] >= RARE), ("rarer", part["share"] < RARE)):
                values = 100 * part.loc[rare, "coverage"]
                inside = values.between(93, 97).sum()
                print(
                    f"{network} network, {limits}, {label}: {values.min():.1f} to {values.max():.1f} %, "
                    f"mean {values.mean():.1f}; {inside} of {len(values)} within 93 to 97"
                )
        print()


if __name__ == "__main__":
    main()
