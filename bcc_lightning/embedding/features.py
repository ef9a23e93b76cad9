"""The features of all cells of a data set, computed once for each pair of weights and pixels."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from bcc_lightning.architectures.contamination import contamination
from bcc_lightning.cli.options import refuse_below
from bcc_lightning.datamodules import CellDataModule
from bcc_lightning.datasets.cache import cache_home
from bcc_lightning.datasets.cells import CellImages
from bcc_lightning.embedding.choices import BATCH
from bcc_lightning.embedding.extractor import Extractor
from bcc_lightning.errors import UserError
from bcc_lightning.files import whole_file

OWN = ("train", "val", "test")
"""Sets of the data set itself; others are of other laboratories."""

Features = npt.NDArray[np.float32]


@dataclass(frozen=True)
class EmbeddedSet:
    """A set of cells and their features.

    Attributes:
        name: ``train``, ``val``, ``test``, or that of a further set.
        cells: N cells.
        features: (N, F) float32, memory-mapped.
    """

    name: str
    cells: CellImages
    features: Features


@dataclass(frozen=True)
class Embedded:
    """The features of a data set and of its further sets.

    Attributes:
        sets: the sets, those of the data set first.
        class_names: names of the C classes.
        group_names: names of the patients or slides, by `CellImages.groups`; empty where none are known.
        data: name of the data set.
        extractor: the network.
        contamination: sentences on sets that its weights were trained on.
        left_out: the laboratory that is the test set as a whole; None where the sets are of the same ones.
    """

    sets: tuple[EmbeddedSet, ...]
    class_names: tuple[str, ...]
    group_names: tuple[str, ...]
    data: str
    extractor: Extractor
    contamination: tuple[str, ...] = ()
    left_out: str | None = None

    @property
    def width(self) -> int:
        """Number of features F."""
        return int(max(one.features.shape[1] for one in self.sets))

    def of(self, *names: str) -> tuple[Features, npt.NDArray[np.int64]]:
        """Return features and labels of sets, one behind the other."""
        chosen = [one for one in self.sets if one.name in names]
        return np.concatenate([one.features for one in chosen]), np.concatenate([one.cells.labels for one in chosen])

    def in_order(self) -> tuple[Features, npt.NDArray[np.int64], npt.NDArray[np.int64] | None]:
        """Return features, labels and groups of the data set's cells in the order of their names, for folds without shuffling."""
        features, labels = self.of(*OWN)
        cells = [one.cells for one in self.sets if one.name in OWN]
        order = np.argsort(np.array([name for one in cells for name in one.ids]), kind="stable")
        known = [one.groups for one in cells if one.groups is not None]
        return features[order], labels[order], np.concatenate(known)[order] if known else None


def embed(data: CellDataModule, extractor: Extractor, cache_dir: str | None = None, batch_size: int = BATCH) -> Embedded:
    """Compute the features of a data set, or read them where they were computed before.

    Args:
        data: the data set.
        extractor: the network.
        cache_dir: folder of all caches; by default ``$BCC_CACHE_DIR``, else the user's cache folder.
        batch_size: cells that the network sees at once.

    Raises:
        UserError: the data cannot be read, a feature is not a number, or `batch_size` is below 1.
    """
    refuse_below(1, batch_size=batch_size)
    data.prepare_data()
    weights, found = extractor.sha256, []
    sets: dict[str, CellImages] = {**{str(name): part for name, part in data.splits.items()}, **data.external}
    for name, part in sets.items():
        key = hashlib.sha256(f"{weights} {pixels_hash(part)}".encode()).hexdigest()
        file = cache_home(cache_dir) / "features" / f"{key[:32]}.npy"
        found.append(EmbeddedSet(name, part, features_of(part, extractor, file, batch_size, name)))
    seen = contamination([extractor.name, extractor.origin], [data.folder, str(data.root), *data.test_on])
    groups = tuple(data.group_names or ())
    left_out: str | None = getattr(data, "leave_out", None)  # data sets that are no files have none
    return Embedded(tuple(found), tuple(data.class_names), groups, data.folder, extractor, tuple(seen), left_out)


def pixels_hash(cells: CellImages) -> str:
    """Hash the images of a set as the network sees them, in order; half a gigabyte takes less than a second."""
    digest = hashlib.blake2b(f"{len(cells)} {cells.side}".encode())
    for _, pixels in batches(cells, BATCH):
        digest.update(pixels.data)
    return digest.hexdigest()


def features_of(cells: CellImages, extractor: Extractor, file: Path, batch_size: int, title: str) -> Features:
    """Compute the features of a set into a file, batch by batch, and map it into memory.

    Raises:
        UserError: a feature is not a number.
    """
    if kept_features(file, len(cells)) is None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as draft:
            write_features(cells, extractor, draft, batch_size, title)
    features: Features = np.load(file, mmap_mode="r")
    os.utime(file)  # what has been used lately is kept longest
    return features


def kept_features(file: Path, cells: int) -> Features | None:
    """Map features that were computed before into memory; None where there are none, or not one row for each cell."""
    try:
        features: Features = np.load(file, mmap_mode="r")
    except (FileNotFoundError, ValueError, EOFError):  # the latter two of a file that is cut off or of another kind
        return None
    return features if len(features) == cells else None


def write_features(cells: CellImages, extractor: Extractor, file: Path, batch_size: int, title: str) -> None:
    """Write the features of a set as a NumPy file; arguments as `features_of`."""
    target: np.memmap[tuple[int, ...], np.dtype[np.float32]] | None = None
    with tqdm(total=len(cells), desc=title, unit=" cells", disable=None, leave=False) as progress:
        for start, pixels in batches(cells, batch_size):
            found = extractor.features(pixels)
            if not np.isfinite(found).all():
                row = start + int(np.flatnonzero(~np.isfinite(found).all(axis=1))[0])
                raise UserError(f"{extractor.name} gives no numbers for {cells.ids[row]}; its weights are damaged, or overflow")
            if target is None:
                shape = (len(cells), found.shape[1])
                target = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape)
            target[start : start + len(found)] = found
            progress.update(len(found))
    if target is None:
        np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=(0, 0))
    else:
        target.flush()


def batches(cells: CellImages, size: int) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """Yield the place of the first cell of each batch, and the images."""
    for start in range(0, len(cells), size):
        yield start, np.ascontiguousarray(cells.take(slice(start, start + size)))
