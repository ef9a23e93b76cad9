"""Training, validation and test set: stratified by class, grouped by patient or slide, or in folds.

Published sets are kept; only missing sets are cut from the training set.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, train_test_split

from bcc_lightning.datasets.listing import NO_SPLIT, SPLITS
from bcc_lightning.datasets.spelling import LONG_NAMES, shown
from bcc_lightning.errors import UserError

TRAIN, VAL, TEST = range(len(SPLITS))

Codes = npt.NDArray[np.int8]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SplitPlan:
    """How cells are divided.

    Attributes:
        val_share: share of all cells for the validation set, in (0, 1).
        test_share: share of all cells for the test set, in (0, 1).
        seed: seed of the division.
        folds: number of folds K; 0 divides once.
        fold: the fold that is held out; from K on, the cells are divided again (repeated k-fold).
        left_out: whether another laboratory is the test set: the shares are those of the other cells, and no test set is cut.
    """

    val_share: float = 0.1
    test_share: float = 0.2
    seed: int = 0
    folds: int = 0
    fold: int = 0
    left_out: bool = False

    def __post_init__(self) -> None:
        """Refuse shares that leave no training cells, and a fold that does not exist."""
        if min(self.val_share, self.test_share) <= 0 or self.val_share + self.test_share >= 1:
            raise UserError(
                f"--data.val_share {self.val_share} and --data.test_share {self.test_share} must be above 0 and their sum below 1"
            )
        if self.seed < 0:
            raise UserError(f"--data.split_seed is {self.seed}, it must be 0 or more")
        if self.fold < 0 or self.folds < 0 or self.folds == 1 or (self.fold and not self.folds):
            raise UserError(
                f"--data.fold {self.fold} of --data.folds {self.folds} does not exist; folds are 2 or more, 0 for none"
            )


def divide(
    plan: SplitPlan,
    labels: Ints,
    published: Codes | None = None,
    groups: Ints | None = None,
    group_names: Sequence[str] = (),
    class_names: Sequence[str] = (),
) -> Codes:
    """Divide cells.

    Without a published test set, each fold in turn is the test set, so that every cell is tested once, and the validation set is
    cut from the other folds: `val_share` of all cells. A published test set is kept, and each fold in turn is the validation set.

    Args:
        plan: how to divide.
        labels: (N,) classes.
        published: (N,) split codes, which are kept; `NO_SPLIT` counts as training.
        groups: (N,) group of each cell, such as a patient; cells of one group stay together.
        group_names: names of the groups, for messages.
        class_names: names of the classes, for messages.

    Returns:
        (N,) split codes.

    Raises:
        UserError: a class or the groups have too few cells, or a published split divides a group.
    """
    codes = np.full(len(labels), TRAIN, np.int8) if published is None else np.where(published == NO_SPLIT, TRAIN, published)
    if not (codes == TRAIN).any():
        raise UserError(f"none of {len(codes)} cells is in the training set; choose another data set, or a --data.split_file")
    if plan.folds:
        codes = hold_out_fold(plan, labels, codes.astype(np.int8), groups, class_names)
    else:
        has_test_set = plan.left_out or bool((codes == TEST).any())
        divided = np.count_nonzero(codes != TEST) if plan.left_out else len(labels)
        if not has_test_set:
            codes[cut(np.flatnonzero(codes == TRAIN), labels, groups, plan.test_share, plan.seed, class_names)] = TEST
        if not (codes == VAL).any():
            pool = np.flatnonzero(codes == TRAIN)
            share = plan.val_share * divided / len(pool)
            # Beside a large published test set, a share of all cells may be more than are left.
            codes[cut(pool, labels, groups, min(share, 0.5) if has_test_set else share, plan.seed, class_names)] = VAL
    refuse_divided_groups(codes, groups, group_names)
    return codes.astype(np.int8)


def cut(pool: Ints, labels: Ints, groups: Ints | None, share: float, seed: int, class_names: Sequence[str] = ()) -> Ints:
    """Cut the same share of each class from a pool; return the positions of the cells that are cut."""
    if groups is not None:
        found = len(np.unique(groups[pool]))
        if found == 1:
            raise UserError(
                f"{len(pool):,} cells are all of one patient or slide, of which none can be kept back; add another one, or leave "
                "out the column group"
            )
        folds = min(round(1 / share), found)  # with few patients, one of them is a larger share
        first = folds_of(max(2, folds), labels[pool], groups[pool], seed) == 0
        return np.asarray(pool[first])
    refuse_too_few(labels[pool], 2, "validation and test sets can be cut", class_names)
    size = max(math.ceil(share * len(pool)), len(np.unique(labels[pool])))  # one cell of each class, however few there are
    _, held = train_test_split(pool, test_size=size, stratify=labels[pool], random_state=seed)
    return np.asarray(held)


def hold_out_fold(plan: SplitPlan, labels: Ints, codes: Codes, groups: Ints | None, class_names: Sequence[str] = ()) -> Codes:
    """Hold out one fold, see `divide`."""
    seed, held_out = plan.seed + plan.fold // plan.folds, plan.fold % plan.folds
    has_test_set = (codes == TEST).any()
    pool = np.flatnonzero(codes != TEST)
    number = folds_of(plan.folds, labels[pool], None if groups is None else groups[pool], seed, class_names)
    result = codes.copy()
    result[pool] = TRAIN
    result[pool[number == held_out]] = VAL if has_test_set else TEST
    if not has_test_set:
        others = pool[number != held_out]
        result[cut(others, labels, groups, plan.val_share * len(labels) / len(others), seed, class_names)] = VAL
    return result


def folds_of(folds: int, labels: Ints, groups: Ints | None, seed: int, class_names: Sequence[str] = ()) -> Ints:
    """Return the fold of each cell, classes spread evenly: (N,) int64, 0 to K-1."""
    if groups is None:
        refuse_too_few(labels, folds, f"{folds} folds can be made", class_names)
        splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    else:
        found = len(np.unique(groups))
        if found < folds:
            raise UserError(
                f"{found} groups (patients or slides) cannot be divided into {folds} folds; add groups or use fewer folds"
            )
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    number = np.empty(len(labels), np.int64)
    for fold, (_, held) in enumerate(splitter.split(np.zeros(len(labels)), labels, groups)):
        number[held] = fold
    return number


def refuse_too_few(labels: Ints, least: int, purpose: str, class_names: Sequence[str]) -> None:
    """Refuse classes with too few cells to be in each set."""
    numbers, counts = np.unique(labels, return_counts=True)
    if (counts < least).any():
        few = ", ".join(
            f"{shown(class_names[number]) if class_names else f'class {number}'} has {count}"
            for number, count in zip(numbers, counts, strict=True)
            if count < least
        )
        raise UserError(f"each class needs at least {least} images before {purpose}; {few}. Add images or leave the class out")


def refuse_divided_groups(codes: Codes, groups: Ints | None, group_names: Sequence[str] = ()) -> None:
    """Refuse a split with a group in two sets: the network would be tested on patients it was trained on."""
    if groups is None:
        return
    order = np.argsort(groups, kind="stable")
    divided = (groups[order][1:] == groups[order][:-1]) & (codes[order][1:] != codes[order][:-1])
    if divided.any():
        group = groups[order][1:][divided][0]
        sides = ", ".join(SPLITS[code] for code in sorted(set(codes[groups == group].tolist())))
        name = shown(group_names[group]) if len(group_names) else group
        raise UserError(
            f"group {name} is in several sets ({sides}); a patient or slide may be in one only: correct the split or the groups"
        )


NAMED = 5
"""Number of groups that a sentence names."""


def set_notices(labels: npt.NDArray[np.int64], codes: npt.NDArray[np.int8], class_names: Sequence[str]) -> Iterator[str]:
    """Describe which classes are missing from the training, validation and test set; sets without any cell are skipped.

    Args:
        labels: (N,) index into the class names.
        codes: (N,) set of each cell; cells without a set are not counted.
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
            yield f"Class {shown(class_name)} has no training cells{there}: it cannot be learned."
    for name in [name for name in counts if name != "train"]:
        if absent := [shown(class_names[label]) for label in np.flatnonzero(counts[name] == 0).tolist()]:
            classes, them = ("class", "it") if len(absent) == 1 else ("classes", "them")
            yield f"The {LONG_NAMES[name]} set has no cells of {classes} {', '.join(absent)}; its metrics do not cover {them}."


def group_notices(
    labels: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64],
    class_names: Sequence[str],
    group_names: Sequence[str],
    sets: int,
) -> Iterator[str]:
    """Describe which classes come from so few groups that some sets or folds cannot contain them.

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
                f"The {np.count_nonzero(labels == label):,} cells of class {shown(class_name)} {belong}: {sets - len(found)} of "
                f"{sets} sets or folds cannot contain any."
            )


def cut_notices(published: npt.NDArray[np.int8], codes: npt.NDArray[np.int8]) -> Iterator[str]:
    """Describe which sets are cut from the training set because the data set lacks them.

    Args:
        published: (N,) split codes of the data set's authors.
        codes: (N,) split codes that are used.
    """
    if (published == NO_SPLIT).all():
        return
    for code, name in enumerate(SPLITS):
        if not (published == code).any() and (codes == code).any():
            yield f"The data set has no {LONG_NAMES[name]} set: {np.count_nonzero(codes == code):,} of its cells were cut for it."
