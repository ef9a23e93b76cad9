"""Class names and their order, once for all data sets that share them, and how other names are read."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from bcc_lightning.errors import UserError

EIGHT_CELL_CLASSES = (
    "basophil",
    "eosinophil",
    "erythroblast",
    "ig",
    "lymphocyte",
    "monocyte",
    "neutrophil",
    "platelet",
)
"""Classes of PBC and BloodMNIST, in the order of BloodMNIST's labels 0 to 7; ``ig`` are immature granulocytes."""

WHITE_CELL_CLASSES = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")
"""The five mature white cells, as in Raabin-WBC, WBCAtt and BCCD."""

OTHER_NAMES = {
    "basophil": ("ba", "baso", "basophils"),
    "eosinophil": ("eo", "eos", "eosinophils"),
    "erythroblast": ("erythroblasts", "normoblast", "nrbc"),
    "ig": ("immature granulocyte", "immature granulocytes", "immature_granulocytes"),
    "lymphocyte": ("ly", "lym", "lymphocytes"),
    "monocyte": ("mo", "mono", "monocytes"),
    "neutrophil": ("ne", "neu", "neutrophils"),
    "platelet": ("platelets", "thrombocyte", "thrombocytes"),
}
"""Names, in small letters, under which other data sets hold the same classes."""

CANONICAL = {other: name for name, others in OTHER_NAMES.items() for other in (name, *others)}


def canonical(name: str) -> str:
    """Give the project's name of a class; a name that is not known stays as it is."""
    return CANONICAL.get(name.strip().lower(), name)


def label_map(source: Sequence[str], target: Sequence[str], renamed: Mapping[str, str], whose: str) -> npt.NDArray[np.int64]:
    """Map the labels of one data set to those of another, by the names of their classes.

    Args:
        source: class names of the data set that is read.
        target: class names that are wanted.
        renamed: names of the source and what they are called in the target, beyond `OTHER_NAMES`.
        whose: where the source comes from, for the message.

    Returns:
        (C,) int64, for each source label the target label.

    Raises:
        UserError: a class of the source has no counterpart.
    """
    places = {canonical(name): label for label, name in enumerate(target)}
    wanted = [canonical(renamed.get(name, name)) for name in source]
    if foreign := [name for name, own in zip(source, wanted, strict=True) if own not in places]:
        raise UserError(
            f"{whose} holds the class {', '.join(foreign)}, which is none of {', '.join(target)}; name its counterpart with "
            f"--data.class_map '{{{foreign[0]}: {target[0]}}}', or take its folder out"
        )
    return np.array([places[name] for name in wanted], np.int64)
