"""Where data sets are, and what is told where one is not there; no library is loaded for it."""

import os
import runpy
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bcc_lightning.errors import UserError
from bcc_lightning.files import refuse_missing

DATA_DIR_VARIABLE = "BCC_DATA_DIR"
"""Environment variable that names the folder with all data sets."""

NEEDED = "Required columns: path and label; optional: split, group, laboratory, weight, pixel_size; one-hot columns are not read"
"""Columns of a table of cells."""

SMALLEST_RESOLUTION = 28
"""Resolution of BloodMNIST's file without a number in its name."""


def data_folder(name: str) -> Path:
    """Find the folder of a data set below the folder of all data sets."""
    return Path(os.environ.get(DATA_DIR_VARIABLE) or "data") / name


def refuse_missing_folder(root: Path) -> None:
    """Refuse a folder of image files that does not exist."""
    if not root.exists():
        raise UserError(
            f"{root} does not exist.\nNext step: place the data set there, or name another place with --data.root DIR "
            f"or {DATA_DIR_VARIABLE}=PARENT. To try the program without data: --exp quickstart"
        )


def refuse_missing_table(file: Path) -> None:
    """Refuse a table of cells that does not exist."""
    refuse_missing(file, f"name a .csv or .parquet file with --data.table FILE. {NEEDED}")


def refuse_missing_split(file: Path) -> None:
    """Refuse a file with a split that does not exist."""
    refuse_missing(file, "every run saves one as split.csv", "split file")


def an2dl_file(root: Path) -> Path:
    """Return the file of the AN2DL challenge."""
    return root / "training_set.npz"


def refuse_missing_an2dl(root: Path) -> None:
    """Refuse a folder without the file of the AN2DL challenge."""
    if not an2dl_file(root).is_file():
        raise UserError(
            f"{an2dl_file(root)} does not exist.\nNext step: place the challenge's training set there, or name its folder with "
            f"--data.root DIR or {DATA_DIR_VARIABLE}=PARENT"
        )


def bloodmnist_file(root: Path, resolution: int) -> Path:
    """Return the file of BloodMNIST in one of its resolutions."""
    return root / f"bloodmnist{suffix(resolution)}.npz"


def suffix(resolution: int) -> str:
    """Return what MedMNIST adds to the names of files of a resolution: nothing, ``_64``, ``_128`` or ``_224``."""
    return "" if resolution == SMALLEST_RESOLUTION else f"_{resolution}"


@cache
def official_md5(resolution: int) -> str:
    """Look up the MD5 of BloodMNIST's official file in medmnist, without its code, which needs torch."""
    spec = find_spec("medmnist")
    assert spec is not None, "a dependency"  # noqa: S101 - tells the type checker
    assert spec.submodule_search_locations is not None, "a package"  # noqa: S101
    published: dict[str, Any] = runpy.run_path(f"{spec.submodule_search_locations[0]}/info.py")["INFO"]
    return str(published["bloodmnist"][f"MD5{suffix(resolution)}"])


def where_to_get_bloodmnist(problem: str, resolution: int) -> UserError:
    """Make the error for a missing file of BloodMNIST."""
    return UserError(
        f"{problem}.\nNext step: place BloodMNIST's file there (MD5 {official_md5(resolution)}), name another folder with "
        f"--data.root DIR or {DATA_DIR_VARIABLE}=PARENT, or download it with --data.download true. "
        "To try the program without data: --exp quickstart"
    )


def refuse_missing_bloodmnist(root: Path, resolution: int) -> None:
    """Refuse a folder without BloodMNIST's file."""
    file = bloodmnist_file(root, resolution)
    if file.is_file():
        return
    if root.is_dir() and any(place.is_dir() for place in root.iterdir()):
        raise UserError(
            f"{file} does not exist, but {root} has folders.\nNext step: read folders of images with --data CellFolder"
        )
    raise where_to_get_bloodmnist(f"{file} does not exist", resolution)
