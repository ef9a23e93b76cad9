"""How many unlabelled cells of another laboratory an adaptation needs, and what it does when they are all of one class.

    python benchmarks/target_cells.py --run traveller --laboratories /cells/bccd_crops /cells/wbc.csv --adapt bn tent

The network is adapted to 16, 32, 64 cells that are drawn without their labels, 20 times each, to all cells, and to those of each
class alone. Every time, all cells of the laboratory are classified. Classes of fewer than ten cells do not count in the balanced
accuracy. One position of each cell is classified: averaging over eight would take eight times as long.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from bcc_lightning.engine.adapting import adapt_network
from bcc_lightning.engine.further_sets import read_test_on
from bcc_lightning.engine.rebuild import own_data
from bcc_lightning.prediction.choices import read_methods
from bcc_lightning.prediction.classifier import Pixels, TrainedClassifier
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.tracking.trained_networks import find_network

SIZES, DRAWS, FEWEST_CELLS, AT_ONCE = (16, 32, 64), 20, 10, 64

Labels = npt.NDArray[np.int_]


def figures(classifier: TrainedClassifier, pixels: Pixels, labels: Labels) -> tuple[float, float]:
    """Classify all cells; accuracy, and balanced accuracy over the classes that have enough cells."""
    parts = [classifier.classify(pixels[start : start + AT_ONCE]) for start in range(0, len(pixels), AT_ONCE)]
    right = torch.cat(parts).argmax(dim=1).numpy() == labels
    classes, cells = np.unique(labels, return_counts=True)
    return float(right.mean()), float(np.mean([right[labels == one].mean() for one in classes[cells >= FEWEST_CELLS]]))


def shown(found: list[tuple[float, float]]) -> str:
    """Format the mean of both figures over the draws, and the range of the accuracy."""
    accuracy, balanced = np.array(found).T
    spread = f" ({accuracy.min():.3f} to {accuracy.max():.3f})" if len(found) > 1 else ""
    return f"{accuracy.mean():.3f}{spread} | {balanced.mean():.3f}"


def main() -> None:
    """Print a table for each laboratory and method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True)
    parser.add_argument("--laboratories", nargs="+", required=True)
    parser.add_argument("--adapt", nargs="+", default=["bn"])
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--folder", default="mlruns")
    options = parser.parse_args()
    network = find_network(Tracking(folder=options.folder), options.run)
    classifier = TrainedClassifier.of(network)
    classifier.module.hparams["test_time"] = "none"
    for place in options.laboratories:
        (one,) = read_test_on([place], {}, classifier, own_data(network), {})
        pixels, labels = np.asarray(one.cells.take(slice(None))), np.asarray(one.cells.labels)
        draw = np.random.default_rng(0)
        drawn = {f"{size} cells": [draw.choice(len(pixels), size, replace=False) for _ in range(options.draws)] for size in SIZES}
        names = {code: classifier.class_names[code] for code in np.unique(labels)}
        alone = {f"the {np.sum(labels == code)} {name}s alone": [np.flatnonzero(labels == code)] for code, name in names.items()}
        chosen = {**drawn, f"all {len(pixels)} cells": [np.arange(len(pixels))], **alone}
        print(f"\n{Path(place).stem} | {' | '.join(f'{name}: accuracy (range), balanced' for name in options.adapt)}")
        print(f"not adapted | {shown([figures(classifier, pixels, labels)])}")
        for name, draws in chosen.items():
            began, row = time.perf_counter(), []
            for methods in map(read_methods, options.adapt):
                adapted = [adapt_network(network, classifier, pixels[cells], methods) for cells in draws]
                row.append(shown([figures(one, pixels, labels) for one in adapted]))
            print(f"{name} | {' | '.join(row)} | {(time.perf_counter() - began) / len(draws):.0f} s", flush=True)


if __name__ == "__main__":
    main()
