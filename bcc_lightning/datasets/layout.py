"""The layout of a folder of images: which folders are sets, which are classes, and which are neither."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bcc_lightning.datasets.classes import CANONICAL, class_key
from bcc_lightning.datasets.folder_files import has_images, image_paths, join, read_folder, refuse_set_folder
from bcc_lightning.datasets.left_out import LeftOut
from bcc_lightning.datasets.spelling import LONG_NAMES, SetName, set_name, shown
from bcc_lightning.errors import UserError

EXPECTED = "expected: one folder per class, or train/, val/ and test/ with one folder per class in each"


class ClassFolder(NamedTuple):
    """A folder with the images of one class.

    Attributes:
        path: of the folder, relative to the root.
        name: of the folder, which names the class.
        set_folder: name of the set folder that holds it; empty if there are none.
        set_name: the set that this means; None if there are none.
    """

    path: str
    name: str
    set_folder: str
    set_name: SetName | None


def read_layout(
    root: Path, wanted: Sequence[str] | None, sets: Mapping[str, SetName] | None, left_out: LeftOut
) -> list[ClassFolder]:
    """Find the class folders of a data set.

    Args:
        root: the folder.
        wanted: names of the wanted classes; None takes all.
        sets: folders that are sets; None finds those whose names mean a set and that hold images.
        left_out: counts what is beside the class folders.

    Returns:
        The class folders, set by set, sorted by name in each.

    Raises:
        UserError: two folders mean one set, class folders are beside sets, sets are inside classes, or there are no classes.
    """
    content = read_folder(root, "", left_out)
    asked_for = set(map(class_key, wanted or ()))
    named = {name: found for name in content.folders if (found := set_name(name)) and class_key(name) not in asked_for}
    chosen = named if sets is None else sets
    if sets is None:
        chosen = {name: found for name, found in named.items() if has_images(root, name)}
        refuse_two_of_a_set(root, chosen)
    if chosen:
        leave_out_beside(root, [name for name in content.folders if name not in chosen], chosen, sets is not None, left_out)
        folders = [found for name in chosen for found in classes_in(root, name, chosen[name], left_out)]
    else:
        folders = [ClassFolder(name, name, "", None) for name in content.folders]
        refuse_too_high(root, folders, asked_for)
    loose = content.images
    left_out.add("loose", loose[0] if loose else "", len(loose))
    if not folders:
        refuse_no_classes(root, loose, list(chosen))
    return folders


def classes_in(root: Path, folder: str, name: SetName, left_out: LeftOut) -> list[ClassFolder]:
    """List the class folders of a set."""
    content = read_folder(root, folder, left_out)
    for inner in content.folders:
        if set_name(inner) and has_images(root, join(folder, inner)):
            refuse_set_folder(root, join(folder, inner))
    left_out.add("loose", join(folder, next(iter(content.images), "")), len(content.images))
    return [ClassFolder(join(folder, inner), inner, folder, name) for inner in content.folders]


def leave_out_beside(root: Path, beside: list[str], sets: Mapping[str, SetName], chosen: bool, left_out: LeftOut) -> None:
    """Count the folders beside set folders as left out.

    Args:
        root: of the data set.
        beside: names of the folders.
        sets: folders of sets.
        chosen: whether the user chose the sets; other folders are then only counted.
        left_out: counts them.

    Raises:
        UserError: some hold images, and the user did not choose.
    """
    with_images = [name for name in beside if has_images(root, name)]
    for name in beside:
        if name not in with_images:
            left_out.add("no_images", name)
    if with_images and not chosen:
        raise UserError(
            f"{root} holds {listed(with_images)} beside the set folders {listed(sets)}; it is unknown to which set their images "
            f"belong. Next step: move {listed(with_images)} into a set or out of {root}; if set folders are classes, name all "
            "classes with --data.classes"
        )
    for name in with_images:
        paths = list(image_paths(root, name))
        left_out.add("unchosen", paths[0], len(paths))


def refuse_two_of_a_set(root: Path, sets: Mapping[str, SetName]) -> None:
    """Refuse two folders that mean the same set.

    Raises:
        UserError: there are two; the message names both.
    """
    for found in sets.values():
        if len(same := [name for name in sets if sets[name] == found]) > 1:
            raise UserError(
                f"{root} holds {listed(same)}, which both mean the {LONG_NAMES[found]} set. Next step: merge them, or move one "
                f"out of {root}; a second test set is named with --data.test_on FOLDER"
            )


def refuse_too_high(root: Path, folders: list[ClassFolder], asked_for: Iterable[str]) -> None:
    """Refuse a root whose only folder with images is the data set itself.

    Raises:
        UserError: the message names the right root.
    """
    with_images = [folder.path for folder in folders if has_images(root, folder.path)]
    if len(with_images) != 1 or class_key(with_images[0]) in {*asked_for, *CANONICAL}:
        return
    meant, inner = with_images[0], folders_with_images(root, with_images[0])
    while len(inner) == 1 and not set_name(inner[0]) and not read_folder(root, meant).images:
        meant = join(meant, inner[0])
        inner = folders_with_images(root, meant)
    if inner and not read_folder(root, meant).images:
        number = sum(1 for _ in image_paths(root, with_images[0]))
        raise UserError(
            f"{root} holds a single folder with images, {shown(with_images[0])} ({number:,} images); {EXPECTED}. "
            f"Next step: name {root / meant} as root, which holds {listed(inner)}"
        )


def refuse_single_folder(folders: list[ClassFolder], root: Path) -> None:
    """Refuse sets whose only folder holds the class folders.

    Raises:
        UserError: the message names the folder.
    """
    with_images = [folder for folder in folders if has_images(root, folder.path)]
    if len({class_key(folder.name) for folder in with_images}) != 1 or class_key(with_images[0].name) in CANONICAL:
        return
    path = with_images[0].path
    if len(inner := folders_with_images(root, path)) > 1 and not read_folder(root, path).images:
        raise UserError(
            f"{root} holds a single class folder in each set, {shown(with_images[0].name)}, which holds {listed(inner)}; "
            f"{EXPECTED}. Next step: move the folders in {shown(path)} one level up, likewise in the other sets"
        )


def refuse_no_classes(root: Path, loose: list[str], sets: list[str]) -> None:
    """Refuse a folder without class folders.

    Raises:
        UserError: the message describes what there is instead.
    """
    if sets:
        raise UserError(f"{root} holds the set folders {listed(sets)}, but no class folders in them; {EXPECTED}")
    if not loose:
        raise UserError(f"{root} holds no class folders; {EXPECTED}")
    place = root.absolute()
    above = place.parent.parent if set_name(place.parent.name) else place.parent
    raise UserError(
        f"{root} holds {len(loose):,} images, e.g. {shown(loose[0])}, but no class folders; {EXPECTED}. Next step: if it is "
        f"the folder of one class, name {above} as root; if a table holds the labels, use --data CellTable --data.table FILE"
    )


def folders_with_images(root: Path, folder: str) -> list[str]:
    """List the folders in a folder that hold images."""
    return [name for name in read_folder(root, folder).folders if has_images(root, join(folder, name))]


def listed(names: Iterable[str]) -> str:
    """Format names as a list; if there are many, only the first."""
    first, rest = list(names)[:5], list(names)[5:]
    return ", ".join(map(shown, first)) + (f" and {len(rest)} more" if rest else "")
