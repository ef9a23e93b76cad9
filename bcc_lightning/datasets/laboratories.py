"""Cells of several laboratories in one data set: joined from folders and tables, each divided by itself, or one left out."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bcc_lightning.datasets.cell_folder import list_cell_folder
from bcc_lightning.datasets.cells import CellImages, Names
from bcc_lightning.datasets.classes import class_key, find_classes, label_map
from bcc_lightning.datasets.external import TABLES, find_set, names_of
from bcc_lightning.datasets.listing import NO_SPLIT, CellListing
from bcc_lightning.datasets.spelling import shown, spelling_key
from bcc_lightning.datasets.splits import TEST, TRAIN, Codes, SplitPlan, divide
from bcc_lightning.datasets.table import list_table
from bcc_lightning.errors import UserError

FEWEST = 2

FEWEST_IN_SETS = 3
"""A laboratory's class of fewer cells cannot be in training, validation and test set; its other cells can."""


def join_laboratories(sets: Sequence[str], classes: tuple[str, ...] | None) -> CellListing:
    """List the image files of several laboratories, with the sets that each of them has.

    Args:
        sets: folders of class folders, or tables, one of each laboratory.
        classes: class names in label order; by default all that one of them holds, in alphabetical order.

    Raises:
        UserError: there are fewer than two, two have the same name, one cannot be read, or has a class that is not among
            `classes`.
    """
    if len(sets) < FEWEST:
        raise UserError(f"--data.sets names {len(sets)} laboratories, at least two are needed; name their folders or tables")
    places = [find_set(name, "--data.sets") for name in sets]
    names = names_of(places, "--data.sets")
    if len(set(map(spelling_key, names))) < len(names):
        raise UserError(f"--data.sets: two of the laboratories {', '.join(names)} have the same name; rename a folder or table")
    listings = [list_table(place) if place.suffix.lower() in TABLES else list_cell_folder(place) for place in places]
    counts: dict[str, int] = {}
    for listing in listings:
        for name, count in zip(listing.class_names, np.bincount(listing.labels, minlength=len(listing.class_names)), strict=True):
            counts[name] = counts.get(name, 0) + int(count)
    class_names = find_classes(counts, classes, ", ".join(map(str, places))).names
    root = Path(os.path.commonpath([str(listing.root.absolute()) for listing in listings]))
    parts = [within(listing, root, class_names, name) for listing, name in zip(listings, names, strict=True)]
    groups = joined_groups(parts) if any(part.groups is not None for part in parts) else (None, ())
    return CellListing(
        root,
        Names(pa.concat_arrays([part.paths.array for part in parts])),
        class_names,
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.splits for part in parts]),
        *(groups[0], joined_weights(parts), groups[1]),
        notices=tuple(f"{name}: {notice}" for name, part in zip(names, parts, strict=True) for notice in part.notices),
        laboratories=np.repeat(np.arange(len(parts)), list(map(len, parts))),
        laboratory_names=tuple(names),
        pixel_sizes=joined_pixel_sizes(parts, names),
    )


def within(listing: CellListing, root: Path, class_names: tuple[str, ...], name: str) -> CellListing:
    """Return the listing of one laboratory as a part of all: paths below their common root, and common classes."""
    known = set(map(class_key, class_names))
    if foreign := [one for one in listing.class_names if class_key(one) not in known]:
        raise UserError(
            f"{name} holds the class {', '.join(foreign)}, which is not among {', '.join(class_names)}; add it to --data.classes,"
            " or leave its cells out of the folder or table"
        )
    labels = label_map(listing.class_names, class_names, {}, name)[listing.labels]
    prefix = listing.root.absolute().relative_to(root).as_posix()
    paths = listing.paths if prefix == "." else Names.of(f"{prefix}/{path}" for path in listing.paths)
    several = len(listing.laboratory_names) > 1
    told = ("its column laboratory is not read: here it is one of several laboratories",) if several else ()
    return replace(listing, root=root, paths=paths, class_names=class_names, labels=labels, notices=(*listing.notices, *told))


def divide_laboratories(
    plan: SplitPlan, cells: CellImages, names: Sequence[str], group_names: Sequence[str], class_names: Sequence[str]
) -> Codes:
    """Divide the cells of each laboratory, so that each is in all sets; one that is left out is the test set.

    Args:
        plan: how a laboratory is divided.
        cells: of several laboratories, with the sets that these have.
        names: of the laboratories.
        group_names: names of the groups, for messages.
        class_names: names of the classes, for messages.

    Returns:
        (N,) split codes.

    Raises:
        UserError: a laboratory cannot be divided.
    """
    codes = np.full(len(cells), TEST, np.int8)
    for number, name in enumerate(names):
        part = cells.part(np.flatnonzero(cells.laboratories == number))
        if plan.left_out and part.splits is not None and (part.splits == TEST).all():
            continue
        try:
            codes[cells.laboratories == number] = own_sets(plan, part, group_names, class_names)
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
    return codes


