"""Every data set in miniature, with painted cells, in the layout of the real one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from bcc_lightning.datamodules import (
    AN2DL,
    PBC,
    BloodMNIST,
    CellDataModule,
    CellFolder,
    CellTable,
    Mixed,
    RaabinWBC,
    SyntheticSmear,
)
from bcc_lightning.datasets.classes import EIGHT_CELL_CLASSES, WHITE_CELL_CLASSES
from bcc_lightning.datasets.smear_painter import paint_cells
from tests.miniature import write_miniature_bloodmnist

SIZE = 32


def paint(class_names: tuple[str, ...], per_class: int, seed: int, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Paint cells of some of the eight classes: images, and labels within `class_names`."""
    labels = np.tile(np.arange(len(class_names)), per_class)
    painted = np.array([EIGHT_CELL_CLASSES.index(class_names[label]) for label in labels], np.int64)
    return paint_cells(painted, size, 0.2, seed), labels


def write_folder(
    root: Path,
    class_names: tuple[str, ...] = EIGHT_CELL_CLASSES,
    per_class: int = 12,
    seed: int = 0,
    size: int = SIZE,
    **names: str,
) -> Path:
    """Write PNG files into class folders; `names` gives folders another name."""
    images, labels = paint(class_names, per_class, seed, size)
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = root / names.get(class_names[label], class_names[label])
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{folder.name[:2]}_{seed}{row:03d}.png")
    return root


def an2dl_arrays(per_class: int = 30, copies: int = 16) -> dict[str, np.ndarray[Any, Any]]:
    """Paint the challenge's file: cells, then copies of two pictures that show none, one of them re-encoded."""
    images, labels = paint(EIGHT_CELL_CLASSES, per_class, seed=5)
    aliens = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype(np.uint8)
    shrek, astley = (cv2.resize(alien, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC) for alien in aliens)
    blurred = cv2.GaussianBlur(shrek, (3, 3), 0)
    polluted = [images, *[shrek[None]] * copies, blurred[None], *[astley[None]] * copies]
    extra = [*(np.arange(copies) % 8), 5, *[5] * copies]
    return {"images": np.concatenate(polluted), "labels": np.r_[labels, extra].astype(np.uint8)[:, None]}


def synthetic_smear(folder: Path, **flags: Any) -> CellDataModule:
    return SyntheticSmear(train_cells=48, val_cells=24, test_cells=24, image_size=SIZE, **flags)


def bloodmnist(folder: Path, **flags: Any) -> CellDataModule:
    root = write_miniature_bloodmnist(folder)
    return BloodMNIST(root=str(root), image_size=28, verify_checksum=False, **flags)


def pbc(folder: Path, **flags: Any) -> CellDataModule:
    return PBC(root=str(write_folder(folder)), image_size=SIZE, **flags)


def pbc_wbcatt(folder: Path, **flags: Any) -> CellDataModule:
    root = write_folder(folder / "pbc")
    rows = pd.DataFrame(
        [(f.name, f.parent.name.capitalize()) for f in sorted(root.rglob("*.png"))], columns=["img_name", "label"]
    )
    rows = rows[rows.label.str.lower().isin(WHITE_CELL_CLASSES)]
    for place, split in enumerate(("train", "val", "test")):
        rows[place::3].to_csv(folder / f"pbc_attr_v1_{split}.csv", index=False)
    return PBC(root=str(root), split="wbcatt", wbcatt=str(folder), image_size=SIZE, **flags)


def an2dl(folder: Path, **flags: Any) -> CellDataModule:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "training_set.npz", **an2dl_arrays())  # type: ignore[arg-type]
    return AN2DL(root=str(folder), image_size=SIZE, **flags)


def raabin_wbc(folder: Path, **flags: Any) -> CellDataModule:
    short = {"basophil": "Ba", "eosinophil": "Eo", "lymphocyte": "Ly", "monocyte": "Mo", "neutrophil": "Ne"}
    write_folder(folder / "Train", WHITE_CELL_CLASSES, seed=1, **short)
    write_folder(folder / "Test-A", WHITE_CELL_CLASSES, per_class=4, seed=2, **short)
    return RaabinWBC(root=str(folder), image_size=SIZE, **flags)


def cell_folder(folder: Path, **flags: Any) -> CellDataModule:
    for seed, (part, per_class) in enumerate({"train": 8, "val": 4, "test": 4}.items()):
        write_folder(folder / part, WHITE_CELL_CLASSES, per_class, seed)
    return CellFolder(root=str(folder), image_size=SIZE, **flags)


def cell_table(folder: Path, **flags: Any) -> CellDataModule:
    write_folder(folder, WHITE_CELL_CLASSES, per_class=20)
    files = sorted(folder.rglob("*.png"))
    rows = pd.DataFrame({"path": [f.relative_to(folder).as_posix() for f in files], "label": [f.parent.name for f in files]})
    rows["group"] = [f"patient {number % 10}" for number in range(len(rows))]
    rows.to_csv(folder / "cells.csv", index=False)
    return CellTable(root=str(folder), image_size=SIZE, **flags)


def mixed(folder: Path, **flags: Any) -> CellDataModule:
    write_folder(folder / "one", WHITE_CELL_CLASSES, per_class=12)
    write_folder(folder / "two", WHITE_CELL_CLASSES[:3], per_class=12, seed=1)
    return Mixed(sets=[str(folder / "one"), str(folder / "two")], image_size=SIZE, **flags)


Make = Callable[..., CellDataModule]
MINIATURES: dict[str, Make] = {
    make.__name__: make
    for make in (synthetic_smear, bloodmnist, pbc, pbc_wbcatt, an2dl, raabin_wbc, cell_folder, cell_table, mixed)
}
