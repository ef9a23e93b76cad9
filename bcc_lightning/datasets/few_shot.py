"""Training on a few labelled cells of each class: of the data set itself, or of another laboratory."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bcc_lightning.datasets.cells import CellImages, pixel_hashes
from bcc_lightning.datasets.external import ExternalSet, TrainedOn, find_set, names_of, read_whole
from bcc_lightning.datasets.listing import NO_SPLIT
from bcc_lightning.datasets.splits import TEST, TRAIN, VAL, cut, refuse_divided_groups
from bcc_lightning.errors import UserError

Positions = npt.NDArray[np.int64]


class FewShot(NamedTuple):
    """How many cells of each class are trained on, and where they are from.

    Attributes:
        per_class: cells of each class.
        place: folder of class folders, or table, of another laboratory; None for the data set's own training set.
    """

    per_class: int
    place: str | None = None

    @classmethod
    def of(cls, given: str | int | None) -> "FewShot | None":
        """Read ``10`` or ``lab.csv:10``.

        Raises:
            UserError: it is neither.
        """
        if given is None:
            return None
        place, _, number = str(given).rpartition(":")
        if not number.isascii() or not number.isdigit() or int(number) < 1:
            raise UserError(
                f"--data.few_shot is {given}, it must be a number of cells of each class, such as 10, or a folder or table and a "
                "number, such as lab.csv:10"
            )
        return cls(int(number), place or None)

    def __str__(self) -> str:
        """Describe it."""
        return f"{self.per_class} cells of each class{f' of {self.place}' if self.place else ''}"


class FewShotSet(NamedTuple):
    """Cells of another laboratory, a few of which are trained on while the others are tested on.

    Attributes:
        name: of the set.
        trained: the few cells.
        tested: the others, as a further test set; no patient or slide is in both.
        sha256: hash of the pixels, ids and labels of the cells that are trained on.
    """

    name: str
    trained: CellImages
    tested: ExternalSet
    sha256: str


def draw_few(labels: npt.NDArray[np.int64], per_class: int, seed: int, share: float = 1.0) -> Positions:
    """Draw a few cells of each class; a larger number of cells holds those of a smaller one.

    Args:
        labels: (N,) classes.
        per_class: cells of each class.
        seed: of the draw.
        share: the largest share of a class that is drawn, in (0, 1]; of a class with a cell or more, at least one is.

    Returns:
        (M,) positions, in ascending order.
    """
    drawn = []
    for label in np.unique(labels):
        members = np.random.default_rng([seed, int(label)]).permutation(np.flatnonzero(labels == label))
        drawn.append(members[: min(per_class, max(1, int(len(members) * share)))])
    return np.sort(np.concatenate(drawn)) if drawn else np.empty(0, np.int64)


def read_few_shot_set(few: FewShot, trained_on: TrainedOn, seed: int) -> FewShotSet:
    """Read the cells of another laboratory, and draw a few of each class.

    If it has a test set of its own, that is tested on and the few are drawn from the others. If it has none, at most half of each
    class is drawn, and where patients or slides are known, from half of these.

    Raises:
        UserError: it cannot be read, or no cell of it is left to train on or to test on.
    """
    place = find_set(str(few.place), "--data.few_shot")
    name = names_of([place])[0]
    whole = read_whole(place, trained_on, trained_on.pixel_size_of(name))
    cells = whole.cells
    codes = (
        np.full(len(cells), TRAIN, np.int8) if cells.splits is None else np.where(cells.splits == NO_SPLIT, TRAIN, cells.splits)
    )
    try:
        refuse_divided_groups(codes, cells.groups)
    except UserError as error:
        raise UserError(f"--data.few_shot {few.place}: {error}") from error
    pool, tested, share = np.flatnonzero(~np.isin(codes, (VAL, TEST))), np.flatnonzero(codes == TEST), 1.0
    if not len(tested) and cells.groups is not None:
        tested = np.sort(cut(pool, cells.labels, cells.groups, 0.5, seed))
        pool = np.setdiff1d(pool, tested)
    elif not len(tested):
        share = 0.5
    drawn = pool[draw_few(cells.labels[pool], few.per_class, seed, share)]
    tested = tested if share == 1.0 else np.setdiff1d(pool, drawn)
    if not len(drawn) or not len(tested):
        raise UserError(
            f"--data.few_shot {few.place}: of its {len(cells):,} cells {len(drawn):,} could be trained on and {len(tested):,} "
            "tested on, but both are needed; add cells"
        )
    trained = cells.part(drawn)
    notices = (*whole.notices, *few_notices(trained.labels, few.per_class, trained_on.class_names))
    further = ExternalSet(replace(cells.part(tested), splits=None), whole.class_names, notices)
    return FewShotSet(name, replace(trained, splits=None), further, pixels_sha256(trained))


def refuse_few_among(few: FewShotSet, sets: Mapping[str, ExternalSet]) -> None:
    """Refuse further test sets that hold some of the few cells, under another name.

    Raises:
        UserError: with the number of shared cells.
    """
    trained = set(pixel_hashes(few.trained))
    for name, found in sets.items():
        if shared := sum(pixels in trained for pixels in pixel_hashes(found.cells)):
            raise UserError(
                f"--data.test_on: {shared} of the {len(found.cells)} cells of {name} are among those of {few.name} that "
                f"--data.few_shot trains on; leave it out, since all other cells of {few.name} are tested on already"
            )


def few_notices(labels: npt.NDArray[np.int64], per_class: int, class_names: Sequence[str]) -> Iterator[str]:
    """Name the classes that have fewer cells than were asked for."""
    counts = np.bincount(labels, minlength=len(class_names))
    if short := [f"{name} {count}" for name, count in zip(class_names, counts, strict=True) if count < per_class]:
        yield f"Fewer than {per_class} cells could be drawn of: {', '.join(short)}."


def pixels_sha256(cells: CellImages) -> str:
    """Hash ids, labels and pixels of a few cells, in their order."""
    digest = hashlib.sha256()
    for row, (name, label) in enumerate(zip(cells.ids, cells.labels, strict=True)):
        digest.update(f"{name}\t{label}\n".encode() + cells.take(np.array([row])).tobytes())
    return digest.hexdigest()
