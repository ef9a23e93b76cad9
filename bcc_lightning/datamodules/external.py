"""Further test sets: cells of another laboratory, read with the labels of the data set that the network is trained on."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bcc_lightning.datamodules.base import DATA_DIR_VARIABLE, CellDataModule, data_folder, shrink
from bcc_lightning.datamodules.cell_folder import CellFolder
from bcc_lightning.datamodules.cell_images import CellImages
from bcc_lightning.datamodules.cell_table import CellTable
from bcc_lightning.datamodules.classes import class_key, label_map
from bcc_lightning.datamodules.files import ImageFiles
from bcc_lightning.datamodules.splitting import TEST
from bcc_lightning.errors import UserError

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


def read_external_sets(names: list[str], data: CellDataModule) -> dict[str, ExternalSet]:
    """Read further test sets, each by the last part of its path.

    Raises:
        UserError: as `read_external`, or two of them have the same name.
    """
    stems = [Path(name).stem for name in names]
    if twice := [name for name, stem in zip(names, stems, strict=True) if stems.count(stem) > 1]:
        raise UserError(f"--data.test_on {', '.join(twice)} would have the same name in the run; rename one of the folders")
    sets = {stem: read_external(name, data) for name, stem in zip(names, stems, strict=True)}
    held = {class_key(name) for found in sets.values() for name in found.class_names}
    if sets and (unused := [name for name in data.class_map if class_key(name) not in held]):
        raise UserError(f"--data.class_map names {', '.join(unused)}, which no set of --data.test_on holds; correct or remove it")
    return sets


def read_external(name: str, data: CellDataModule) -> ExternalSet:
    """Read a further test set.

    Of a folder with a test part only that part is read, of others all cells.

    Args:
        name: folder of class folders, or table, anywhere or below the folder of all data sets.
        data: the data set that the network is trained on; gives class names, their other names, and the image size.

    Returns:
        The set, its cells with the labels of `data`.

    Raises:
        UserError: there is no such set, one of its classes has no counterpart, or it holds cells that are trained on.
    """
    place = next((path for path in (Path(name), data_folder(name)) if path.exists()), None)
    if place is None:
        raise UserError(
            f"--data.test_on {name}: neither {Path(name)} nor {data_folder(name)} exists; name a folder or a table, "
            f"or the folder of all data sets with {DATA_DIR_VARIABLE}"
        )
    shape: dict[str, Any] = {"image_size": data.image_size, "cache_dir": getattr(data, "cache_dir", None)}
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
