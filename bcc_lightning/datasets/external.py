"""Further test sets: cells of another laboratory, read with the labels of the data set that the network is trained on."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bcc_lightning.datamodules.base import DATA_DIR_VARIABLE, CellDataModule, data_folder, shrink
from bcc_lightning.datamodules.cell_folder import CellFolder
from bcc_lightning.datamodules.cell_table import CellTable
from bcc_lightning.datamodules.image_files import ImageFiles
from bcc_lightning.datasets.cells import CellImages
from bcc_lightning.datasets.classes import class_key, label_map
from bcc_lightning.datasets.splits import TEST
from bcc_lightning.errors import UserError
from bcc_lightning.safe_names import folded

TABLES = (".csv", ".parquet")

OWN_NAMES = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}
"""Names, in small letters, that mean a set of the run's own data set; a further test set is never called so."""


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


def read_external_sets(names: list[str], data: CellDataModule) -> dict[str, ExternalSet]:
    """Read further test sets, each under a name of its own.

    Raises:
        UserError: as `read_external`, or two of them have the same name.
    """
    places = [find_set(name) for name in names]
    sets = {name: read_external(place, data) for name, place in zip(set_names(places), places, strict=True)}
    held = {class_key(name) for found in sets.values() for name in found.class_names}
    if sets and (unused := [name for name in data.class_map if class_key(name) not in held]):
        raise UserError(f"--data.class_map names {', '.join(unused)}, which no set of --data.test_on holds; correct or remove it")
    return sets


def find_set(name: str) -> Path:
    """Find a further test set: a folder of class folders, or a table, anywhere or below the folder of all data sets.

    Raises:
        UserError: there is no such set.
    """
    place = next((path for path in (Path(name), data_folder(name)) if path.exists()), None)
    if place is None:
        raise UserError(
            f"--data.test_on {name}: neither {Path(name)} nor {data_folder(name)} exists; name a folder or a table, "
            f"or the folder of all data sets with {DATA_DIR_VARIABLE}"
        )
    return place


def set_names(places: list[Path]) -> list[str]:
    """Name further test sets by the last part of their paths that is not in `OWN_NAMES`.

    Sets of the same name, but for case and Unicode form, have the name of the folder above before it: ``clinic-ward``.

    Raises:
        UserError: two of them still have the same name, or one has none.
    """
    names = [set_name(place) for place in places]
    known = list(map(folded, names))
    names = [set_name(places[row], 2) if known.count(folded(name)) > 1 else name for row, name in enumerate(names)]
    known = list(map(folded, names))
    if same := [str(place) for place, name in zip(places, known, strict=True) if known.count(name) > 1 or not name]:
        raise UserError(
            f"--data.test_on {', '.join(same)} would have the same name in the run, or none; rename one of the folders"
        )
    return names


def set_name(place: Path, parts: int = 1) -> str:
    """Join the last parts of a path, without a table's suffix, and without names at the end that are in `OWN_NAMES`."""
    path = Path(os.path.abspath(place))
    path = path.with_suffix("") if path.suffix.lower() in TABLES else path
    while path.name.lower() in OWN_NAMES:
        path = path.parent
    return "-".join(path.parts[1:][-parts:])


def read_external(place: Path, data: CellDataModule) -> ExternalSet:
    """Read a further test set.

    Of a folder with a test part only that part is read, of others all cells.

    Args:
        place: folder of class folders, or table.
        data: the data set that the network is trained on; gives class names, their other names, and the image size.

    Returns:
        The set, its cells with the labels of `data`.

    Raises:
        UserError: one of its classes has no counterpart, or it holds cells that are trained on.
    """
    shape: dict[str, Any] = {
        "image_size": data.image_size,
        **{name: getattr(data, name) for name in ("cache_dir", "bits", "reread") if hasattr(data, name)},
    }
    source = CellTable(str(place), **shape) if place.suffix in TABLES else CellFolder(root=str(place), **shape)
    source.fewest_classes = 1
    labels = label_map(source.class_names, data.class_names, data.class_map, str(place))
    refuse_trained_on(source, data)
    cells = shrink(source.read(), data.image_size)
    if cells.splits is not None and (cells.splits == TEST).any():
        cells = cells.part(np.flatnonzero(cells.splits == TEST))
    return ExternalSet(
        replace(cells, labels=labels[cells.labels]), source.class_names, (*source.listing.notices, *source.copy_notices())
    )


def refuse_trained_on(source: ImageFiles, data: CellDataModule) -> None:
    """Refuse a test set that shares files with the data set: part of them has been trained on."""
    if not isinstance(data, ImageFiles):
        return
    own = {digest.tobytes() for digest in data.cached.digests}
    shared = [row for row, digest in enumerate(source.cached.digests) if digest.tobytes() in own]
    if shared:
        raise UserError(
            f"{source.root} shares {len(shared)} of its {len(source.listing)} images with {data.root}, the first is "
            f"{source.listing.paths[shared[0]]}; a further test set must hold cells that no network here has seen"
        )
