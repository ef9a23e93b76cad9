"""How often the alarm for cells from elsewhere is false, and after how many cells it is raised.

    python benchmarks/drift_alarm.py --run traveller --strangers /cells/bccd_crops /cells/wbc.csv

Own batches are drawn with replacement from the run's test set, strangers' from all cells of another laboratory.
"""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from strangers import read_pixels

from bcc_lightning.engine.familiarity import guard_of
from bcc_lightning.engine.rebuild import own_data
from bcc_lightning.evaluation.metrics import TEST
from bcc_lightning.novelty.drift import watch
from bcc_lightning.prediction.classifier import TrainedClassifier
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.tracking.trained_networks import find_network

CELLS = 100
"""Cells of a batch."""


def main() -> None:
    """Print a line for the own cells, and one for each laboratory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True)
    parser.add_argument("--strangers", nargs="*", type=Path, default=[])
    parser.add_argument("--batches", type=int, default=1000)
    parser.add_argument("--folder", default="mlruns")
    options = parser.parse_args()
    network = find_network(Tracking(folder=options.folder), options.run)
    classifier, data = TrainedClassifier.of(network), own_data(network)
    if isinstance(data, str):
        raise SystemExit(data)
    guard = guard_of(network, classifier)
    draw = np.random.default_rng(0)

    def alarms(name: str, scores: npt.NDArray[np.float64]) -> None:
        """Draw batches and print how many raise the alarm, and after how many cells."""
        found = [watch(guard.own, draw.choice(scores, CELLS)).at for _ in range(options.batches)]
        raised = [at for at in found if at is not None]
        delay = f", after {np.median(raised):.0f} cells (median), at most {max(raised)}" if raised else ""
        print(f"{name}: {len(raised):,} of {options.batches:,} batches of {CELLS} cells raise the alarm{delay}")

    alarms("own test cells", guard.scores_of(data.evaluated_cells(TEST)))
    for place in options.strangers:
        alarms(place.stem, guard.scores(read_pixels(place, classifier.side)))


if __name__ == "__main__":
    main()
