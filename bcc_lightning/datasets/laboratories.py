"""Cells of several laboratories in one data set: joined from folders and tables, each divided by itself, or one left out."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bcc_lightning.datasets.cell_folder import list_cell_folder
from bcc_lightning.datasets.cells import Names
from bcc_lightning.datasets.classes import find_classes, label_map
from bcc_lightning.datasets.external import TABLES, find_set, names_of
from bcc_lightning.datasets.listing import NO_SPLIT, CellListing
from bcc_lightning.datasets.spelling import shown, spelling_key
from bcc_lightning.datasets.splits import TEST, TRAIN, SplitPlan, divide
from bcc_lightning.datasets.table import list_table
from bcc_lightning.errors import UserError

FEWEST = 2

FEWEST_IN_SETS = 3
"""A laboratory's class of fewer cells cannot be in training, validation and test set; its other cells can."""


def join_laboratories(
    sets: Sequence[str], classes: tuple[str, ...] | None, plan: SplitPlan, tested: str | None = None
) -> CellListing:
    """List the image files of several laboratories.

    Sets that a laboratory lacks are cut from its own cells, so that each is in all of them; classes of fewer than
    three cells stay in the training set.

    Args:
        sets: folders of class folders, or tables, one of each laboratory.
        classes: class names in label order; by default all that one of them holds, in alphabetical order.
        plan: how a laboratory is divided.
        tested: a laboratory that is the test set as a whole, in any spelling.

    Raises:
        UserError: there are fewer than two, one cannot be read, or has a class that is not among `classes`.
    """
    if len(sets) < FEWEST:
        raise UserError(f"--data.sets names {len(sets)} laboratories, at least two are needed; name their folders or tables")
    places = [find_set(name, "--data.sets") for name in sets]
    names = names_of(places)
    listings = [list_table(place) if place.suffix.lower() in TABLES else list_cell_folder(place) for place in places]
    counts: dict[str, int] = {}
    for listing in listings:
        for name, count in zip(listing.class_names, np.bincount(listing.labels, minlength=len(listing.class_names)), strict=True):
            counts[name] = counts.get(name, 0) + int(count)
    class_names = find_classes(counts, classes, ", ".join(map(str, places))).names
    root = Path(os.path.commonpath([str(listing.root.absolute()) for listing in listings]))
    parts = [
        within(listing, root, class_names, None if tested and spelling_key(name) == spelling_key(tested) else plan, name)
        for listing, name in zip(listings, names, strict=True)
    ]
    groups = joined_groups(parts) if any(part.groups is not None for part in parts) else (None, ())
    return CellListing(
        root,
        Names(pa.concat_arrays([part.paths.array for part in parts])),
        class_names,
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.splits for part in parts]),
        *(groups[0], None, groups[1]),
        notices=tuple(f"{name}: {notice}" for name, part in zip(names, parts, strict=True) for notice in part.notices),
        laboratories=np.repeat(np.arange(len(parts)), list(map(len, parts))),
        laboratory_names=tuple(names),
        pixel_sizes=joined_pixel_sizes(parts, names),
    )


def within(listing: CellListing, root: Path, class_names: tuple[str, ...], plan: SplitPlan | None, name: str) -> CellListing:
    """Return the listing of one laboratory as a part of all: paths below their common root, common classes, and its own sets.

    Without a plan all its cells are the test set.
    """
    labels = label_map(listing.class_names, class_names, {}, name)[listing.labels]
    prefix = listing.root.absolute().relative_to(root).as_posix()
    paths = listing.paths if prefix == "." else Names.of(f"{prefix}/{path}" for path in listing.paths)
    splits = np.full_like(listing.splits, TEST)
    if plan is not None:
        splits = listing.splits if plan.folds else own_sets(listing, labels, class_names, plan, name)  # folds divide all together
    return replace(listing, root=root, paths=paths, class_names=class_names, labels=labels, splits=splits)


def own_sets(
    listing: CellListing, labels: npt.NDArray[np.int64], class_names: tuple[str, ...], plan: SplitPlan, name: str
) -> npt.NDArray[np.int8]:
    """Divide one laboratory; classes of fewer than `FEWEST_IN_SETS` cells stay in the training set."""
    to_divide = np.isin(listing.splits, (NO_SPLIT, TRAIN))
    rare = to_divide & (np.bincount(labels[to_divide], minlength=len(class_names))[labels] < FEWEST_IN_SETS)
    if listing.groups is not None:  # a patient's cells stay together, whatever their classes
        rare[:] = False
    splits = np.where(rare, TRAIN, listing.splits).astype(np.int8)
    others = np.flatnonzero(~rare)
    if len(others):
        groups = None if listing.groups is None else listing.groups[others]
        try:
            splits[others] = divide(plan, labels[others], listing.splits[others], groups, listing.group_names, class_names)
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
    return splits


def joined_groups(parts: Sequence[CellListing]) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Number the groups of all laboratories: none is in two of them, and a cell without one is a group of its own."""
    numbers: list[npt.NDArray[np.int64]] = []
    names: list[str] = []
    for part in parts:
        own = np.arange(len(part)) if part.groups is None else part.groups
        numbers.append(own + len(names))
        names += part.paths if part.groups is None else part.group_names
    return np.concatenate(numbers), tuple(names)


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
