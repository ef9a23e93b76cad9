"""Files and tables as people really have them: converted as documented, or refused with a way out."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bcc_lightning.datamodules import AN2DL, CellFolder, CellTable, RaabinWBC
from bcc_lightning.datasets.decoding import UnreadableImageError, decode, read_image
from bcc_lightning.datasets.listing import list_folder
from bcc_lightning.datasets.split_file import write_split
from bcc_lightning.errors import UserError
from tests.datamodules.miniatures import an2dl_arrays, write_folder

CLASSES = ("lymphocyte", "monocyte")
COLOUR = (200, 100, 50)


def saved(file: Path, image: Image.Image, **options: Any) -> np.ndarray:
    image.save(file, **options)
    return read_image(file)


# Colour modes: expected values by hand.


def test_grey_is_repeated(tmp_path: Path) -> None:
    assert (saved(tmp_path / "a.png", Image.new("L", (4, 3), 77)) == 77).all()


def test_palette_is_looked_up(tmp_path: Path) -> None:
    image = Image.new("P", (4, 3), 1)
    image.putpalette([0, 0, 0, *COLOUR])
    assert (saved(tmp_path / "a.png", image) == COLOUR).all()


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    image = saved(tmp_path / "a.png", Image.new("RGBA", (4, 3), (*COLOUR, 51)))
    expected = [round(0.2 * value + 0.8 * 255) for value in COLOUR]
    np.testing.assert_allclose(image[0, 0], expected, atol=1)
    assert image.shape == (3, 4, 3)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    image = saved(tmp_path / "a.tif", Image.new("CMYK", (4, 3), (0, 128, 255, 0)))
    np.testing.assert_allclose(image[0, 0], [255, 127, 0], atol=1)


def test_black_and_white_becomes_rgb(tmp_path: Path) -> None:
    assert (saved(tmp_path / "a.png", Image.new("1", (4, 3), 1)) == 255).all()


def test_a_stored_orientation_is_applied(tmp_path: Path) -> None:
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, 8:] = 255
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = 6  # the right side of the stored picture is the bottom of the scene
    upright = saved(tmp_path / "a.png", image, exif=exif)
    assert upright.shape == (16, 8, 3)
    assert (upright[:8] == 0).all()
    assert (upright[8:] == 255).all()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            Image.fromarray(np.full((4, 4), 4000, np.uint16)),
            r"has 16 bits per channel; save it with 8 bits, or give the bits of the camera with --data.bits",
        ),
        (Image.fromarray(np.full((4, 4), 70000, np.int32)), r"has 32 bits per channel"),
        (Image.fromarray(np.full((4, 4), 0.5, np.float32)), r"holds floating-point values"),
    ],
)
def test_deep_images_are_refused(tmp_path: Path, image: Image.Image, message: str) -> None:
    image.save(tmp_path / "a.tif")
    with pytest.raises(UnreadableImageError, match=message):
        read_image(tmp_path / "a.tif")


def test_several_pictures_in_a_file_are_refused(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    with pytest.raises(UnreadableImageError, match="holds 2 images"):
        read_image(tmp_path / "a.tif")


def test_a_whole_slide_is_refused(tmp_path: Path) -> None:
    Image.new("1", (9000, 9000)).save(tmp_path / "a.png")
    with pytest.raises(UnreadableImageError, match="has 9000 x 9000 pixels, more than 64,000,000; crop single cells"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("kept", [0, 20, 400])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".gif"])
def test_cut_off_files_are_refused(tmp_path: Path, suffix: str, kept: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / f"a{suffix}")
    with pytest.raises(UnreadableImageError, match=r"is not an image|is cut off or damaged"):
        decode((tmp_path / f"a{suffix}").read_bytes()[:kept])


def test_a_jpeg_without_its_end_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "red").save(tmp_path / "a.jpg")
    with pytest.raises(UnreadableImageError, match="cut off"):
        decode((tmp_path / "a.jpg").read_bytes()[:-2])


# Folders.


def folder_data(root: Path, **flags: Any) -> CellFolder:
    data = CellFolder(root=str(root), image_size=32, **flags)
    data.setup()
    return data


def test_empty_class_folder(tmp_path: Path) -> None:
    write_folder(tmp_path, CLASSES)
    (tmp_path / "basophil").mkdir()
    with pytest.raises(UserError, match=r"has no images of class basophil; the folders there are basophil"):
        folder_data(tmp_path)


def test_empty_root(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no class folders; expected: one folder per class"):
        folder_data(tmp_path)


def test_one_image_in_a_class(tmp_path: Path) -> None:
    write_folder(tmp_path, CLASSES)
    write_folder(tmp_path, ("basophil",), per_class=1)
    with pytest.raises(UserError, match="each class needs at least 2 images"):
        folder_data(tmp_path)


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    write_folder(tmp_path, CLASSES)
    (tmp_path / "lymphocyte" / "notes.txt").write_text("stained on Tuesday")
    (tmp_path / "lymphocyte" / ".DS_Store").write_bytes(b"\0")
    assert len(folder_data(tmp_path).cells) == 24


def test_unicode_and_long_names(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "cells", CLASSES)
    names = ["Lymphozyt µ½ 細胞 🩸.png", "ä" * 120 + ".png", "a b\t'c'.png"]
    for name in names:
        Image.new("RGB", (32, 32), (len(name), 9, 9)).save(root / "lymphocyte" / name)
    data = folder_data(root)
    assert {f"lymphocyte/{name}" for name in names} <= set(data.cells.ids)
    write_split(data.splits, tmp_path / "split.csv")
    again = folder_data(root, split_file=str(tmp_path / "split.csv"))
    assert list(again.splits["test"].ids) == list(data.splits["test"].ids)


def test_links_within_the_root_are_followed_and_links_out_of_it_refused(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "cells", CLASSES)
    first = root / list_folder(root).paths[0]
    (root / "monocyte" / "link.png").symlink_to(first)
    assert len(list_folder(root)) == 25
    outside = tmp_path / "secret.png"
    Image.new("RGB", (32, 32)).save(outside)
    (root / "monocyte" / "out.png").symlink_to(outside)
    with pytest.raises(UserError, match=r"monocyte/out.png is a link that leads out of"):
        list_folder(root)


def test_a_linked_folder_out_of_the_root_is_refused(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "cells", CLASSES)
    (root / "monocyte" / "more").symlink_to(write_folder(tmp_path / "others", CLASSES), target_is_directory=True)
    with pytest.raises(UserError, match="is a link that leads out of"):
        list_folder(root)


def test_a_linked_class_folder_out_of_the_root_is_refused(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "cells", CLASSES)
    (root / "basophil").symlink_to(write_folder(tmp_path / "others", CLASSES) / "monocyte", target_is_directory=True)
    with pytest.raises(UserError, match="cells/basophil is a link that leads out of"):
        list_folder(root)


def test_classes_in_a_chosen_order(tmp_path: Path) -> None:
    write_folder(tmp_path, ("basophil", *CLASSES))
    data = folder_data(tmp_path, classes=["monocyte", "basophil"])
    assert data.class_names == ("monocyte", "basophil")
    assert {cell.split("/")[0] for cell in data.cells.ids} == {"monocyte", "basophil"}
    assert all(
        data.class_names[label] == cell.split("/")[0] for label, cell in zip(data.cells.labels, data.cells.ids, strict=True)
    )


def test_copies_are_dropped_and_conflicting_ones_dropped_whole(tmp_path: Path) -> None:
    for seed, part in enumerate(("train", "val", "test")):
        write_folder(tmp_path / part, CLASSES, per_class=4, seed=seed)
    tested = next((tmp_path / "test" / "monocyte").iterdir())
    (tmp_path / "train" / "monocyte" / "copy.png").write_bytes(tested.read_bytes())
    twice = next((tmp_path / "train" / "lymphocyte").iterdir())
    (tmp_path / "val" / "monocyte" / "other_label.png").write_bytes(twice.read_bytes())
    data = folder_data(tmp_path)
    assert sorted(data.dropped) == sorted(
        ["train/monocyte/copy.png", twice.relative_to(tmp_path).as_posix(), "val/monocyte/other_label.png"]
    )
    assert tested.relative_to(tmp_path).as_posix() in list(data.splits["test"].ids)
    assert data.facts()["data.copies_left_out"] == "3"
    assert len(folder_data(tmp_path, copies="keep").cells) == 26


def test_raabin_with_two_test_folders_asks_which(tmp_path: Path) -> None:
    for part in ("Train", "Test-A", "Test-B"):
        write_folder(tmp_path / part, CLASSES)
    with pytest.raises(UserError, match=r"holds the test folders \['Test-A', 'Test-B'\]; choose one with --data.test_folder"):
        RaabinWBC(root=str(tmp_path)).setup()


# Tables.


def table(folder: Path, **columns: Any) -> CellTable:
    write_folder(folder, CLASSES)
    paths = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.png"))]
    rows = {"path": paths, "label": [path.split("/")[0] for path in paths], **columns}
    pd.DataFrame({name: values for name, values in rows.items() if values is not None}).to_csv(folder / "cells.csv", index=False)
    return CellTable(root=str(folder), image_size=32)


NUMBERS = [0] * 12 + [1] * 12


@pytest.mark.parametrize("labels", [NUMBERS, [float(number) for number in NUMBERS]])
def test_labels_as_numbers(tmp_path: Path, labels: list[float]) -> None:
    data = table(tmp_path, label=labels)
    data.setup()
    assert data.class_names == ("0", "1")
    named = CellTable(root=str(tmp_path), classes=list(CLASSES), image_size=32)
    assert named.class_names == CLASSES
    np.testing.assert_array_equal(named.listing.labels, NUMBERS)


def test_labels_that_are_no_whole_numbers_are_names_which_the_classes_lack(tmp_path: Path) -> None:
    table(tmp_path, label=[0.5] * 24)
    with pytest.raises(UserError, match=r"holds the label '0.5'; allowed are lymphocyte, monocyte, or 0 to 1"):
        CellTable(root=str(tmp_path), classes=list(CLASSES)).setup()


def test_one_hot_columns_are_refused(tmp_path: Path) -> None:
    data = table(tmp_path, label=None, lymphocyte=[1] * 24, monocyte=[0] * 24)
    with pytest.raises(UserError, match=r"lacks the column label; .* one-hot columns are not read"):
        data.setup()


def test_splits_groups_and_weights(tmp_path: Path) -> None:
    parts = ["train", "train", "VAL", "test"] * 6
    data = table(tmp_path, split=parts, group=[f"slide {part}" for part in parts], weight=[0.5, 2.0] * 12)
    data.setup()
    assert [len(cells) for cells in data.splits.values()] == [12, 6, 6]
    batch = next(iter(data.train_dataloader()))
    expected = {0: 0.5, 1: 2.0}
    rows = [list(data.cells.ids).index(data.splits["train"].ids[i]) for i in batch.position.tolist()]
    assert batch.weight.tolist() == [expected[row % 2] for row in rows]
    assert (next(iter(data.val_dataloader())).weight == 1).all()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"split": ["train", "test", "val", "holdout"] * 6}, r"holds the split 'holdout'; allowed are train, val, test"),
        ({"split": ["train", "test", "val", None] * 6}, r"column split: 6 rows are empty"),
        ({"weight": [1.0, -2.0] * 12}, r"column weight holds \[-2.\]; weights are numbers above 0"),
        ({"weight": ["a", "b"] * 12}, r"column weight"),
        (
            {"split": ["train", "test", "val"] * 8, "group": ["patient 1"] * 24},
            r"group patient 1 is in several sets \(train, val, test\)",
        ),
        ({"label": [None] * 24}, r"column label: 24 rows are empty"),
    ],
)
def test_mistakes_in_a_table(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        table(tmp_path, **columns).setup()


def test_a_duplicate_row(tmp_path: Path) -> None:
    table(tmp_path)
    lines = (tmp_path / "cells.csv").read_text().splitlines()
    (tmp_path / "cells.csv").write_text("\n".join([*lines, lines[3]]))
    with pytest.raises(UserError, match=f"names 1 files more than once, the first is {lines[3].split(',')[0]}"):
        CellTable(root=str(tmp_path)).setup()


def test_a_missing_file(tmp_path: Path) -> None:
    data = table(tmp_path)
    (tmp_path / "monocyte" / sorted(path.name for path in (tmp_path / "monocyte").iterdir())[0]).unlink()
    with pytest.raises(UserError, match=r"monocyte/.*png cannot be read \(No such file or directory\)"):
        data.setup()


def test_paths_that_leave_the_folder(tmp_path: Path) -> None:
    write_folder(tmp_path / "cells", CLASSES)
    Image.new("RGB", (32, 32)).save(tmp_path / "secret.png")
    (tmp_path / "cells" / "cells.csv").write_text("path,label\n../secret.png,monocyte\n")
    with pytest.raises(UserError, match=r"\.\./secret.png .* leads out of"):
        CellTable(root=str(tmp_path / "cells")).setup()


@pytest.mark.parametrize(("text", "message"), [("", "cannot be read as a table|has no rows"), ("path,label\n", "has no rows")])
def test_empty_tables(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "cells.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        CellTable(root=str(tmp_path)).setup()


def test_parquet_with_numbers(tmp_path: Path) -> None:
    table(tmp_path)
    rows = pd.read_csv(tmp_path / "cells.csv").assign(label=NUMBERS, group=NUMBERS)
    rows.to_parquet(tmp_path / "cells.parquet")
    data = CellTable(table=str(tmp_path / "cells.parquet"), classes=list(CLASSES))
    np.testing.assert_array_equal(data.listing.labels, NUMBERS)


# Arrays.


@pytest.mark.parametrize("form", ["column", "float", "one_hot"])
def test_labels_of_the_challenge_in_several_forms(tmp_path: Path, form: str) -> None:
    arrays = an2dl_arrays()
    flat = arrays["labels"].reshape(-1)
    forms = {"column": flat[:, None], "float": flat.astype(np.float64), "one_hot": np.eye(8)[flat]}
    np.savez(tmp_path / "training_set.npz", images=arrays["images"], labels=forms[form])
    data = AN2DL(root=str(tmp_path), image_size=32)
    assert data.cells.counts(8).tolist() == [30] * 8
    assert len(data.dropped) == 33


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full(273, 0.5), "they are not whole numbers, the first is 0.5"),
        (np.ones((273, 8)), "a one-hot row must hold a single 1 and otherwise 0"),
        (np.full(273, "monocyte"), "expected: one whole number, or one one-hot row, for each image"),
        (np.full(273, 9), "has 273 labels outside 0 to 7"),
        (np.zeros(5), "for 273 images"),
    ],
)
def test_labels_of_the_challenge_that_cannot_be_read(tmp_path: Path, labels: np.ndarray, message: str) -> None:
    np.savez(tmp_path / "training_set.npz", images=an2dl_arrays()["images"], labels=labels)
    with pytest.raises(UserError, match=message):
        AN2DL(root=str(tmp_path)).setup()


# Split files.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-1], r"holds too few cells: some are missing \(1 or more"),
        (lambda rows: pd.concat([rows, rows[:1]]), r"holds cells twice"),
        (lambda rows: rows.replace({"split": {"val": "holdout"}}), r"holds the split 'holdout'; allowed are train, val, test"),
        (lambda rows: rows.replace({"id": {rows["id"][0]: "other.png"}}), r"holds cells that the data set lacks"),
        (lambda rows: rows.replace({"split": {"val": "train"}}), r"puts no cell into val"),
        (lambda rows: rows.rename(columns={"split": "part"}), r"lacks split; it must have the columns id and split"),
    ],
)
def test_mistakes_in_a_split_file(tmp_path: Path, change: Any, message: str) -> None:
    root = write_folder(tmp_path / "cells", CLASSES)
    write_split(folder_data(root).splits, tmp_path / "split.csv")
    change(pd.read_csv(tmp_path / "split.csv")).to_csv(tmp_path / "split.csv", index=False)
    with pytest.raises(UserError, match=message):
        folder_data(root, split_file=str(tmp_path / "split.csv"))
