"""Further test sets: cells of another laboratory, read with the labels of the data set that the network is trained on."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bcc_lightning.datasets.cell_folder import list_cell_folder
from bcc_lightning.datasets.cells import CellImages, shrink
from bcc_lightning.datasets.classes import LEFT_OUT, class_key, label_map
from bcc_lightning.datasets.depth import EIGHT
from bcc_lightning.datasets.image_set import ImageSet
from bcc_lightning.datasets.listing import CellListing, with_pixel_size
from bcc_lightning.datasets.places import DATA_DIR_VARIABLE, data_folder
from bcc_lightning.datasets.spelling import SET_WORDS
from bcc_lightning.datasets.splits import TEST
from bcc_lightning.datasets.table import list_table
from bcc_lightning.errors import UserError
from bcc_lightning.safe_names import folded

TABLES = (".csv", ".parquet")


class ExternalSet(NamedTuple):
    """A further test set.

    Attributes:
        cells: with the labels of the data set that is trained on.
        class_names: of the set itself.
        notices: what was read under several spellings, and what was left out.
    """

    cells: CellImages
    class_names: tuple[str, ...]
    notices: tuple[str, ...]


@dataclass(frozen=True)
class TrainedOn:
    """The data set that the network is trained on, as far as a further test set depends on it.

    Attributes:
        class_names: names of the C classes, in label order.
        image_size: largest side in pixels of its stored images.
        class_map: classes of further test sets, and what they are called here; None leaves them out.
        images: its image files; None if it is not made of files, or they are not on this machine.
        bits: bits of deep images where `images` does not tell them, see `bcc_lightning.datasets.decoding.decode`.
        enlarge: whether further sets are stored at `image_size` also where all their images are smaller.
        pixel_sizes: micrometres that a pixel of a further set covers, by name, where its table does not tell it.
        field: side in micrometres of the square that images show, where `images` does not tell it; None if it is unknown.
    """

    class_names: Sequence[str]
    image_size: int
    class_map: Mapping[str, str | None] = dataclass_field(default_factory=dict)
    images: ImageSet | None = None
    bits: int = EIGHT
    enlarge: bool = False
    pixel_sizes: Mapping[str, float] = dataclass_field(default_factory=dict)
    field: float | None = None

    def pixel_size_of(self, name: str) -> float | None:
        """Micrometres that a pixel of a further set covers; None where it is not told beside its table."""
        return next((size for told, size in self.pixel_sizes.items() if folded(told) == folded(name)), None)

    @property
    def shown_field(self) -> float | None:
        """Side in micrometres of the square that images show; None if it is unknown."""
        return self.images.cached.field if self.images else self.field


def read_external_sets(
    names: list[str], trained_on: TrainedOn, beside: Mapping[str, ExternalSet] | None = None
) -> dict[str, ExternalSet]:
    """Read further test sets, each under a name of its own.

    Args:
        names: paths or names.
        trained_on: the data set that the network is trained on.
        beside: a further set by its name that has been read already.

    Raises:
        UserError: as `read_external`, two of them have the same name, or the class map or the pixel sizes name what is in none.
    """
    places = [find_set(name, "--data.test_on") for name in names]
    named, beside = names_of(places), beside or {}
    there = set(map(folded, [*named, *beside]))
    if strange := [name for name in trained_on.pixel_sizes if folded(name) not in there]:
        raise UserError(f"--data.test_pixel_size names {', '.join(strange)}; the further sets are {', '.join([*named, *beside])}")
    sets = {
        name: read_external(place, trained_on, trained_on.pixel_size_of(name)) for name, place in zip(named, places, strict=True)
    }
    held = {class_key(name) for found in (*sets.values(), *beside.values()) for name in found.class_names}
    if held and (unused := [name for name in trained_on.class_map if class_key(name) not in held]):
        raise UserError(f"--data.class_map names {', '.join(unused)}, which no further test set holds; correct or remove it")
    return sets


def find_set(name: str, option: str) -> Path:
    """Find cells of another laboratory: a folder of class folders, or a table, anywhere or below the folder of all data sets.

    Args:
        name: path or name.
        option: that gave it, for the message.

    Raises:
        UserError: there is no such set.
    """
    place = next((path for path in (Path(name), data_folder(name)) if path.exists()), None)
    if place is None:
        raise UserError(
            f"{option} {name}: neither {Path(name)} nor {data_folder(name)} exists; name a folder or a table, "
            f"or the folder of all data sets with {DATA_DIR_VARIABLE}"
        )
    return place


def names_of(places: list[Path], option: str = "--data.test_on") -> list[str]:
    """Name further test sets by the last part of their paths that does not itself mean a set, such as ``test``.

    Sets of the same name, apart from case and Unicode form, also get the name of the folder above: ``clinic-ward``.

    Args:
        places: folders and tables.
        option: that gave them, for the message.

    Raises:
        UserError: two of them still have the same name, or one has none.
    """
    names = [name_of(place) for place in places]
    known = list(map(folded, names))
    names = [name_of(places[row], 2) if known.count(folded(name)) > 1 else name for row, name in enumerate(names)]
    known = list(map(folded, names))
    if same := [str(place) for place, name in zip(places, known, strict=True) if known.count(name) > 1 or not name]:
        raise UserError(f"{option} {', '.join(same)} would have the same name in the run, or none; rename one of the folders")
    return names


def name_of(place: Path, parts: int = 1) -> str:
    """Join the last parts of a path, without a table's suffix and without names at the end that mean a set."""
    path = Path(os.path.abspath(place))
    path = path.with_suffix("") if path.suffix.lower() in TABLES else path
    while path.name.lower() in SET_WORDS:
        path = path.parent
    return "-".join(path.parts[1:][-parts:])


