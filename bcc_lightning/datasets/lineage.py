"""Finer classes than the eight, and the tree in which they stand, as the names of PBC's files say them.

A granulocyte matures from promyelocyte through myelocyte, metamyelocyte and band to the segmented neutrophil; the eight classes
join the first three as immature granulocytes and the last two as neutrophils.
"""

from dataclasses import replace

import numpy as np

from bcc_lightning.datasets.classes import EIGHT_CELL_CLASSES
from bcc_lightning.datasets.listing import CellListing
from bcc_lightning.datasets.spelling import shown
from bcc_lightning.errors import UserError

FINER = {
    "ig": {"PMY": "promyelocyte", "MY": "myelocyte", "MMY": "metamyelocyte"},
    "neutrophil": {"BNE": "band neutrophil", "SNE": "segmented neutrophil"},
}
"""By class, the beginnings of file names, and the finer classes for which they stand."""

UNSPECIFIC = {"IG", "NEUTROPHIL"}
"""Beginnings of file names of these classes that say no more than the class."""

FINE_CELL_CLASSES = tuple(fine for name in EIGHT_CELL_CLASSES for fine in (FINER[name].values() if name in FINER else (name,)))
"""Eleven classes: the eight, with immature granulocytes and neutrophils divided into stages."""

COARSE = {fine: name for name, finer in FINER.items() for fine in finer.values()}
"""The one of the eight classes to which a finer one belongs."""

LINEAGE = {
    **dict.fromkeys(("basophil", "eosinophil", "ig", "neutrophil"), "granulocyte"),
    "erythroblast": "erythroid",
    "lymphocyte": "lymphoid",
    "monocyte": "monocytic",
    "platelet": "megakaryocytic",
}
"""The line from which a class comes."""

Levels = dict[str, list[str]]
"""Levels above the classes, from the lowest: its name, and for each class the node that it belongs to."""


def levels_of(class_names: tuple[str, ...]) -> Levels:
    """Return the levels above finer classes: ``coarse``, the eight classes, and ``lineage``."""
    coarse = [COARSE.get(name, name) for name in class_names]
    return {"coarse": coarse, "lineage": [LINEAGE[name] for name in coarse]}


def with_fine_labels(listing: CellListing) -> CellListing:
    """Divide immature granulocytes and neutrophils into stages, by the beginnings of their files' names.

    Cells whose names say no stage are left out.

    Args:
        listing: of the eight classes.

    Raises:
        UserError: a name begins otherwise.
    """
    labels = np.full(len(listing), -1, np.int64)
    for row, (path, label) in enumerate(zip(listing.paths, listing.labels, strict=True)):
        name = listing.class_names[label]
        fine: str | None = name
        if name in FINER:
            beginning = path.rpartition("/")[2].partition("_")[0].upper()
            fine = FINER[name].get(beginning)
            if fine is None and beginning not in UNSPECIFIC:
                known = ", ".join([*FINER[name], *sorted(UNSPECIFIC)])
                raise UserError(
                    f"{shown(path)} is of the class {name}, but its name begins with '{beginning}', and not with {known}; rename "
                    "it, or use --data.labels coarse"
                )
        if fine is not None:
            labels[row] = FINE_CELL_CLASSES.index(fine)
    kept = np.flatnonzero(labels >= 0)
    left_out = len(listing) - len(kept)
    notices = [f"Left out: {left_out:,} cells whose file names say no stage of maturation."] if left_out else []
    return replace(
        listing,
        paths=listing.paths.take(kept),
        class_names=FINE_CELL_CLASSES,
        labels=labels[kept],
        splits=listing.splits[kept],
        notices=(*listing.notices, *notices),
    )