def own_sets(plan: SplitPlan, cells: CellImages, group_names: Sequence[str], class_names: Sequence[str]) -> Codes:
    """Divide the cells of one laboratory; classes of fewer than `FEWEST_IN_SETS` cells stay in the training set."""
    published = np.full(len(cells), NO_SPLIT, np.int8) if cells.splits is None else cells.splits
    to_divide = np.isin(published, (NO_SPLIT, TRAIN))
    rare = to_divide & (np.bincount(cells.labels[to_divide], minlength=len(class_names))[cells.labels] < FEWEST_IN_SETS)
    if cells.groups is not None:  # a patient's cells stay together, whatever their classes
        rare[:] = False
    codes = np.where(rare, TRAIN, published).astype(np.int8)
    others = np.flatnonzero(~rare)
    if (to_divide & ~rare).any():
        groups = None if cells.groups is None else cells.groups[others]
        codes[others] = divide(plan, cells.labels[others], published[others], groups, group_names, class_names)
    return codes


def joined_groups(parts: Sequence[CellListing]) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Number the groups of all laboratories: none is in two of them, and a cell without one is a group of its own."""
    numbers: list[npt.NDArray[np.int64]] = []
    names: list[str] = []
    for part in parts:
        own = np.arange(len(part)) if part.groups is None else part.groups
        numbers.append(own + len(names))
        names += part.paths if part.groups is None else part.group_names
    return np.concatenate(numbers), tuple(names)


def joined_weights(parts: Sequence[CellListing]) -> npt.NDArray[np.float32] | None:
    """Join the weights of the cells of all laboratories, 1 where one has none; None where none of them has any."""
    if all(part.weights is None for part in parts):
        return None
    return np.concatenate([np.ones(len(part), np.float32) if part.weights is None else part.weights for part in parts])


def joined_pixel_sizes(parts: Sequence[CellListing], names: Sequence[str]) -> npt.NDArray[np.float64] | None:
    """Join the sizes of the pixels of all laboratories; None where none of them tells any.

    Raises:
        UserError: some do not.
    """
    sizes = [part.pixel_sizes for part in parts if part.pixel_sizes is not None]
    if sizes and len(sizes) < len(parts):
        silent = ", ".join(name for part, name in zip(parts, names, strict=True) if part.pixel_sizes is None)
        raise UserError(f"the size of the pixels of {silent} is unknown, that of others is known; add a column pixel_size to all")
    return np.concatenate(sizes) if sizes else None


def leave_out(listing: CellListing, name: str) -> CellListing:
    """Test on one laboratory alone: all its cells are the test set, and those of the others train or validate.

    Args:
        listing: of several laboratories; the test cells of the others are left out.
        name: the laboratory, in any spelling.

    Raises:
        UserError: there is none of this name, or no other.
    """
    known = {spelling_key(one): number for number, one in enumerate(listing.laboratory_names)}
    if listing.laboratories is None or len(known) < FEWEST:
        found = f"one, {shown(listing.laboratory_names[0])}" if listing.laboratory_names else "none"
        raise UserError(
            f"--data.leave_out {name}: cells of two laboratories or more are needed, {found} is named; give a table a column "
            "laboratory, or join sets with --data Mixed"
        )
    if spelling_key(name) not in known:
        raise UserError(f"--data.leave_out {name} is none of the laboratories {', '.join(map(shown, listing.laboratory_names))}")
    tested = listing.laboratories == known[spelling_key(name)]
    if listing.groups is not None and len(shared := np.intersect1d(listing.groups[tested], listing.groups[~tested])):
        raise UserError(
            f"--data.leave_out {name}: the patient or slide {shown(listing.group_names[shared[0]])} has cells in this laboratory "
            "and in another one. Next step: if each laboratory numbers its own, write its name before the number; else leave out "
            "these cells"
        )
    kept = np.flatnonzero(tested | (listing.splits != TEST))
    splits = np.where(tested, TEST, listing.splits).astype(np.int8)[kept]
    return replace(
        listing,
        paths=listing.paths.take(kept),
        labels=listing.labels[kept],
        splits=splits,
        groups=None if listing.groups is None else listing.groups[kept],
        weights=None if listing.weights is None else listing.weights[kept],
        laboratories=listing.laboratories[kept],
        pixel_sizes=None if listing.pixel_sizes is None else listing.pixel_sizes[kept],
    )
