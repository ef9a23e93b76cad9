"""The image files below a folder, and the other files beside them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from bcc_lightning.datasets.decoding import SUFFIXES
from bcc_lightning.datasets.left_out import LeftOut, is_system_file, is_system_folder, is_thumbnail, is_thumbnail_folder
from bcc_lightning.datasets.mask_files import is_mask_folder, masks_beside
from bcc_lightning.datasets.spelling import quoted, same_names, set_name, shown
from bcc_lightning.errors import UserError


class FolderContent(NamedTuple):
    """The entries of a folder that are read.

    Attributes:
        images: names of the image files, sorted.
        folders: names of the folders, sorted.
        links: those of both that are symbolic links.
    """

    images: list[str]
    folders: list[str]
    links: set[str]


def read_folder(root: Path, folder: str, left_out: LeftOut | None = None) -> FolderContent:
    """Read the names in a folder, in one pass and without opening a file.

    Args:
        root: of the data set.
        folder: relative to it, empty for the root itself.
        left_out: counts entries that are neither images nor folders.

    Raises:
        UserError: the folder cannot be read, the name of an image or folder is not UTF-8, a link is broken, or the names of two
            images differ only in case, blanks or Unicode form.
    """
    left_out = left_out or LeftOut()
    images, folders, links, others, special = [], [], set(), [], []
    with reading(root / folder), os.scandir(root / folder) as entries:
        for entry in entries:
            name = entry.name
            if entry.is_symlink():
                links.add(name)
                refuse_dead_link(root, join(folder, name))
            if entry.is_dir():
                folders.append(name)
            elif not is_image_name(name):
                others.append(name)
            elif entry.is_file():
                images.append(name)
            else:
                special.append(name)
    left_out.add("special", join(folder, min(special, default="")), len(special))
    for name in sorted(others):
        if is_system_file(name):
            left_out.add("hidden", join(folder, name))
        else:
            left_out.add_file(join(folder, name))
    folders, images = keep_own(root, folder, folders, left_out), keep_own_images(root, folder, images, left_out)
    refuse_same_names(root, folder, images)
    refuse_not_utf8(root, folder, [*folders, *images])
    return FolderContent(sorted(images), sorted(folders), links)


def keep_own(root: Path, folder: str, folders: list[str], left_out: LeftOut) -> list[str]:
    """Choose the folders of cells; those of operating systems, thumbnails and masks are counted as left out."""
    own = []
    for name in folders:
        path = join(folder, name)
        is_masks = is_mask_folder(name, images_in(root / path))
        if is_thumbnail_folder(name) or is_masks:
            inside = [os.path.relpath(os.path.join(top, file), root) for top, _, files in os.walk(root / path) for file in files]
            left_out.add("mask" if is_masks else "thumbnail", min(inside, default=path), len(inside))
        elif is_system_folder(name):
            left_out.add("hidden", path)
        else:
            own.append(name)
    return own


def images_in(folder: Path) -> Iterator[Path]:
    """Iterate over the image files directly in a folder; nothing where it cannot be read."""
    with suppress(OSError), os.scandir(folder) as entries:
        yield from (Path(entry.path) for entry in entries if is_image_name(entry.name) and entry.is_file())


def keep_own_images(root: Path, folder: str, images: list[str], left_out: LeftOut) -> list[str]:
    """Choose the images that are neither thumbnails nor masks of others."""
    stems = {os.path.splitext(name)[0].lower() for name in images}
    marked = any("thumb" in name.lower() or name[:3].lower() == "tn_" for name in images)
    small = {name for name in images if is_thumbnail(name, stems)} if marked else set()
    masks, twins = masks_beside(root / folder, [name for name in images if name not in small])
    left_out.add("thumbnail", join(folder, min(small, default="")), len(small))
    left_out.add("mask", join(folder, min(masks, default="")), len(masks))
    left_out.add_twins(join(folder, min(twins, default="")), len(twins))
    out = small | masks
    return [name for name in images if name not in out]


def image_files(root: Path, folder: str, left_out: LeftOut, entered: tuple[Path, ...] = ()) -> Iterator[str]:
    """Iterate over the image files below a class folder, sorted.

    Args:
        root: where paths begin.
        folder: relative to it.
        left_out: counts entries that are not read.
        entered: real folders whose symbolic links led here.

    Raises:
        UserError: as `read_folder`; or a symbolic link leads out of the root, or a folder is named like a set.
    """
    refuse_outside(root, folder)
    content = read_folder(root, folder, left_out)
    inside = set(content.folders)
    for name in sorted([*content.images, *content.folders]) if inside else content.images:
        path = join(folder, name)
        if name in content.links:
            refuse_outside(root, path)
        if name not in inside:
            yield path
            continue
        here = entered
        if name in content.links:
            here = (*entered, (root / folder).resolve())
            target = (root / path).resolve()
            if any(real.is_relative_to(target) for real in here):
                left_out.add("loop", path)
                continue
        if set_name(name) and has_images(root, path):
            refuse_set_folder(root, path)
        yield from image_files(root, path, left_out, here)


def has_images(root: Path, folder: str) -> bool:
    """Check whether there is an image anywhere below a folder; stops at the first."""
    folders = []
    with reading(root / folder), os.scandir(root / folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            elif is_image_name(entry.name) and entry.is_file():
                return True
    own = (name for name in folders if not (is_thumbnail_folder(name) or is_system_folder(name)))
    return any(has_images(root, join(folder, name)) for name in own)


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Turn an error while reading a folder into one that names the folder."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{folder} cannot be read ({error.strerror}); restore it, change its permissions, or move it out"
        ) from error


def image_paths(root: Path, folder: str, left_out: LeftOut | None = None) -> Iterator[str]:
    """Iterate over the images below a folder that is not read: links to folders are not followed, names are not checked."""
    content = read_folder(root, folder, left_out)
    yield from (join(folder, name) for name in content.images)
    for name in content.folders:
        if name not in content.links:
            yield from image_paths(root, join(folder, name), left_out)


def is_image_name(name: str) -> bool:
    """Check whether a file is an image by its ending, in any case, and not hidden."""
    return os.path.splitext(name)[1].rstrip().lower() in SUFFIXES and not name.startswith((".", "~$"))


def join(folder: str, name: str) -> str:
    """Join a folder, relative to the root, and a name in it."""
    return f"{folder}/{name}" if folder else name


def refuse_set_folder(root: Path, path: str) -> None:
    """Refuse a set folder inside a class folder, or inside another set folder."""
    above, _, name = path.rpartition("/")
    is_data_set = any(has_images(root, join(path, inner)) for inner in read_folder(root, path).folders)
    root_meant = f"name {root / above} as root if it is the data set, or move the folders" if is_data_set else "move the folders"
    raise UserError(
        f"{root / path} is named like a set but is inside the folder {shown(above)}; class folders belong "
        f"inside set folders: {shown(name)}/CLASS/IMAGE. Next step: {root_meant}, or list the images in a table: --data CellTable"
    )


def refuse_outside(root: Path, path: str) -> None:
    """Refuse a symbolic link that leads out of the root: an archive from elsewhere could point at anything."""
    try:
        inside = (root / path).resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # circular links, on Python before 3.13
        inside = True
    if not inside:
        raise UserError(
            f"{root / path} is a link that leads out of {root}; copy the file, or name the folder that holds it as root"
        )


def refuse_dead_link(root: Path, path: str) -> None:
    """Refuse a broken or circular link in place of an image: the image would be missing."""
    if is_image_name(path.rpartition("/")[2]) and not os.path.exists(root / path):
        refuse_outside(root, path)
        raise UserError(f"{root / path} is a broken link; restore the file that it points to, or remove the link")


def refuse_same_names(root: Path, folder: str, images: list[str]) -> None:
    """Refuse two images in a folder that are the same file on other systems."""
    if same := same_names(images):
        raise UserError(
            f"{root / folder} holds {quoted(same[0])} and {quoted(same[1])}, whose names differ only in "
            "case, blanks or Unicode form; other systems take them for one file. Rename or remove one of them"
        )


def refuse_not_utf8(root: Path, folder: str, names: list[str]) -> None:
    """Refuse names that are not UTF-8, as in old archives: no table or page could hold them."""
    for name in names:
        if not name.isascii():
            try:
                name.encode()
            except UnicodeEncodeError:
                where = shown(str(root / folder))
                raise UserError(
                    f"{where} holds {name!a}, whose name is not UTF-8; rename it, e.g. with "
                    f"`convmv -f latin1 -t utf8 -r --notest {where}`"
                ) from None
