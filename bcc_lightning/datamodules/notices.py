"""What a person should know of the sets before training: classes that a set lacks, and why that cannot be avoided."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from bcc_lightning.datamodules.listing import NO_SPLIT, SPLITS
from bcc_lightning.datamodules.set_names import LONG_NAMES
from bcc_lightning.datamodules.spelling import shown

NAMED = 5
"""Groups that a sentence names."""


def set_notices(labels: npt.NDArray[np.int64], codes: npt.NDArray[np.int8], class_names: Sequence[str]) -> Iterator[str]:
    """Describe which classes the training, validation and test set lack; sets without any cell are left to others.

    Args:
        labels: (N,) index into the class names.
        codes: (N,) split of each cell; cells without a split count in none.
        class_names: names of the C classes.
    """
    counts = {
        name: np.bincount(labels[codes == code], minlength=len(class_names))
        for code, name in enumerate(SPLITS)
        if (codes == code).any()
    }
    for label, class_name in enumerate(class_names):
        if "train" in counts and not counts["train"][label]:
            elsewhere = [f"{count[label]:,} in the {LONG_NAMES[name]} set" for name, count in counts.items() if count[label]]
            there = f" (cells: {', '.join(elsewhere)})" if elsewhere else " (no cells in any set)"
            yield f"Class {shown(class_name)} has no training cell{there}: it cannot be learned."
    for name in [name for name in counts if name != "train"]:
        if absent := [shown(class_names[label]) for label in np.flatnonzero(counts[name] == 0).tolist()]:
            classes, them = ("class", "it") if len(absent) == 1 else ("classes", "them")
            yield f"The {LONG_NAMES[name]} set has no cell of {classes} {', '.join(absent)}; its figures do not cover {them}."


def group_notices(
    labels: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64],
    class_names: Sequence[str],
    group_names: Sequence[str],
    sets: int,
) -> Iterator[str]:
    """Describe which classes come from so few groups that some set, or fold, must lack them.

    Args:
        labels: (N,) index into the class names.
        groups: (N,) index into the group names.
        class_names: names of the C classes.
        group_names: names of the groups.
        sets: number of sets or folds.
    """
    for label, class_name in enumerate(class_names):
        found = np.unique(groups[labels == label])
        if 0 < len(found) < sets:
            names = ", ".join(shown(group_names[number]) for number in found[:NAMED]) + (", ..." if len(found) > NAMED else "")
            belong = f"belong to one group, {names}" if len(found) == 1 else f"belong to {len(found)} groups ({names})"
            yield (
                f"The {np.count_nonzero(labels == label):,} cells of class {shown(class_name)} {belong}: of {sets} sets or "
                f"folds, {sets - len(found)} cannot hold any."
            )


def cut_notices(published: npt.NDArray[np.int8], codes: npt.NDArray[np.int8]) -> Iterator[str]:
    """Describe which sets are cut from the training set because the data set has only others.

    Args:
        published: (N,) split codes of the data set's makers.
        codes: (N,) split codes that are used.
    """
    if (published == NO_SPLIT).all():
        return
    for code, name in enumerate(SPLITS):
        if not (published == code).any() and (codes == code).any():
            yield f"The data set has no {LONG_NAMES[name]} set: {np.count_nonzero(codes == code):,} of its cells were cut for it."