def read_external(place: Path, trained_on: TrainedOn, pixel_size: float | None = None) -> ExternalSet:
    """Read a further test set: its own test set if it has one, else all its cells; see `read_whole`."""
    found = read_whole(place, trained_on, pixel_size)
    cells = found.cells
    if cells.splits is None or not (cells.splits == TEST).any():
        return found
    return found._replace(cells=cells.part(np.flatnonzero(cells.splits == TEST)))


def read_whole(place: Path, trained_on: TrainedOn, pixel_size: float | None = None) -> ExternalSet:
    """Read all cells of another laboratory.

    Args:
        place: folder of class folders, or table.
        trained_on: the data set that the network is trained on.
        pixel_size: micrometres that a pixel covers, where a table does not tell it.

    Returns:
        The set, its cells with the labels of that data set.

    Raises:
        UserError: one of its classes has no counterpart, or it holds cells that are trained on.
    """
    listing = list_table(place) if place.suffix.lower() in TABLES else list_cell_folder(place)
    listing, unknown = at_magnification(
        with_pixel_size(listing, pixel_size, f"--data.test_pixel_size of {place.name}"), trained_on.shown_field
    )
    own, size, enlarge, field = trained_on.images, trained_on.image_size, trained_on.enlarge, trained_on.field
    as_told = ImageSet(listing, size, bits=trained_on.bits, enlarge=enlarge, field=field)
    images = own.read_alike(listing, size, enlarge) if own else as_told
    if own:
        refuse_trained_on(images, own)
    labels = label_map(listing.class_names, trained_on.class_names, trained_on.class_map, str(place))
    cells, left_out = relabelled(shrink(images.cells(), size), labels, listing.class_names, str(place))
    notices = (*listing.notices, *unknown, *images.notices(), *left_out)
    return ExternalSet(cells, listing.class_names, notices)


def relabelled(
    cells: CellImages, labels: npt.NDArray[np.int64], class_names: Sequence[str], whose: str
) -> tuple[CellImages, list[str]]:
    """Relabel cells by the classes of another data set, and leave out those whose class it lacks.

    Args:
        cells: N of them.
        labels: see `label_map`.
        class_names: what the cells' own labels stand for.
        whose: where they are from, for the message.

    Returns:
        The cells that are left, and what was left out.

    Raises:
        UserError: none is left.
    """
    new = labels[cells.labels]
    kept = np.flatnonzero(new != LEFT_OUT)
    if len(kept) == len(cells):
        return replace(cells, labels=new), []
    if not len(kept):
        raise UserError(f"--data.class_map leaves out every cell of {whose}; leave out the set instead")
    counts = cells.counts(len(class_names))
    out = [f"{counts[label]:,} of {class_names[label]}" for label in np.flatnonzero(labels == LEFT_OUT).tolist()]
    told = f"Left out by --data.class_map: {', '.join(out)}."
    return replace(cells.part(kept), labels=new[kept]), [told]


def at_magnification(listing: CellListing, field: float | None) -> tuple[CellListing, list[str]]:
    """Keep the sizes of the pixels of other cells if those of the training are known too; add a notice where one is missing.

    Args:
        listing: of the other cells.
        field: side in micrometres of the square that the training images show; None if it is unknown.
    """
    known, needed = listing.pixel_sizes is not None, field is not None
    if known and not needed:
        told = "its pixel sizes are not used, since those of the training images are unknown: train with --data.pixel_size"
        return replace(listing, pixel_sizes=None), [told]
    if needed and not known:
        return listing, [
            "the size of its pixels is unknown, so its cells may be larger or smaller than those of the training: give it in a "
            "column pixel_size, with --data.test_pixel_size '{NAME: MICROMETRES}', or of another data set with --data.pixel_size"
        ]
    return listing, []


def refuse_trained_on(images: ImageSet, own: ImageSet) -> None:
    """Refuse a test set that shares files with the data set: some of them have been trained on.

    Raises:
        UserError: with the number of shared images, and the first.
    """
    known = {digest.tobytes() for digest in own.cached.digests}
    shared = [row for row, digest in enumerate(images.cached.digests) if digest.tobytes() in known]
    if shared:
        raise UserError(
            f"{images.listing.root} shares {len(shared)} of its {len(images.listing)} images with {own.listing.root}, the first "
            f"is {images.listing.paths[shared[0]]}; a further test set must hold cells that no network here has seen"
        )
