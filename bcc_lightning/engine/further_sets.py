"""Sets that a finished run is evaluated on later: read with its classes and its image size, never with cells that it has seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bcc_lightning.datamodules.base import CellDataModule
from bcc_lightning.datamodules.image_files import ImageFiles
from bcc_lightning.datasets.cells import CellImages, Names, pixel_hashes
from bcc_lightning.datasets.classes import class_key, label_map
from bcc_lightning.datasets.external import (
    TrainedOn,
    at_magnification,
    name_of,
    read_external_sets,
    refuse_trained_on,
    relabelled,
)
from bcc_lightning.datasets.framing import fit_square
from bcc_lightning.datasets.identity import content_hash
from bcc_lightning.datasets.splits import TEST
from bcc_lightning.engine.ancestors import ancestors, refuse_learnt
from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.metrics import TEST as OWN_TEST
from bcc_lightning.evaluation.metrics import VALIDATION
from bcc_lightning.prediction.classifier import TrainedClassifier
from bcc_lightning.safe_names import folded, refuse_names
from bcc_lightning.tracking.trained_networks import TrainedNetwork


@dataclass(frozen=True)
class FurtherSet:
    """A set that a run is evaluated on later.

    Attributes:
        name: under which it is filed.
        cells: its cells, with the labels of the run and images of the side that its network is given.
        read: a sentence that says what was read.
        notices: what was left out and what was read under several spellings.
    """

    name: str
    cells: CellImages
    read: str
    notices: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Hash of ids and pixels, whatever their order and labels."""
        ids = self.cells.ids if isinstance(self.cells.ids, Names) else Names.of(self.cells.ids)
        return content_hash(ids, np.frombuffer(b"".join(pixel_hashes(self.cells)), np.uint8).reshape(-1, 32))


def read_test_on(
    places: Sequence[str],
    class_map: Mapping[str, str | None],
    classifier: TrainedClassifier,
    own: CellDataModule | str,
    pixel_sizes: Mapping[str, float],
) -> list[FurtherSet]:
    """Read sets as ``--data.test_on`` of a training names them: folders of class folders, or tables.

    Args:
        places: the folders and tables.
        class_map: classes of theirs, and what the network calls them; None leaves them out.
        classifier: the network.
        own: the data that it was trained on; a sentence where they are not here.
        pixel_sizes: micrometres that a pixel of a set covers, by its name.

    Raises:
        UserError: a set cannot be read, has a class that the network does not know, or cells that it has seen.
    """
    known = TrainedOn(classifier.class_names, classifier.side) if isinstance(own, str) else own.as_trained_on()
    trained_on = replace(
        known,
        class_names=classifier.class_names,
        image_size=classifier.side,
        class_map=class_map,
        bits=classifier.bits,
        enlarge=True,
        pixel_sizes=pixel_sizes,
        field=classifier.field,
    )
    found = []
    for (name, one), place in zip(read_external_sets(list(places), trained_on).items(), places, strict=True):
        whole = "of its test set" if one.cells.splits is not None and (one.cells.splits == TEST).any() else "all"
        read = f"{len(one.cells):,} cells, {whole}, were read from {place}."
        crop = (f"The run cut the central {classifier.crop} pixels out of its own images; these were read whole.",)
        found.append(FurtherSet(name, one.cells, read, (*one.notices, *(crop if classifier.crop else ()))))
    return found


def read_data_module(data: CellDataModule, classifier: TrainedClassifier, own: CellDataModule | str) -> FurtherSet:
    """Read the test set of a data module, or all its cells where it has none; its classes are mapped by name.

    Args:
        data: not yet read; its image size becomes that of the network.
        classifier: the network.
        own: the data that it was trained on; a sentence where they are not here.

    Raises:
        UserError: it cannot be read, or has a class that the network does not know.
    """
    if data.test_on:
        raise UserError("--data.test_on beside --data NAME: a set is evaluated by one of them; leave out the other")
    data.image_size = classifier.side
    unknown: list[str] = []
    if isinstance(data, ImageFiles):
        data.image_set.listing, unknown = at_magnification(data.image_set.listing, classifier.field)
        data.image_set.enlarge, data.image_set.field = True, classifier.field
    data.prepare_data()
    if isinstance(data, ImageFiles) and isinstance(own, ImageFiles) and not is_same_data(data, own):
        refuse_trained_on(data.image_set, own.image_set)
    cells, what = data.cells, f"{type(data).__name__} in {data.root}"
    codes = data.codes if data.split_file else cells.splits
    has_test = codes is not None and bool((codes == TEST).any())
    if codes is not None and has_test:
        cells = cells.part(np.flatnonzero(codes == TEST))
    read = f"{len(cells):,} cells, {'the test set of' if has_test else 'all of'} {what}, were read."
    if not has_test:
        read += " It has no test set of its own."
    cells, left_out = relabelled(cells, labels_of(data, cells, classifier), data.class_names, str(data.root))
    images = data.image_set.notices() if isinstance(data, ImageFiles) else []
    return FurtherSet(name_of(data.root), cells, read, (*data.file_notices(), *unknown, *images, *left_out))


