"""How often the limits of a differential count hold the true share: plain counting beside the corrected one.

    python benchmarks/differential_coverage.py [--slides 1000] [--cells 200] [--validation PREDICTIONS.parquet]

Slides of five mixes are drawn, since no real slides with known shares are at hand. The network confuses cells as in the given
validation predictions of a run, or by default as a network with the accuracy of 96 % does; a finite validation set is drawn anew
for each slide, and the correction knows only that.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

from bcc_lightning.differential.counting import Confusion, correct, exact_limits

CLASSES = ("basophil", "eosinophil", "erythroblast", "ig", "lymphocyte", "monocyte", "neutrophil", "platelet")
MIXES = {
    "healthy": (0.01, 0.03, 0.01, 0.01, 0.30, 0.07, 0.56, 0.01),
    "infection": (0.01, 0.01, 0.01, 0.06, 0.10, 0.06, 0.74, 0.01),
    "left shift": (0.01, 0.02, 0.03, 0.20, 0.12, 0.07, 0.54, 0.01),
    "eosinophilia": (0.02, 0.30, 0.01, 0.02, 0.20, 0.05, 0.39, 0.01),
    "basophilia": (0.08, 0.03, 0.02, 0.02, 0.30, 0.05, 0.49, 0.01),
}


def usual_confusions() -> np.ndarray:
    """Return validation cells of a network that confuses neighbours in maturation: (C, C), 200 cells a class."""
    matrix = np.diag([192.0] * len(CLASSES)) + 0.4
    for one, other, count in ((3, 6, 6), (6, 3, 5), (3, 5, 4), (5, 3, 4), (4, 2, 3), (2, 4, 3), (0, 3, 4), (1, 6, 3), (5, 4, 3)):
        matrix[one, other] += count
    return matrix


def main() -> None:
    """Draw slides and print the coverage by mix and class."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, default=1000)
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--validation", type=Path)
    options = parser.parse_args()
    counts = usual_confusions()
    if options.validation:
        counts = Confusion.of_predictions(pd.read_parquet(options.validation), CLASSES).counts + 0.05
    sizes, matrix = counts.sum(axis=1).round().astype(int), counts / counts.sum(axis=1, keepdims=True)
    random, start = np.random.default_rng(0), time.perf_counter()
    print(f"{'':14}" + "".join(f"{name[:10]:>16}" for name in CLASSES) + "   (corrected / plain, %)", flush=True)
    for name, mix in MIXES.items():
        truth = np.array(mix) / sum(mix)
        held, plain = np.zeros(len(CLASSES)), np.zeros(len(CLASSES))
        for _ in range(options.slides):
            known = np.array([random.multinomial(size, row) for size, row in zip(sizes, matrix, strict=True)])
            found = random.multinomial(options.cells, truth @ matrix)
            _, low, high = correct(found, known)
            held += (low <= truth) & (truth <= high)
            low, high = exact_limits(found, np.full(len(CLASSES), options.cells))
            plain += (low <= truth) & (truth <= high)
        shares = zip(100 * held / options.slides, 100 * plain / options.slides, strict=True)
        print(f"{name:14}" + "".join(f"{f'{one:.1f} / {other:.1f}':>16}" for one, other in shares), flush=True)
    print(f"{(time.perf_counter() - start) / options.slides / len(MIXES):.3f} s a slide")


if __name__ == "__main__":
    main()
