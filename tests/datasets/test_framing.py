"""Where sizes of pixels are known, every image shows the same field of view; sizes in other units are refused."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from bcc_lightning import PlainCNN
from bcc_lightning.argument_types import check_pixel_size
from bcc_lightning.datamodules import CellFolder, CellTable
from bcc_lightning.datasets.framing import mirrored, odd_notice, show_field
from bcc_lightning.datasets.table import list_table
from bcc_lightning.errors import UserError
from bcc_lightning.prediction.classifier import TrainedClassifier

CLASSES = ("lymphocyte", "monocyte")


def disc(side: int, diameter: float) -> npt.NDArray[np.uint8]:
    """Draw a dark cell on light ground: (side, side, 3)."""
    place = np.arange(side) + 0.5 - side / 2
    inside = np.hypot(place[:, None], place) < diameter / 2
    return np.where(inside[..., None], 60, 230).astype(np.uint8).repeat(3, axis=2)


def write_cells(folder: Path, side: Callable[[int], int], diameter: float) -> Path:
    """Write ten cells of each class, of one diameter in pixels, in images of several sides."""
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for number in range(10):
            image = disc(side(number), diameter)
            # No file is a copy of another, nor what is shown of it; diameters are measured in red alone.
            image[0, 0] = number + 10 * CLASSES.index(name)
            image[side(number) // 2, side(number) // 2, :2] = number + 10 * CLASSES.index(name), sum(folder.name.encode()) % 256
            cv2.imwrite(str(folder / name / f"{number}.png"), image)
    return folder


def diameters(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Measure the diameter of the cell in the middle of each image in pixels by its area, without what is mirrored around it."""
    middle = images.shape[1] // 2
    parts = [cv2.connectedComponents((image[..., 0] < 145).astype(np.uint8))[1] for image in images]
    return np.array([np.sqrt(4 / np.pi * (part == part[middle, middle]).sum()) for part in parts])


def test_an_image_goes_on_as_its_mirror_image() -> None:
    row = np.array([1, 2, 3], np.uint8).reshape(1, 3, 1).repeat(3, axis=2)
    assert mirrored(row, 5)[0, :, 0].tolist() == [2, 1, 2, 3, 2]
    assert mirrored(row, 3).shape == (3, 3, 3)
    assert mirrored(np.zeros((4, 6, 3), np.uint8), 3).shape == (4, 6, 3)


def test_a_field_is_cut_out_or_completed() -> None:
    image = disc(40, 20)
    np.testing.assert_array_equal(show_field(image, 20, 20), image[10:30, 10:30])
    assert diameters(show_field(image, 40, 80)[None])[0] == pytest.approx(10, abs=0.5)


def test_cells_of_another_laboratory_are_as_large_as_those_of_the_training(tmp_path: Path) -> None:
    """Cells of 10 micrometres: 40 pixels of 0.25 here, 20 pixels of 0.5 there, in crops of several sides."""
    own = write_cells(tmp_path / "own", lambda number: 80, 40)
    clinic = write_cells(tmp_path / "clinic", lambda number: 24 + 4 * number, 20)
    data = CellFolder(
        root=str(own), image_size=48, pixel_size=0.25, test_on=[str(clinic)], test_pixel_size={"clinic": 0.5}, cache_dir="cache"
    )
    data.setup("test")
    assert data.facts()["data.field_of_view"] == "20"  # 80 pixels of 0.25 micrometres
    for cells in (data.splits["train"], data.external["clinic"]):
        assert diameters(cells.take(slice(None))) / cells.side == pytest.approx(0.5, abs=0.02)  # 10 of 20 micrometres
    unknown = CellFolder(root=str(own), image_size=48, pixel_size=0.25, test_on=[str(clinic)], cache_dir="cache")
    assert np.ptp(diameters(unknown.external["clinic"].take(slice(None)))) > 10
    assert "clinic: the size of its pixels is unknown" in " ".join(unknown.notices())
    assert unknown.facts()["data.sha256"] == data.facts()["data.sha256"]
    bare = CellFolder(root=str(own), image_size=48, cache_dir="cache")
    assert bare.facts()["data.sha256"] != data.facts()["data.sha256"]
    assert "data.field_of_view" not in bare.facts()


