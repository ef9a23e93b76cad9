"""The training cells that a network finds most similar to a cell: cosine similarity of the inputs of its last linear layer."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from bcc_lightning.architectures.soft_voting import SoftVoting
from bcc_lightning.datasets.cells import CellImages
from bcc_lightning.errors import UserError
from bcc_lightning.explanation.faithfulness import stratified
from bcc_lightning.files import whole_file
from bcc_lightning.modules.base import CellClassifier

BATCH = 64

MOST_CELLS = 4000
"""Training cells that are compared at most; a few thousand show what is near, and take seconds."""

SAMPLE = 500
"""Training cells whose usual similarity to others is computed."""

Features = npt.NDArray[np.float64]
"""In float32, cells that a network hardly distinguishes would all be equally similar."""


@dataclass(frozen=True)
class Neighbour:
    """A training cell beside a cell.

    Attributes:
        id: name of the cell in its data set.
        label: its class.
        similarity: cosine similarity in [-1, 1].
        image: (S, S, 3) uint8.
    """

    id: str
    label: str
    similarity: float
    image: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class TrainingCells:
    """Training cells and their features.

    Attributes:
        cells: N cells.
        features: (N, F) float64, of length 1.
        class_names: names of the classes.
        total: cells of the whole training set, of which these were drawn.
    """

    cells: CellImages
    features: Features
    class_names: Sequence[str]
    total: int

    def nearest(self, features: Features, count: int) -> list[list[Neighbour]]:
        """Find the most similar training cells.

        Args:
            features: (M, F) float64, of length 1.
            count: neighbours of each.

        Returns:
            M lists, the most similar first.
        """
        similarity = features @ self.features.T
        return [self._described(row, np.argsort(-row, kind="stable")[:count]) for row in similarity]

    def typical_similarity(self) -> float:
        """Return the median similarity of a training cell and the other one that is most like it."""
        rows = np.linspace(0, len(self.features) - 1, min(len(self.features), SAMPLE)).astype(np.int64)
        similarity = self.features[rows] @ self.features.T
        similarity[np.arange(len(rows)), rows] = -1  # itself
        return float(np.median(similarity.max(axis=1)))

    def _described(self, similarity: Features, rows: npt.NDArray[np.int64]) -> list[Neighbour]:
        images, names = self.cells.take(rows), self.class_names
        return [
            Neighbour(self.cells.ids[row], names[self.cells.labels[row]], float(similarity[row]), image)
            for row, image in zip(rows.tolist(), images, strict=True)
        ]


def training_cells(
    module: CellClassifier, cells: CellImages, class_names: Sequence[str], key: str, store: Path, most: int = MOST_CELLS
) -> TrainingCells:
    """Compute the features of training cells, or read them where they were computed before.

    Args:
        module: the network.
        cells: its training set.
        class_names: names of the classes.
        key: what the features depend on: the run and its data.
        store: file that keeps them; another network's or data set's features in it are replaced.
        most: cells to draw of a larger training set, each class with its share.
    """
    rows = stratified(cells.labels, most, seed=0)
    drawn = cells.part(rows)
    key = hashlib.sha256(f"{key} {len(cells)} {most} float64".encode()).hexdigest()
    features = read_features(store, key, len(drawn))
    if features is None:
        parts = (drawn.take(np.arange(start, min(start + BATCH, len(drawn)))) for start in range(0, len(drawn), BATCH))
        features = np.concatenate([features_of(module, images) for images in parts])
        with whole_file(store) as draft, draft.open("wb") as stream:
            np.savez(stream, key=np.array(key), features=features)
    return TrainingCells(drawn, features, class_names, len(cells))


def read_features(store: Path, key: str, count: int) -> Features | None:
    """Read stored features; None if there are none of this key, or the file is damaged."""
    try:
        with np.load(store) as stored:
            if str(stored["key"]) != key or len(stored["features"]) != count:
                return None
            return np.asarray(stored["features"], np.float64)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None


@torch.inference_mode()
def features_of(module: CellClassifier, images: npt.NDArray[np.uint8]) -> Features:
    """Compute the features of cells.

    Args:
        module: a network in evaluation mode.
        images: (N, S, S, 3) uint8.

    Returns:
        (N, F) float64, of length 1. Features of several voting networks stand side by side, each with the same weight, so that
        the similarity is the mean of theirs.

    Raises:
        UserError: a network ends in something else than a linear layer.
    """
    layers = last_layers(module)
    with inputs_of(layers) as seen:
        module(torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).to(module.device))
    parts = [normalize(seen[place].flatten(1).cpu().double(), dim=1) for place in range(len(layers))]
    return np.asarray((torch.cat(parts, dim=1) / len(parts) ** 0.5).numpy(), np.float64)


def last_layers(module: CellClassifier) -> list[nn.Linear]:
    """Return the last linear layer of each network that votes; raises as `features_of`."""
    networks = module.network.networks if isinstance(module.network, SoftVoting) else [module.network]
    found, classes = [], len(module.class_names)
    for network in networks:
        linear = [part for part in network.modules() if isinstance(part, nn.Linear) and part.out_features == classes]
        if not linear:
            raise UserError("the network does not end in a linear layer, so it has no features to compare")
        found.append(linear[-1])
    return found


@contextmanager
def inputs_of(layers: Sequence[nn.Module]) -> Iterator[dict[int, Tensor]]:
    """Collect what each layer gets, by its place in the list."""
    seen: dict[int, Tensor] = {}
    hooks = [
        layer.register_forward_pre_hook(lambda _layer, arguments, place=place: seen.update({place: arguments[0]}))
        for place, layer in enumerate(layers)
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