def labels_of(data: CellDataModule, cells: CellImages, classifier: TrainedClassifier) -> npt.NDArray[np.int64]:
    """Map the labels of a data set to those of a network by class name: (C,) int64, 0 for a class that does not occur.

    Raises:
        UserError: a class that occurs has no counterpart, or the class map names one that does not exist.
    """
    present = np.flatnonzero(cells.counts(len(data.class_names)))
    known = {class_key(name) for name in data.class_names}
    if unused := [name for name in data.class_map if class_key(name) not in known]:
        raise UserError(
            f"--data.class_map names {', '.join(unused)}, which {data.root} does not hold; it holds {', '.join(data.class_names)}"
        )
    labels = np.zeros(len(data.class_names), np.int64)
    source = [data.class_names[number] for number in present]
    labels[present] = label_map(source, classifier.class_names, data.class_map, str(data.root))
    return labels


def is_same_data(data: CellDataModule, own: CellDataModule) -> bool:
    """Check whether two data modules hold the same files."""
    return data.fingerprint() == own.fingerprint()


def refuse_unusable(found: FurtherSet, class_names: Sequence[str]) -> None:
    """Refuse a set whose name is taken by the run itself, and one whose figures would mean nothing.

    Raises:
        UserError: with the next step.
    """
    refuse_names(class_names, [found.name])
    if "/" in found.name or not found.name:
        raise UserError(f"--name is '{found.name}', it must have at least one character and no /")
    if folded(found.name) in {OWN_TEST, VALIDATION}:
        raise UserError(
            f"the set would be called {found.name}, as the run's own {found.name} set, whose figures stay as they are; give it "
            "another name with --name NAME"
        )
    held = np.unique(found.cells.labels)
    if len(held) < 2:  # noqa: PLR2004 - a single class
        raise UserError(
            f"{found.name} holds one class only, {class_names[held[0]]} ({len(found.cells):,} cells): always answering it would "
            "be right every time, so that an accuracy says nothing. Next step: add cells of another class"
        )


def refuse_seen(found: FurtherSet, network: TrainedNetwork, own: CellDataModule) -> None:
    """Refuse cells whose pixels are among the data that a network, or one that it started from, was trained or validated on.

    Its own test cells are refused too: they have been evaluated.

    Args:
        found: the set.
        network: the network.
        own: its data.

    Raises:
        UserError: with the number of shared cells, and the first.
    """
    seen = dict(zip(pixel_hashes(own.cells), own.codes != TEST, strict=True))
    if own.few_shot_set:
        seen |= dict.fromkeys(pixel_hashes(own.few_shot_set.trained), True)
    shared = [(row, seen[pixels]) for row, pixels in enumerate(pixel_hashes(found.cells)) if pixels in seen]
    if shared:
        trained = sum(is_trained_on for _, is_trained_on in shared)
        raise UserError(
            f"{found.name} shares {len(shared):,} of its {len(found.cells):,} cells with the data of {network.title}, which was "
            f"trained on or chosen by {trained:,} of them; the first is {found.cells.ids[shared[0][0]]}. A further set must hold "
            "cells that the network has not seen. Next step: leave them out; the run's own test set is evaluated without --data "
            "and --data.test_on"
        )
    if network.run:
        refuse_learnt({found.name: found.cells}, ancestors(network.run.tracking, network), own.image_size)


def at_side(images: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Bring images (N, H, H, 3) to a side, as a single one would be."""
    return images if images.shape[1] == side else np.stack([fit_square(image, side) for image in images])