def test_the_few_cells_of_another_laboratory_have_a_size_too(tmp_path: Path) -> None:
    own = write_cells(tmp_path / "own", lambda number: 80, 40)
    clinic = write_cells(tmp_path / "clinic", lambda number: 24 + 4 * number, 20)
    ward = write_cells(tmp_path / "ward", lambda number: 80, 20)
    sizes = {"Clinic": 0.5, "ward": 0.5}  # a name in any case
    known = {"pixel_size": 0.25, "few_shot": f"{clinic}:3", "cache_dir": "cache"}
    data = CellFolder(root=str(own), image_size=48, test_on=[str(ward)], test_pixel_size=sizes, **known)
    data.setup("test")
    for cells in (data.splits["train"], *data.external.values()):
        assert diameters(cells.take(slice(None))) / cells.side == pytest.approx(0.5, abs=0.02)  # 10 of 20 micrometres
    data = CellFolder(root=str(own), image_size=48, test_pixel_size={"clinic": 0.5}, **known)
    few = data.splits["train"]
    assert diameters(few.take(slice(None))) / few.side == pytest.approx(0.5, abs=0.02)


def write_table(folder: Path, sizes: list[str]) -> Path:
    """Write cells, and a table that says how large their pixels are: first of the lymphocytes, then of the monocytes."""
    write_cells(folder, lambda number: 40, 20)
    rows = [f"{name}/{number}.png,{name},{size}" for name, size in zip(CLASSES, sizes, strict=True) for number in range(10)]
    table = folder / "cells.csv"
    table.write_text("\n".join(["path,label,Pixel Size", *rows]) + "\n")
    return table


