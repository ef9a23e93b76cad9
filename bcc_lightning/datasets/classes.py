"""Class names and their order, for all data sets that share them, and the other names they are known by."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bcc_lightning.datasets.spelling import displayed, merge_spellings, merged_notices, refuse_nameless, spelling_key
from bcc_lightning.errors import UserError, nearest

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
"""The five mature white blood cells, as in Raabin-WBC, WBCAtt and BCCD."""

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
"""Names that other data sets use for the same classes."""

LEUKOCYTES = "leukocytes"
"""Stands for all classes that a differential count is of."""

NOT_LEUKOCYTES = ("erythroblast", "erythrocyte", "red blood cell", "rbc", "platelet", "artefact", "artifact")
"""Classes that a differential count of the leukocytes leaves out, as far as they are known by name."""

CANONICAL = {spelling_key(other): name for name, others in OTHER_NAMES.items() for other in (name, *others)}


def canonical(name: str) -> str:
    """Return the project's name of a class in any spelling; an unknown name is returned unchanged."""
    return CANONICAL.get(spelling_key(name), name)


def class_key(name: str) -> str:
    """Return the key by which class names are compared: that of the project's name for the class, else of the name itself."""
    return spelling_key(canonical(name))


def leukocytes(class_names: Sequence[str]) -> list[str]:
    """Return the classes that are leukocytes, or are not known to be anything else."""
    others = set(map(class_key, NOT_LEUKOCYTES))
    return [name for name in class_names if class_key(name) not in others]


def counted_classes(given: str | None, class_names: Sequence[str]) -> list[str]:
    """Read which classes make up the 100 % of a differential.

    Args:
        given: names in any spelling, joined by commas, or ``leukocytes``; None for all classes.
        class_names: names of the C classes.

    Returns:
        Some of the classes, in their order.

    Raises:
        UserError: a name is no class, or no class is left.
    """
    if given is None:
        return list(class_names)
    keys = {class_key(name): name for name in class_names}
    wanted = leukocytes(class_names) if spelling_key(given) == LEUKOCYTES else [part for part in given.split(",") if part.strip()]
    if unknown := [name.strip() for name in wanted if class_key(name) not in keys]:
        near = nearest(unknown[0], [*class_names, LEUKOCYTES]) or "."
        raise UserError(f"--of {unknown[0]} is not a class of this network{near} It knows {', '.join(class_names)}")
    chosen = {class_key(name) for name in wanted}
    if not chosen:
        raise UserError(f"--of {given!r} names no class; the network knows {', '.join(class_names)}")
    return [name for name in class_names if class_key(name) in chosen]


class FoundClasses(NamedTuple):
    """The classes of a data set.

    Attributes:
        names: names of the C classes, in label order.
        labels: label of each spelling; None if the class is not wanted.
        notices: sentences about spellings that were read as one class.
    """

    names: tuple[str, ...]
    labels: dict[str, int | None]
    notices: tuple[str, ...]


def find_classes(counts: Mapping[str, int], wanted: Sequence[str] | None, where: str) -> FoundClasses:
    """Map the spellings in a data set to classes.

    Args:
        counts: spelling of a class to number of cells.
        wanted: names of the wanted classes, in label order; None takes all, in alphabetical order.
        where: name of the data set, for messages.

    Raises:
        UserError: a name cannot be displayed, or two of the wanted classes are the same.
    """
    for name in (*counts, *(wanted or ())):
        refuse_nameless(name, "class", where)
    known = {class_key(name): displayed(name) for name in wanted or OTHER_NAMES}
    if wanted and len(known) < len(wanted):
        same = next(name for row, name in enumerate(wanted) if class_key(name) in map(class_key, wanted[:row]))
        other = next(name for name in wanted if class_key(name) == class_key(same))
        raise UserError(f"--data.classes names '{other}' and '{same}', which are the same class; name each class once")
    chosen = merge_spellings(counts, class_key, known)
    names = tuple(known.values()) if wanted else tuple(sorted(set(chosen.values())))
    places = {name: label for label, name in enumerate(names)}
    labels = {spelling: places.get(name) for spelling, name in chosen.items()}
    read = {spelling: count for spelling, count in counts.items() if count and labels[spelling] is not None}
    return FoundClasses(names, labels, tuple(merged_notices(read, chosen, "classes")))


LEFT_OUT = -1
"""Label of cells whose class is left out."""


def label_map(
    source: Sequence[str], target: Sequence[str], renamed: Mapping[str, str | None], whose: str
) -> npt.NDArray[np.int64]:
    """Map the labels of one data set to those of another by class name, in any spelling.

    Args:
        source: class names of the data set that is read.
        target: wanted class names.
        renamed: source name to target name, or to None to leave its cells out, in addition to `OTHER_NAMES`.
        whose: name of the source, for the message.

    Returns:
        (C,) int64, for each source label the target label, or `LEFT_OUT`.

    Raises:
        UserError: a source class has no counterpart, or `renamed` holds an unwanted name, or two for one class.
    """
    places = {class_key(name): label for label, name in enumerate(target)}
    named = {name: counterpart for name, counterpart in renamed.items() if counterpart is not None}
    if unknown := [name for name, counterpart in named.items() if class_key(counterpart) not in places]:
        raise UserError(f"--data.class_map gives {unknown[0]} the name {renamed[unknown[0]]}; allowed are {', '.join(target)}")
    others: dict[str, str | None] = {}
    for name, counterpart in renamed.items():
        known = counterpart and class_key(counterpart)
        if others.setdefault(class_key(name), known) != known:
            raise UserError(f"--data.class_map gives the class {name} two counterparts; name it once")
    wanted = [others.get(class_key(name), class_key(name)) for name in source]
    if foreign := [name for name, own in zip(source, wanted, strict=True) if own not in {*places, None}]:
        raise UserError(
            f"{whose} holds the class {', '.join(foreign)}, which is not among {', '.join(target)}; name its counterpart "
            f"with --data.class_map '{{{foreign[0]}: NAME}}', or leave its cells out with '{{{foreign[0]}: null}}'"
        )
    return np.array([LEFT_OUT if name is None else places[name] for name in wanted], np.int64)
