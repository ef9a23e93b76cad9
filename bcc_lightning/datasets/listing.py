"""What is known about image files before any pixel is read: path, class, set, group, weight, size of the pixels."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bcc_lightning.argument_types import check_pixel_size
from bcc_lightning.datasets.cells import Names
from bcc_lightning.datasets.classes import find_classes
from bcc_lightning.datasets.folder_files import image_files
from bcc_lightning.datasets.layout import ClassFolder, read_layout, refuse_single_folder
from bcc_lightning.datasets.left_out import LeftOut
from bcc_lightning.datasets.spelling import LONG_NAMES, SetName, set_name, shown, spelling_key
from bcc_lightning.errors import UserError, nearest

SPLITS: tuple[SetName, ...] = ("train", "val", "test")
NO_SPLIT = -1
"""Code of a cell that is not in a set yet; the other codes are indices into `SPLITS`."""

BALANCED_TRAIN = "Balanced_Train"
"""Folder of a training set that was balanced when it was written."""


@dataclass(frozen=True)
class CellListing:
    """The image files of a data set.

    Attributes:
        root: folder that the paths are relative to.
        paths: N paths relative to `root`, with forward slashes; they are the ids of the cells.
        class_names: names of the C classes, in label order.
        labels: (N,) int64, index into the class names.
        splits: (N,) int8, index into `SPLITS` if the set is given, else `NO_SPLIT`.
        groups: (N,) int64, index into the group names; None if unknown.
        weights: (N,) float32, weight in the loss; None if all are 1.
        group_names: names of the groups, such as patients or slides.
        notices: sentences about names with several spellings, and about what was left out.
        laboratories: (N,) int64, index into the laboratory names; None if unknown.
        laboratory_names: names of the laboratories that the cells come from.
        pixel_sizes: (N,) float64, micrometres that a pixel of the file covers; None if unknown.
    """

    root: Path
    paths: Names
    class_names: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    splits: npt.NDArray[np.int8]
    groups: npt.NDArray[np.int64] | None = None
    weights: npt.NDArray[np.float32] | None = None
    group_names: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    laboratories: npt.NDArray[np.int64] | None = None
    laboratory_names: tuple[str, ...] = ()
    pixel_sizes: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        """Return the number of files N."""
        return len(self.labels)


def with_pixel_size(listing: CellListing, size: float | None, option: str) -> CellListing:
    """Set the pixel size of all files of a listing, in micrometres; None sets nothing.

    Raises:
        UserError: the table of the listing gives the sizes already, or it is no size.
    """
    if size is None:
        return listing
    if listing.pixel_sizes is not None:
        raise UserError(f"{option}: the table of {listing.root} has a column pixel_size; leave one of the two out")
    return replace(listing, pixel_sizes=np.full(len(listing), check_pixel_size(size, option)))


def list_folder(root: Path, class_names: tuple[str, ...] | None = None, sets: Mapping[str, SetName] | None = None) -> CellListing:
    """List a folder that holds class folders, or a folder of class folders for each set.

    Args:
        root: the folder.
        class_names: classes to read, in label order, in any spelling; by default all, in alphabetical order, with the project's
            names if these are known.
        sets: set folders; by default those whose names mean a set, see `spelling.set_name`.

    Raises:
        UserError: the folder is missing, has another layout, a class folder is missing or empty, or a link leads out of the root.
    """
    if not root.is_dir():
        raise UserError(f"{root} is not a folder; give one that holds class folders, alone or in train/, val/ and test/")
    left_out = LeftOut()
    folders = read_layout(root, class_names, sets, left_out)
    files = {folder: Names.of(image_files(root, folder.path, left_out)) for folder in folders}
    counts: Counter[str] = Counter()
    for folder, paths in files.items():
        counts[folder.name] += len(paths)
    refuse_single_folder(folders, root)
    classes = find_classes(counts, class_names, str(root))
    for folder in folders:
        if classes.labels[folder.name] is None:
            first = next(iter(files[folder]), None)
            left_out.add("unwanted" if first else "no_images", first or folder.path, len(files[folder]) or 1)
    labels = {folder: label for folder in folders if (label := classes.labels[folder.name]) is not None}
    places = {name: place for place, name in enumerate(dict.fromkeys(folder.set_folder for folder in folders))}
    read = sorted(labels, key=lambda folder: (places[folder.set_folder], labels[folder]))
    sizes = [len(files[folder]) for folder in read]
    listing = CellListing(
        root,
        Names(pa.concat_arrays([pa.array([], pa.string()), *(files[folder].array for folder in read)])),
        classes.names,
        np.repeat(np.array([labels[folder] for folder in read], np.int64), sizes),
        np.repeat(np.array([code_of(folder.set_name) for folder in read], np.int8), sizes),
        notices=(*classes.notices, *deeper_notices(files, read), *left_out.notices()),
    )
    empty = np.flatnonzero(np.bincount(listing.labels, minlength=len(classes.names)) == 0)
    if len(empty):
        missing = [classes.names[label] for label in empty]
        near = nearest(missing[0], [name for name in counts if classes.labels[name] is None]) if class_names else ""
        there = f"{f'{near} The' if near else '; the'} folders there are {', '.join(map(shown, counts))}"
        raise UserError(
            f"{root} has no images of class {', '.join(missing)}{there}. Add images, "
            "remove an empty folder, or name other classes"
        )
    return listing


def deeper_notices(files: Mapping[ClassFolder, Names], read: list[ClassFolder]) -> list[str]:
    """Describe images in folders inside class folders in one sentence; no sentence if there are none."""
    deeper = {}
    for folder in read:
        depth = pc.count_substring(files[folder].array, "/").to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(depth > folder.path.count("/") + 1)
        if len(rows):
            deeper[folder] = (len(rows), files[folder][int(rows[0])])
    if not deeper:
        return []
    total, (_, example) = sum(count for count, _ in deeper.values()), next(iter(deeper.values()))
    first = next(iter(deeper))
    return [
        f"{total:,} images are in folders inside class folders, e.g. {shown(example)}, and count as cells of the class "
        f"folder, here {shown(first.name)}."
    ]


def split_code(name: str) -> int:
    """Return the code of the set that a name means, see `spelling.set_name`; `NO_SPLIT` if none."""
    return code_of(set_name(name))


def split_codes(names: Sequence[str], what: str) -> list[int]:
    """Return the codes of the sets that names mean.

    Args:
        names: the different names in a column.
        what: where they were found, for messages.

    Raises:
        UserError: a name does not mean a set, or two different names mean the same set.
    """
    codes = [split_code(name) for name in names]
    first: dict[int, str] = {}
    for name, code in zip(names, codes, strict=True):
        if code == NO_SPLIT:
            raise UserError(f"{what} '{shown(name)}'; allowed are {', '.join(SPLITS)}")
        if spelling_key(first.setdefault(code, name)) != spelling_key(name):
            raise UserError(
                f"{what} '{shown(name)}' beside '{shown(first[code])}', which both mean the {LONG_NAMES[SPLITS[code]]} set; "
                "use one name for each set, and move cells of a second test set to a table of their own"
            )
    return codes


def code_of(split: SetName | None) -> int:
    """Return the code of a set; `NO_SPLIT` if none."""
    return SPLITS.index(split) if split else NO_SPLIT