def test_a_table_has_a_size_for_each_image(tmp_path: Path) -> None:
    """Lymphocytes were photographed at twice the magnification of monocytes: their 20 pixels are half as many micrometres."""
    table = write_table(tmp_path / "clinic", ["0.1", "0.2"])
    data = CellTable(table=str(table), image_size=30, cache_dir="cache")
    data.setup("test")
    assert data.facts()["data.field_of_view"] == "8"  # 40 pixels of 0.2: what the widest image shows
    shown = diameters(data.cells.take(slice(None)))
    assert shown[data.cells.labels == 0] == pytest.approx(7.5, abs=1)  # 2 of 8 micrometres
    assert shown[data.cells.labels == 1] == pytest.approx(15, abs=1)  # 4 of 8
    with pytest.raises(UserError, match="has a column pixel_size; leave one of the two out"):
        CellTable(table=str(table), image_size=30, pixel_size=0.1, cache_dir="cache").setup("test")
    own = write_cells(tmp_path / "own", lambda number: 44, 20)
    without = CellFolder(root=str(own), image_size=30, test_on=[str(table)], cache_dir="cache")
    assert "its pixel sizes are not used, since those of the training images are unknown" in " ".join(without.notices())


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ("0", r"row 11 is 0; it must be the micrometres that a pixel covers, 0.005 to 5$"),
        ("-0.1", "row 11 is -0.1; it must be"),
        ("107", r"row 11 is 107; it must be .*If these are nanometres, write 0.107"),
        ("", "column pixel_size: 10 rows are empty"),
        ("small", "column pixel_size: .*numbers, in micrometres"),
    ],
)
def test_sizes_that_a_table_may_not_hold(tmp_path: Path, size: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list_table(write_table(tmp_path, ["0.1", size]))


@pytest.mark.parametrize("size", [0.0, -1.0, float("nan"), float("inf"), 100.0, 1e-7])
def test_sizes_that_are_refused(size: float) -> None:
    with pytest.raises(UserError, match="it must be the micrometres that a pixel covers"):
        check_pixel_size(size, "--data.pixel_size")


def test_a_trained_network_is_shown_as_much_as_its_training_images() -> None:
    module = PlainCNN(class_names=list(CLASSES), image_size=30)
    classifier = TrainedClassifier(module, field=20.0)
    image = disc(100, 40)
    assert diameters(classifier.square(image)[None])[0] == pytest.approx(12, abs=1)  # 40 of 100 pixels
    classifier.set_pixel_size(0.25)
    assert diameters(classifier.square(image)[None])[0] == pytest.approx(15, abs=1)  # 10 of 20 micrometres
    classifier.set_pixel_size(0.1)
    np.testing.assert_array_equal(classifier.square(image), show_field(image, 30, 200))  # twice as many pixels as there are
    assert diameters(classifier.square(image, 0.25)[None])[0] == pytest.approx(15, abs=1)  # an image's own size goes first
    assert classifier.odd_frames == 0
    classifier.square(image, 2.5)  # eight of its hundred pixels
    assert odd_notice(classifier.odd_frames, 1, 20.0).startswith("1 of 1 images are far smaller or far larger than the field")
    assert odd_notice(1, 2, 20.0) == ""
    with pytest.raises(UserError, match=r"pixels of 0.005 micrometres make .* 10,000 pixels wide, more than 8,000"):
        TrainedClassifier(module, field=50.0).set_pixel_size(0.005)
    with pytest.raises(UserError, match=r"whose pixels have an unknown size.*train with --data.pixel_size"):
        TrainedClassifier(module).set_pixel_size(0.1)


def test_a_set_that_is_not_there(tmp_path: Path) -> None:
    own = write_cells(tmp_path / "own", lambda number: 40, 20)
    clinic = write_cells(tmp_path / "clinic", lambda number: 30, 10)
    data = CellFolder(root=str(own), image_size=30, pixel_size=0.1, test_on=[str(clinic)], test_pixel_size={"clinc": 0.1})
    with pytest.raises(UserError, match=r"--data.test_pixel_size names clinic, but --data.test_on names no set"):
        CellFolder(root=str(own), pixel_size=0.1, test_pixel_size={"clinic": 0.1})
    with pytest.raises(UserError, match=r"--data.test_pixel_size names clinc; the further sets are clinic"):
        data.setup("test")


def test_two_cameras_show_what_each_of_them_shows(tmp_path: Path) -> None:
    """48 pixels of 0.1 micrometres and 96 of 0.05 both are 4.8 micrometres: nothing is cut off, nothing mirrored."""
    first, second = write_cells(tmp_path / "first", lambda _: 48, 24), write_cells(tmp_path / "second", lambda _: 96, 48)
    rows = [
        f"{folder.name}/{name}/{number}.png,{name},{size}"
        for folder, size in ((first, 0.1), (second, 0.05))
        for name in CLASSES
        for number in range(10)
    ]
    table = tmp_path / "cells.csv"
    table.write_text("\n".join(["path,label,pixel_size", *rows]))
    data = CellTable(table=str(table), image_size=48, cache_dir="cache")
    data.setup("test")
    assert data.facts()["data.field_of_view"] == "4.8"
    images = {str(name): data.cells.take(np.array([row]))[0] for row, name in enumerate(data.cells.ids)}
    assert diameters(np.stack(list(images.values()))) == pytest.approx(24, abs=1)
    np.testing.assert_array_equal(images["first/monocyte/3.png"], cv2.imread(str(first / "monocyte" / "3.png"))[..., ::-1])
    table.write_text("\n".join(["path,label,pixel_size", *reversed(rows)]))
    turned = CellTable(table=str(table), image_size=48, cache_dir="cache")
    turned.setup("test")
    assert turned.facts()["data.sha256"] == data.facts()["data.sha256"]
