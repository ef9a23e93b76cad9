"""How well detectors tell strange cells from a network's own: AUROC, and the share of strangers taken for own cells.

    python benchmarks/strangers.py --run traveller --strangers /cells/bccd_crops /cells/wbc.csv [--unknown basophil=RUN]

Own cells are the run's test set. Strangers are cells of other laboratories (``--strangers``), cells of a class that a network was
never trained on (``--unknown CLASS=RUN``: a run that was trained without the class, on a data set that has it), and images that
are no cells: photographs of scikit-image cut into squares, noise, and single colours. FPR95 is the share of strangers that pass
where 95 % of the own cells do.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from skimage import data as photographs
from sklearn.metrics import roc_auc_score

from bcc_lightning.datamodules import CellFolder
from bcc_lightning.datasets.cell_folder import list_cell_folder
from bcc_lightning.datasets.external import TABLES
from bcc_lightning.datasets.framing import fit_square
from bcc_lightning.datasets.image_set import ImageSet
from bcc_lightning.datasets.table import list_table
from bcc_lightning.engine.further_sets import at_side
from bcc_lightning.engine.rebuild import own_data
from bcc_lightning.evaluation.metrics import TEST, VALIDATION
from bcc_lightning.novelty.detectors import DETECTORS
from bcc_lightning.novelty.guard import Guard, look_at_own_cells
from bcc_lightning.prediction.classifier import Pixels, TrainedClassifier
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.tracking.trained_networks import find_network


def no_cells(side: int, count: int = 200) -> Pixels:
    """Make images that are no cells."""
    draw = np.random.default_rng(0)
    found: list[Pixels] = []
    shown: Any = photographs  # has no types
    images = [shown.astronaut(), shown.coffee(), shown.chelsea(), shown.rocket()]
    while len(found) < count // 2:
        image = images[len(found) % len(images)]
        size = int(draw.integers(side, min(image.shape[:2])))
        top, left = (int(draw.integers(0, length - size + 1)) for length in image.shape[:2])
        found.append(fit_square(image[top : top + size, left : left + size], side))
    found += [draw.integers(0, 256, (side, side, 3)).astype(np.uint8) for _ in range(count // 4)]
    found += [np.tile(draw.integers(0, 256, 3).astype(np.uint8), (side, side, 1)) for _ in range(count - len(found))]
    return np.stack(found)


def read_pixels(place: Path, side: int) -> Pixels:
    """Read all images of a folder of class folders, or of a table."""
    listing = list_table(place) if place.suffix.lower() in TABLES else list_cell_folder(place)
    return np.asarray(at_side(ImageSet(listing, side, enlarge=True).cells().take(slice(None)), side))


def figures(own: npt.NDArray[np.float64], strange: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Compute AUROC, and the share of strangers below the 95 % quantile of the own cells."""
    labels = np.r_[np.zeros(len(own)), np.ones(len(strange))]
    return float(roc_auc_score(labels, np.r_[own, strange])), float((strange <= np.quantile(own, 0.95)).mean())


class Own:
    """A network with its own cells.

    Args:
        run: the run.
        folder: where runs are kept.
    """

    def __init__(self, run: str, folder: str) -> None:
        network = find_network(Tracking(folder=folder), run)
        data = own_data(network)
        if isinstance(data, str):
            raise SystemExit(data)
        self.data = data
        self.classifier = TrainedClassifier.of(network)
        reference = look_at_own_cells(self.classifier, data.splits["train"], data.evaluated_cells(VALIDATION))
        self.guards = [Guard(self.classifier, reference, detector) for detector in DETECTORS]
        self.scores = [guard.scores_of(data.evaluated_cells(TEST)) for guard in self.guards]

    def figures(self, strangers: Pixels) -> list[tuple[float, float]]:
        """Compute AUROC and FPR95 of each detector."""
        return [figures(own, guard.scores(strangers)) for guard, own in zip(self.guards, self.scores, strict=True)]

    def of_class(self, name: str) -> Pixels:
        """Read the test cells of a class that the network does not know, from its own data set."""
        whole = CellFolder(root=str(self.data.root), image_size=self.data.image_size)
        cells = whole.splits["test"]
        return np.array(cells.take(np.flatnonzero(cells.labels == whole.class_names.index(name))))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True)
    parser.add_argument("--strangers", nargs="*", type=Path, default=[])
    parser.add_argument("--unknown", nargs="*", default=[])
    parser.add_argument("--folder", default="mlruns")
    options = parser.parse_args()
    own = Own(options.run, options.folder)
    side = own.classifier.side
    rows = {place.stem: own.figures(read_pixels(place, side)) for place in options.strangers}
    rows["no cells"] = own.figures(no_cells(side))
    for pair in options.unknown:
        name, _, run = pair.partition("=")
        without = own if run == options.run else Own(run, options.folder)
        rows[f"{name}, never trained on"] = without.figures(without.of_class(name))
    rows["mean"] = [tuple(pair) for pair in np.mean(list(rows.values()), axis=0).tolist()]
    print("| strangers | " + " | ".join(f"{name}: AUROC, FPR95" for name in DETECTORS) + " |\n|" + "---|" * (1 + len(DETECTORS)))
    for name, found in rows.items():
        print(f"| {name} | " + " | ".join(f"{auroc:.3f}, {passed:.2f}" for auroc, passed in found) + " |")


if __name__ == "__main__":
    main()
