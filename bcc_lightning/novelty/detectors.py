"""Scores of how unlike the training cells a cell is to a network, by pytorch-ood: the higher, the stranger.

All of them read what the last layer is given, its features, and what it makes of them, its logits.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bcc_lightning.datasets.cells import CellImages
from bcc_lightning.errors import UserError
from bcc_lightning.explanation.neighbours import inputs_of, last_layers
from bcc_lightning.prediction.classifier import Pixels, TrainedClassifier

Detector = Literal["msp", "energy", "mahalanobis", "knn", "vim"]
DETECTORS: tuple[Detector, ...] = get_args(Detector)

NEIGHBOURS = 10
"""Of `knn`: the distance to the tenth nearest training cell."""

Floats: TypeAlias = npt.NDArray[np.float64]


class Seen(NamedTuple):
    """What a network makes of cells.

    Attributes:
        features: (N, F) float32, what its last layer is given.
        logits: (N, C) float32, what this makes of it.
    """

    features: Tensor
    logits: Tensor


class LastLayer:
    """A network before and behind its last layer.

    Args:
        classifier: the network.

    Raises:
        UserError: several networks vote, or it does not end in a linear layer.
    """

    def __init__(self, classifier: TrainedClassifier) -> None:
        layers = last_layers(classifier.module)
        if len(layers) > 1:
            raise UserError("several networks vote here, each with features of its own; name one of them")
        self.classifier = classifier
        self.layer: nn.Linear = layers[0]

    def look(self, pixels: Pixels) -> Seen:
        """Compute features and logits of cells (N, S, S, 3) uint8, each seen once, as many at once as its run had."""
        return self.look_in_blocks(len(pixels), lambda rows: pixels[rows])

    def look_at(self, cells: CellImages) -> Seen:
        """Compute features and logits of cells, reading no more of them at once than the network sees at once."""
        return self.look_in_blocks(len(cells), lambda rows: np.array(cells.take(rows)))

    @torch.inference_mode()
    def look_in_blocks(self, count: int, read: Callable[[slice], Pixels]) -> Seen:
        """Compute features and logits of so many cells; `read` gives those of a slice, (B, S, S, 3) uint8."""
        size, found = self.classifier.batch_size, [torch.empty(0, self.layer.in_features)]
        for start in range(0, count, size):
            with inputs_of([self.layer]) as seen:
                self.classifier.module(self.classifier.images(read(slice(start, start + size))))
            found.append(seen[0].flatten(1).float().cpu())
        return self.seen(torch.cat(found))

    def seen(self, features: Tensor) -> Seen:
        """Add the logits that the last layer makes of features (N, F) float32."""
        logits = features @ self.layer.weight.detach().float().cpu().T
        return Seen(features, logits if self.layer.bias is None else logits + self.layer.bias.detach().float().cpu())


def fit_detector(name: Detector, training: Seen, labels: npt.NDArray[np.int64], layer: nn.Linear) -> Callable[[Seen], Floats]:
    """Fit a detector on training cells.

    Args:
        name: ``msp``, one minus the largest probability (Hendrycks and Gimpel 2017); ``energy``, the negative logarithm of the
            sum of exponentiated logits (Liu et al. 2020); ``mahalanobis``, the distance to the nearest class mean in units of the
            common covariance (Lee et al. 2018); ``knn``, the distance to the tenth nearest training cell on the unit sphere (Sun
            et al. 2022); ``vim``, the part of the features outside the subspace in which training cells vary, beside the energy
            (Wang et al. 2022).
        training: of training cells.
        labels: (N,) their classes.
        layer: the last layer.

    Returns:
        What gives the scores (M,) of other cells.
    """
    from pytorch_ood.detector import KNN, EnergyBased, Mahalanobis, MaxSoftmax, ViM

    features, classes = training.features, torch.from_numpy(np.unique(labels, return_inverse=True)[1])
    if name == "msp":
        return lambda seen: as_floats(MaxSoftmax.score(seen.logits))
    if name == "energy":
        return lambda seen: as_floats(EnergyBased.score(seen.logits))
    fitted: Any
    if name == "knn":
        fitted = KNN(None, k=min(NEIGHBOURS, len(features))).fit_features(features, classes)
    elif name == "mahalanobis":
        fitted = Mahalanobis(None).fit_features(features, classes)
    else:
        bias = torch.zeros(len(layer.weight)) if layer.bias is None else layer.bias.cpu()
        dimensions = subspace(features.shape[1])
        fitted = ViM(None, dimensions, layer.weight.cpu(), bias).fit_features(features, classes)
    return lambda seen: as_floats(fitted.predict_features(seen.features))


def subspace(features: int) -> int:
    """Return the dimensions of ViM's principal subspace, by its authors' rule."""
    return 1000 if features >= 2048 else 512 if features >= 768 else features // 2  # noqa: PLR2004 - the authors' rule


def as_floats(scores: Tensor) -> Floats:
    """Bring scores to NumPy."""
    return np.asarray(scores.detach().cpu().numpy(), np.float64)
