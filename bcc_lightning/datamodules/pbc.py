"""PBC: 17,092 single cells in eight classes, about 360x363 pixels, without a published split.

Acevedo et al., Data in Brief 30 (2020) 105474, doi:10.17632/snkd93bnjr.1. The split of its five mature white-cell classes comes
from WBCAtt: Tsutsui, Pang, Wen, NeurIPS 2023.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from bcc_lightning.argument_types import check_types
from bcc_lightning.datamodules.image_files import ImageFiles
from bcc_lightning.datasets.classes import EIGHT_CELL_CLASSES, WHITE_CELL_CLASSES, canonical
from bcc_lightning.datasets.lineage import FINE_CELL_CLASSES, levels_of, with_fine_labels
from bcc_lightning.datasets.listing import NO_SPLIT, SPLITS, CellListing, list_folder
from bcc_lightning.datasets.places import data_folder
from bcc_lightning.errors import UserError


class PBC(ImageFiles):
    """The PBC set, or any crop of it, as a folder of classes with or without ``train/ val/ test/``.

    Args:
        split: ``folder`` takes the folders' sets if there are any and otherwise divides by class and seed; ``stratified``
            always divides; ``wbcatt`` takes WBCAtt's published split of five classes.
        wbcatt: folder of WBCAtt's tables; by default ``$BCC_DATA_DIR/wbcatt``.
        labels: ``coarse`` are the eight classes; ``fine`` divides immature granulocytes and neutrophils into the stages of
            maturation that the names of the files say; ``hierarchical`` has the same classes, and trains with their tree.
        **base: see `ImageFiles` and `CellDataModule`.
    """

    folder = "pbc"

    def __init__(
        self,
        split: Literal["folder", "stratified", "wbcatt"] = "folder",
        wbcatt: str | None = None,
        labels: Literal["coarse", "fine", "hierarchical"] = "coarse",
        **base: Any,  # noqa: ANN401 - the base class's own arguments
    ) -> None:
        check_types("data", PBC, locals())
        super().__init__(**base)
        self.split = split
        self.wbcatt = Path(wbcatt) if wbcatt else data_folder("wbcatt")
        self.labels = labels
        self.coarse_names = WHITE_CELL_CLASSES if split == "wbcatt" else EIGHT_CELL_CLASSES
        if split == "wbcatt" and labels != "coarse":
            raise UserError(
                f"--data.labels {labels} divides eight classes, and --data.split wbcatt has five; leave one of them out"
            )
        self.class_names = self.coarse_names if labels == "coarse" else FINE_CELL_CLASSES
        self.levels = levels_of(FINE_CELL_CLASSES) if labels == "hierarchical" else None

    def list_files(self) -> CellListing:
        """List the folder, with the chosen split and labels."""
        listing = list_folder(self.root, self.coarse_names)
        if self.labels != "coarse":
            listing = with_fine_labels(listing)
        if self.split == "stratified":
            return replace(listing, splits=np.full(len(listing), NO_SPLIT, np.int8))
        return published_split(listing, self.wbcatt) if self.split == "wbcatt" else listing


def published_split(listing: CellListing, tables: Path) -> CellListing:
    """Apply WBCAtt's split to a listing, by file name; files that it does not name are left out.

    Raises:
        UserError: a table is missing, or names a file that the listing lacks or has in another class.
    """
    rows = pd.concat([read_table(tables / f"pbc_attr_v1_{split}.csv").assign(split=code) for code, split in enumerate(SPLITS)])
    names = pd.Series([path.rsplit("/", 1)[-1] for path in listing.paths])
    if names.duplicated().any():
        raise UserError(f"{listing.root} holds two files named {names[names.duplicated()].iloc[0]}; WBCAtt's tables name it once")
    place = pd.Index(names).get_indexer(pd.Index(rows["img_name"]))
    if (place < 0).any():
        absent = rows["img_name"][place < 0]
        raise UserError(
            f"{listing.root} lacks {len(absent)} of WBCAtt's {len(rows)} images, the first is {absent.iloc[0]}; complete it"
        )
    found = np.array([listing.class_names[label] for label in listing.labels[place]])
    if (found != rows["label"].map(canonical).to_numpy()).any():
        raise UserError(f"{listing.root} holds some of WBCAtt's images in another class than {tables}; is it the PBC set?")
    order = np.argsort(place)
    others = np.setdiff1d(np.arange(len(listing)), place)
    unnamed = [
        f"Left out: {len(others):,} images that WBCAtt's tables do not name, e.g. {listing.paths[row]}." for row in others[:1]
    ]
    chosen = place[order]
    return replace(
        listing,
        paths=listing.paths.take(chosen),
        labels=listing.labels[chosen],
        splits=rows["split"].to_numpy(np.int8)[order],
        notices=(*listing.notices, *unnamed),
    )


def read_table(file: Path) -> pd.DataFrame:
    """Read file names and labels from one of WBCAtt's tables."""
    if not file.is_file():
        raise UserError(f"{file} does not exist; place WBCAtt's tables there or name their folder with --data.wbcatt DIR")
    return pd.read_csv(file, usecols=["img_name", "label"])
