"""Sets that are too small, too uniform or too strange to be judged: the audit says so instead of failing."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.nn import Linear

from bcc_lightning.audit.audit import audit
from bcc_lightning.audit.cells import ArrayCells, FileCells, split_name
from bcc_lightning.audit.findings import AuditReport, exceeded
from bcc_lightning.audit.page import write_audit
from bcc_lightning.datasets.listing import NO_SPLIT, list_folder
from bcc_lightning.datasets.smear_painter import paint_cells
from bcc_lightning.errors import UserError
from bcc_lightning.modules import TransferClassifier


def array_cells(labels: list[int], size: int = 28, same: bool = False) -> ArrayCells:
    images = paint_cells(np.array(labels), size, 0.3, seed=0)
    if same:
        images[:] = images[:1]
    splits = np.full(len(labels), NO_SPLIT, np.int8)
    names = tuple(f"class {number}" for number in range(max(labels) + 1))
    return ArrayCells(images, [f"row_{number}" for number in range(len(labels))], np.array(labels, np.int64), splits, names)


def audited(cells: ArrayCells | FileCells, out: Path) -> AuditReport:
    report = audit(cells)
    write_audit(report, cells, out)
    assert (out / "audit.html").stat().st_size > 1000
    return report


def test_one_image(tmp_path: Path) -> None:
    report = audited(array_cells([0]), tmp_path)
    assert report.outliers == report.suspect_labels == report.identical == []
    assert len(report.notes) == 4  # outliers, labels twice, shortcuts
    assert exceeded(report) == []


def test_one_class(tmp_path: Path) -> None:
    report = audited(array_cells([0] * 40), tmp_path)
    assert report.suspect_labels == []
    assert report.shortcut_probe == {}


def test_all_images_identical(tmp_path: Path) -> None:
    report = audited(array_cells([0, 1] * 20, same=True), tmp_path)
    assert len(report.identical) == 39
    assert len(report.label_conflicts) == 20
    assert report.near_identical == report.outliers == []


def test_cells_in_an_array_have_no_splits_and_no_file_to_betray_them(tmp_path: Path) -> None:
    report = audited(array_cells([0, 1, 2, 3] * 30), tmp_path)
    assert report.counts["classes"] == {"none": {f"class {number}": 30 for number in range(4)}}
    assert report.counts["formats"] == {"array": 120}
    # All rows are of one size: guessing is all that is left.
    assert report.shortcut_probe["file_properties"].accuracy == pytest.approx(0.25, abs=0.02)
    assert report.near_identical == report.identical == []
    assert split_name(NO_SPLIT) is None


def test_colour_modes_are_counted_and_16_bits_refused(tmp_path: Path) -> None:
    folder = tmp_path / "cells" / "ü"
    folder.mkdir(parents=True)
    painted = paint_cells(np.arange(5), 64, 0.3, seed=0)
    for number, mode in enumerate(("RGB", "L", "CMYK", "RGBA")):
        Image.fromarray(painted[number]).convert(mode).save(folder / f"{mode}.tif")
    Image.fromarray(painted[4][..., 0].astype(np.uint16) * 256).save(folder / "tief.png")
    (folder / "leer.jpg").touch()
    whole = tmp_path / "whole.jpg"
    Image.fromarray(painted[4]).save(whole)
    (folder / "ohne_ende.jpg").write_bytes(whole.read_bytes()[:-2])
    report = audited(FileCells(list_folder(tmp_path / "cells")), tmp_path / "out")
    assert {found.paths[0]: found.note.split(" (")[0].split(",")[0] for found in report.unreadable} == {
        "ü/leer.jpg": "is not an image",
        "ü/ohne_ende.jpg": "is cut off or damaged",
        "ü/tief.png": "has 16 bits per channel; save it with 8 bits",
    }
    assert report.counts["colour_modes"] == {"CMYK": 1, "L": 1, "RGB": 1, "RGBA": 1}
    assert report.counts["image_sizes"] == {"64x64": 4}


def test_nothing_readable(tmp_path: Path) -> None:
    folder = tmp_path / "cells" / "a"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(b"no image")
    report = audited(FileCells(list_folder(tmp_path / "cells")), tmp_path / "out")
    assert len(report.unreadable) == 1
    assert [excess.threshold for excess in exceeded(report)] == ["unreadable"]


def test_a_checkpoint_of_other_classes_is_refused(tmp_path: Path) -> None:
    from lightning import Trainer

    module = TransferClassifier("resnet18", class_names=["a", "b"], image_size=32, pretrained=False)
    trainer = Trainer(logger=False, enable_checkpointing=False)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(UserError, match="was trained on the classes a, b"):
        audit(array_cells([0, 1, 2]), tmp_path / "a.ckpt")


def test_a_checkpoint_judges_labels_in_the_order_of_the_data(tmp_path: Path) -> None:
    from lightning import Trainer

    module = TransferClassifier("resnet18", class_names=["class 1", "class 0"], image_size=32, pretrained=False)
    head = module.network.get_submodule("head.classifier")
    assert isinstance(head, Linear)
    head.weight.data.zero_()
    head.bias.data.copy_(head.bias.data.new_tensor([9.0, 0.0]))  # always sure of "class 1", which the data call label 1
    trainer = Trainer(logger=False, enable_checkpointing=False)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    report = audit(array_cells([0, 1] * 3), tmp_path / "a.ckpt")
    assert {found.paths[0] for found in report.suspect_labels} == {"row_0", "row_2", "row_4"}
    assert {found.note for found in report.suspect_labels} == {"looks like class 1"}
