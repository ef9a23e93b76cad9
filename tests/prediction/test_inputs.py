"""The cells that a call names: files, folders, tables, lists."""

import io
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bcc_lightning.errors import UserError
from bcc_lightning.prediction.inputs import CellInputs
from bcc_lightning.prediction.tables import Cell


def touch(*files: str) -> None:
    for file in files:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).touch()


def paths(*inputs: str) -> list[str]:
    return [cell.path for cell in CellInputs.of(inputs)]


def test_folders_are_searched_in_the_order_of_their_names() -> None:
    touch("cells/b/2.png", "cells/b/10.png", "cells/a.png", "cells/c.JPG", "cells/a/deep/er/1.tif")
    assert paths("cells") == ["cells/a/deep/er/1.tif", "cells/a.png", "cells/b/10.png", "cells/b/2.png", "cells/c.JPG"]


def test_inputs_keep_the_order_in_which_they_are_named() -> None:
    touch("cells/1.png", "z.png", "a.png")
    assert paths("z.png", "cells", "a.png") == ["z.png", "cells/1.png", "a.png"]


def test_what_is_no_image_is_left_out_and_said() -> None:
    touch("cells/1.png", "cells/notes.txt", "cells/slide.czi", "cells/.hidden.png", "cells/Thumbs.db", "cells/thumbs/1.png")
    inputs = CellInputs.of(["cells"])
    assert [cell.path for cell in inputs] == ["cells/1.png"]
    said = " ".join(inputs.left_out.notices())
    assert "1 file without an image extension (1 .txt)" in said
    assert "export them as PNG or TIFF" in said
    assert "1 thumbnail, e.g. thumbs/1.png" in said


def test_masks_beside_their_images_are_no_cells() -> None:
    touch("cells/a.png", "cells/a_mask.png", "cells/mask-b.png", "cells/b.png", "cells/seg_mask.png", "cells/masks/c.png")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8)).save("cells/01.bmp")
    Image.fromarray(rng.choice(np.array([0, 128, 255], np.uint8), (24, 24))).save("cells/01.png")
    Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8)).save("cells/02.png")  # the same cell twice is no mask
    Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8)).save("cells/02.tif")
    Path("cells/03.bmp").write_bytes(b"BM")  # cannot be read: told when it is classified
    Path("cells/03.png").write_bytes(b"PNG")
    inputs = CellInputs.of(["cells"])
    names = ["01.bmp", "02.png", "02.tif", "03.bmp", "03.png", "a.png", "b.png", "seg_mask.png"]
    assert [cell.path for cell in inputs] == [f"cells/{name}" for name in names]
    assert list(inputs.left_out.notices()) == [
        "Left out: 4 segmentation masks, e.g. masks/c.png.",
        "4 images are called like another one but for the ending, e.g. 02.png: if they show the same cells, each is counted "
        "twice. Move one of each pair away.",
    ]


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("01.png", "01_nucleus_mask.png"),
        ("cell_1.png", "cell_1_mask.png"),
        ("image.png", "mask.png"),
        ("01_img.png", "01_mask.png"),
        ("01.png", "01_seg.png"),
        ("01.bmp", "01_gt.png"),
        ("01.png", "GT/01.png"),
        ("01.png", "ground_truth/01.png"),
        ("01.png", "mask_images/01.png"),
        ("01.png", "labels/01.png"),
        ("01.bmp", "01.jpg"),
    ],
)
def test_masks_in_other_layouts(image: str, mask: str) -> None:
    touch(f"cells/{image}", f"cells/{mask}", "cells/seg/02.png", "cells/03_seg.png", "cells/03.png")
    rng = np.random.default_rng(0)
    for name in (image, "seg/02.png", "03.png", "03_seg.png"):  # cells, though two are called like masks
        Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8)).save(f"cells/{name}")
    shape = np.zeros((24, 24), np.uint8)
    shape[6:18, 6:18] = 255
    Image.fromarray(shape).save(f"cells/{mask}")
    inputs = CellInputs.of(["cells"])
    assert sorted(cell.path for cell in inputs) == sorted(f"cells/{n}" for n in (image, "seg/02.png", "03.png", "03_seg.png"))
    assert list(inputs.left_out.notices()) == [f"Left out: 1 segmentation mask, e.g. {mask}."]


