"""Class names and their order, once for all data sets that share them, and how other names are read."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bcc_lightning.datasets.spelling import displayed, merge_spellings, merged_notices, refuse_nameless, spelling_key
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
"""Names under which other data sets hold the same classes."""

CANONICAL = {spelling_key(other): name for name, others in OTHER_NAMES.items() for other in (name, *others)}


def canonical(name: str) -> str:
    """Return the project's name of a class, whatever its spelling; a name that is not known stays as it is."""
    return CANONICAL.get(spelling_key(name), name)


def class_key(name: str) -> str:
    """Return what the name of a class is compared by: its spelling's key, or that of the project's name for it."""
    return spelling_key(canonical(name))


class FoundClasses(NamedTuple):
    """The classes of a data set.

    Attributes:
        names: names of the C classes, in label order.
        labels: label of each spelling; None where the class is not asked for.
        notices: sentences about spellings that were read as one class.
    """

    names: tuple[str, ...]
    labels: dict[str, int | None]
    notices: tuple[str, ...]


def find_classes(counts: Mapping[str, int], wanted: Sequence[str] | None, where: str) -> FoundClasses:
    """Find out which classes the spellings in a data set mean.

    Args:
        counts: spelling of a class to number of cells.
        wanted: names of the classes that are asked for, in label order; None takes all, in alphabetical order.
        where: of the data set, for messages.

    Raises:
        UserError: a name cannot be shown, or two of the wanted classes are one.
    """
    for name in (*counts, *(wanted or ())):
        refuse_nameless(name, "class", where)
    known = {class_key(name): displayed(name) for name in wanted or OTHER_NAMES}
    if wanted and len(known) < len(wanted):
        same = next(name for row, name in enumerate(wanted) if class_key(name) in map(class_key, wanted[:row]))
        other = next(name for name in wanted if class_key(name) == class_key(same))
        raise UserError(f"--data.classes names '{other}' and '{same}', which are one class; name each class once")
    chosen = merge_spellings(counts, class_key, known)
    names = tuple(known.values()) if wanted else tuple(sorted(set(chosen.values())))
    places = {name: label for label, name in enumerate(names)}
    labels = {spelling: places.get(name) for spelling, name in chosen.items()}
    read = {spelling: count for spelling, count in counts.items() if count and labels[spelling] is not None}
    return FoundClasses(names, labels, tuple(merged_notices(read, chosen, "classes")))


def label_map(source: Sequence[str], target: Sequence[str], renamed: Mapping[str, str], whose: str) -> npt.NDArray[np.int64]:
    """Map the labels of one data set to those of another, by the names of their classes, whatever their spelling.

    Args:
        source: class names of the data set that is read.
        target: class names that are wanted.
        renamed: names of the source and what they are called in the target, beyond `OTHER_NAMES`.
        whose: where the source comes from, for the message.

    Returns:
        (C,) int64, for each source label the target label.

    Raises:
        UserError: a class of the source has no counterpart, or `renamed` holds one that is not wanted, or two of a class.
    """
    places = {class_key(name): label for label, name in enumerate(target)}
    if unknown := [name for name, counterpart in renamed.items() if class_key(counterpart) not in places]:
        raise UserError(f"--data.class_map gives {unknown[0]} the name {renamed[unknown[0]]}; allowed are {', '.join(target)}")
    others: dict[str, str] = {}
    for name, counterpart in renamed.items():
        if class_key(others.setdefault(class_key(name), counterpart)) != class_key(counterpart):
            raise UserError(f"--data.class_map gives the class {name} two counterparts; name it once")
    wanted = [class_key(others.get(class_key(name), name)) for name in source]
    if foreign := [name for name, own in zip(source, wanted, strict=True) if own not in places]:
        raise UserError(
            f"{whose} holds the class {', '.join(foreign)}, which is none of {', '.join(target)}; name its counterpart with "
            f"--data.class_map '{{{foreign[0]}: {target[0]}}}', or take its folder out"
        )
    return np.array([places[name] for name in wanted], np.int64)
