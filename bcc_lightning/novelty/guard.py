"""What a network needs to recognise cells that are unlike its own: features of training cells, and scores of validation cells.

Everything is chosen on the network's own data. A cell is compared with the validation cells, which the network was not trained
on: its familiarity is the share of them that are at least as strange.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import torch

from bcc_lightning.datasets.cells import CellImages
from bcc_lightning.errors import UserError
from bcc_lightning.explanation.faithfulness import stratified
from bcc_lightning.files import whole_file
from bcc_lightning.novelty.detectors import Detector, Floats, LastLayer, Seen, fit_detector
from bcc_lightning.prediction.classifier import Pixels, TrainedClassifier

DEFAULT: Detector = "vim"
"""The detector with the largest mean AUROC in `benchmarks/strangers.py`; the table is in docs/laboratories.md."""

TRAINING_CELLS = 2000
"""Training cells whose features are kept, each class with its share."""

VALIDATION_CELLS = 5000
"""Validation cells whose features are kept, each class with its share."""

FILED = "novelty.npz"
"""Name of the reference among a run's artifacts."""


@dataclass(frozen=True)
class Reference:
    """What is kept of a network's own cells.

    Attributes:
        training: (N, F) float16, features of training cells.
        labels: (N,) int64, their classes.
        validation: (M, F) float16, features of validation cells.
    """

    training: npt.NDArray[np.float16]
    labels: npt.NDArray[np.int64]
    validation: npt.NDArray[np.float16]

    def write(self, file: Path) -> None:
        """Write it whole or not at all."""
        with whole_file(file) as draft, draft.open("wb") as stream:
            np.savez(stream, training=self.training, labels=self.labels, validation=self.validation)

    @classmethod
    def read(cls, file: Path) -> "Reference":
        """Read it.

        Raises:
            UserError: the file is missing or damaged.
        """
        try:
            with np.load(file, allow_pickle=False) as stored:
                return cls(stored["training"], stored["labels"], stored["validation"])
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise UserError(
                f"{file} holds no features of a network's own cells ({error!s:.200}); delete it, or train the run again"
            ) from error


def look_at_own_cells(classifier: TrainedClassifier, training: CellImages, validation: CellImages) -> Reference:
    """Compute the features of a network's own cells.

    Raises:
        UserError: several networks vote, or it does not end in a linear layer.
    """
    network = LastLayer(classifier)
    drawn = training.part(stratified(training.labels, TRAINING_CELLS, seed=0))
    compared = validation.part(stratified(validation.labels, VALIDATION_CELLS, seed=0))
    features = [network.look_at(cells).features.numpy().astype(np.float16) for cells in (drawn, compared)]
    return Reference(features[0], drawn.labels, features[1])


class Guard:
    """Says how familiar cells are to a network.

    Args:
        classifier: the network.
        reference: its own cells.
        detector: how they are compared.
    """

    def __init__(self, classifier: TrainedClassifier, reference: Reference, detector: Detector = DEFAULT) -> None:
        self.network = LastLayer(classifier)
        kept = (reference.training, reference.validation)
        training, validation = (self.network.seen(torch.from_numpy(features.astype(np.float32))) for features in kept)
        self.score: Callable[[Seen], Floats] = fit_detector(detector, training, reference.labels, self.network.layer)
        self.own = np.sort(self.score(validation))

    def scores(self, pixels: Pixels) -> Floats:
        """Compute how strange cells (N, S, S, 3) are: (N,)."""
        return self.score(self.network.look(pixels))

    def scores_of(self, cells: CellImages) -> Floats:
        """Compute how strange cells are, as `scores`, without holding all their images in memory: (N,)."""
        return self.score(self.network.look_at(cells))

    def familiarity(self, scores: Floats) -> Floats:
        """Return the share of validation cells that are at least as strange, the cell itself counted: (N,) in (0, 1]."""
        as_strange = len(self.own) - np.searchsorted(self.own, scores, side="left")
        return np.asarray((as_strange + 1) / (len(self.own) + 1))