def test_tables_tell_the_size_of_the_pixels() -> None:
    Path("cells.csv").write_text("path,Pixel Size\n1.png,0.1\n2.png,0.25\n")
    pd.DataFrame({"path": ["1.png", "2.png"], "pixel_size": [0.1, 0.25]}).to_parquet("cells.parquet")
    for name in ("cells.csv", "cells.parquet"):
        inputs = CellInputs.of([name])
        assert inputs.tells_pixel_sizes
        assert [cell.pixel_size for cell in inputs] == [None, None]  # not asked for
        assert [cell.pixel_size for cell in replace(inputs, with_sizes=True)] == [0.1, 0.25]
    Path("bare.csv").write_text("path\n1.png\n")
    assert not CellInputs.of(["bare.csv", "-"]).tells_pixel_sizes


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ("", "line 3, column pixel_size is ''; it must be the micrometres"),
        ('"0,1"', "line 3, column pixel_size is '0,1'; it must be the micrometres that a pixel covers, with a decimal point"),
        ("0", "line 3, column pixel_size is 0"),
        ("107", "If these are nanometres, write 0.107"),
        ("nan", "line 3, column pixel_size is nan"),
    ],
)
def test_sizes_that_are_none(size: str, message: str) -> None:
    Path("cells.csv").write_text(f"path,pixel_size\n1.png,0.1\n2.png,{size}\n")
    with pytest.raises(UserError, match=re.escape(message)):
        list(replace(CellInputs.of(["cells.csv"]), with_sizes=True))


def test_a_broken_link_is_a_cell_that_cannot_be_read_and_a_link_to_a_folder_is_not_followed() -> None:
    touch("cells/1.png")
    os.symlink("nowhere.png", "cells/2.png")
    os.symlink("..", "cells/loop")
    assert paths("cells") == ["cells/1.png", "cells/2.png"]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_tables_name_files_relative_to_their_folder(ending: str) -> None:
    table = pd.DataFrame({"Slide": ["s1", "s2"], "PATH": ["x/1.png", "/abs/2.png"], "age": [1, 2]})
    Path("lists").mkdir()
    table.to_csv("lists/cells.csv", index=False) if ending == "csv" else table.to_parquet("lists/cells.parquet", index=False)
    found = list(CellInputs.of([f"lists/cells.{ending}"], "slide"))
    assert found == [Cell("lists/x/1.png", "s1"), Cell("/abs/2.png", "s2")]
    assert [cell.group for cell in CellInputs.of([f"lists/cells.{ending}"], "age")] == ["1", "2"]
    assert [cell.group for cell in CellInputs.of([f"lists/cells.{ending}"])] == ["", ""]


def test_a_list_comes_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a.png\n\nwith blank .png\r\n"))
    assert paths("-") == ["a.png", "with blank .png"]


def test_the_folders_below_an_input_are_slides() -> None:
    touch("smears/s1/neutrophil/1.png", "smears/s2/2.png", "smears/3.png")
    assert [(Path(cell.path).name, cell.group) for cell in CellInputs.of(["smears"], "slide")] == [
        ("3.png", "smears"),
        ("1.png", "s1"),
        ("2.png", "s2"),
    ]
    assert [cell.group for cell in CellInputs.of(["smears/s2", "smears/s1/neutrophil/1.png"], "patient")] == ["s2", "neutrophil"]


@pytest.mark.parametrize(
    ("inputs", "by", "message"),
    [
        ([], None, "name what to classify"),
        (["away"], None, "away does not exist; name an image file, a folder, a table"),
        (["-", "-"], None, "standard input can be read once"),
        (["-"], "slide", "a list on standard input has no column slide"),
        (["cells"], "ward", "--by ward: cells is a folder, whose folders can be slides or patients; write --by slide"),
        (["cells/1.png"], "ward", "--by ward: cells/1.png has no columns"),
        (["table.csv"], "ward", "table.csv has no column ward; its columns are path, slide"),
        (["nopath.csv"], None, "nopath.csv has no column path; its columns are file"),
        (["gap.csv"], None, "gap.csv, line 3, has no path; fill it in or remove the line"),
        (["broken.parquet"], None, "broken.parquet cannot be read as a table"),
    ],
)
def test_inputs_that_are_none(inputs: list[str], by: str | None, message: str) -> None:
    touch("cells/1.png")
    Path("table.csv").write_text("path,slide\ncells/1.png,s\n")
    Path("nopath.csv").write_text("file\na.png\n")
    Path("gap.csv").write_text("n,path\n1,a.png\n2,\n")
    Path("broken.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(UserError) as error:
        list(CellInputs.of(inputs, by))
    assert message in str(error.value)
