"""Whether conformal prediction sets keep their promise on a finished run: coverage of each class over many resplits.

python benchmarks/conformal_coverage.py --run house --resplits 200

The answers that the run filed for its validation and its test set are put together, and divided anew into calibration and test
cells again and again. No network is trained or run. The mean coverage of a class must reach the promised one, up to the standard
error of that mean.
"""

import argparse

import numpy as np
import pandas as pd

from bcc_lightning.evaluation.assessment import read_predictions
from bcc_lightning.evaluation.conformal import LEVELS, coverage_over_resplits
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.tracking.trained_networks import find_network


def main() -> None:
    """Print mean coverage, its standard error, and the range of single resplits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", required=True)
    parser.add_argument("--folder", default="mlruns", help="folder of the runs")
    parser.add_argument("--resplits", type=int, default=200)
    arguments = parser.parse_args()
    network = find_network(Tracking(folder=arguments.folder), arguments.run, folds=True)
    parts = [network.predictions(name) for name in ("validation", "test")]
    predictions, class_names = read_predictions(pd.concat(parts, ignore_index=True))
    cells = np.bincount(predictions.label.numpy(), minlength=len(class_names))
    share = len(parts[0]) / len(predictions.label)
    print(f"{network.title}: {len(predictions.label):,} cells, {share:.0%} calibrate, {arguments.resplits} resplits")
    for level in LEVELS:
        coverage = coverage_over_resplits(predictions, level, arguments.resplits, share)
        print(f"promised {level:.0%}")
        for number, name in enumerate(class_names):
            of_class = coverage[:, number]
            low, high = np.percentile(of_class, (2.5, 97.5))
            error = of_class.std(ddof=1) / np.sqrt(len(of_class))
            spread = f"mean {of_class.mean():.4f} ± {error:.4f}, 95 % of the resplits {low:.3f} to {high:.3f}"
            print(f"  {name:<16}{cells[number]:6,} cells  {spread}")


if __name__ == "__main__":
    main()
