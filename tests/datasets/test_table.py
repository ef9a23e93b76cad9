"""Tables, split files and further test sets: one thing under two spellings is one thing, or an error that shows both."""

import os
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from bcc_lightning.datamodules import CellFolder, CellTable
from bcc_lightning.datasets.cells import CellImages
from bcc_lightning.datasets.classes import label_map
from bcc_lightning.datasets.listing import CellListing
from bcc_lightning.datasets.split_file import ReadSplit, read_split
from bcc_lightning.datasets.table import list_table
from bcc_lightning.errors import UserError
from tests.datamodules.miniatures import write_folder

PATHS = [f"{name}/c{number}.png" for name in ("blast", "other") for number in range(4)]
LABELS = ["blast"] * 4 + ["other"] * 4


def table(root: Path, **columns: Sequence[object]) -> Path:
    """Write a table of eight empty images."""
    for path in PATHS:
        (root / path).parent.mkdir(exist_ok=True, parents=True)
        (root / path).touch()
    rows = {"path": PATHS, "label": LABELS, **columns}
    pd.DataFrame(rows).to_csv(root / "cells.csv", index=False)
    return root / "cells.csv"


def read(root: Path, classes: tuple[str, ...] | None = None, **columns: Sequence[object]) -> CellListing:
    return list_table(table(root, **columns), classes)


def test_labels_in_several_spellings(tmp_path: Path) -> None:
    found = read(tmp_path, label=["blast", "Blast", "blast ", "blast", "other", "other", "OTHER", "\u200bother"])
    assert found.class_names == ("blast", "other")
    assert found.labels.tolist() == [0] * 4 + [1] * 4
    assert found.notices == (
        "The classes 'Blast' (1 cells), 'blast' (2 cells) and 'blast ' (1 cells) are read as one, blast.",
        r"The classes 'OTHER' (1 cells), 'other' (2 cells) and '\u200bother' (1 cells) are read as one, other.",
    )


def test_labels_under_the_names_that_folders_may_have(tmp_path: Path) -> None:
    found = read(tmp_path, label=["NE", "neutrophils", "Neu", "Neutrophil", "LY", "ly", "Lymphocytes", "lym"])
    assert found.class_names == ("lymphocyte", "neutrophil")
    assert found.labels.tolist() == [1] * 4 + [0] * 4


def test_labels_that_are_numbers_are_names_first_and_places_only_where_they_are_none(tmp_path: Path) -> None:
    numbers = ["1", "01", "1.0", "1", "0", "0.0", "0", "00"]
    assert read(tmp_path, label=numbers).class_names == ("0", "1")
    assert read(tmp_path, ("1", "0"), label=numbers).labels.tolist() == [0] * 4 + [1] * 4
    assert read(tmp_path, ("other", "blast"), label=numbers).labels.tolist() == [1] * 4 + [0] * 4


@pytest.mark.parametrize(
    "groups",
    [
        ["7", "7.0", "007", "7,00", "8", "8.0", "08", "+8"],
        ["P7", " P7 ", "p7", "P007", "P8", "P8\u00a0", "Ｐ8", "p08"],
        ["Zoë 1", "Zoe\u0308 1", "ZOË  1", "zoë 01", "x", "X", "x ", "\ufeffx"],
    ],
)
def test_groups_in_several_spellings(tmp_path: Path, groups: list[str]) -> None:
    found = read(tmp_path, group=groups)
    assert found.groups is not None
    assert found.groups.tolist() == [0] * 4 + [1] * 4
    assert len(found.group_names) == 2
    assert len([notice for notice in found.notices if notice.startswith("The groups")]) == 2


def test_a_divided_group_is_named(tmp_path: Path) -> None:
    root = write_folder(tmp_path, ("lymphocyte", "monocyte"), per_class=3)
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    rows = {"path": files, "label": [file.split("/")[0] for file in files], "split": ["train", "val", "test"] * 2}
    rows["Group"] = ["P07", "P8", " p7 ", "P9", "P10", "P11"]
    pd.DataFrame(rows).to_csv(root / "cells.csv", index=False)
    with pytest.raises(UserError, match=r"group P07 is in several sets \(train, test\); a patient or slide may be in one only"):
        CellTable(root=str(root), image_size=8).setup()


def test_columns_in_any_spelling_and_those_that_are_not_read(tmp_path: Path) -> None:
    file = table(tmp_path, patient=list("aabbccdd"))
    pd.read_csv(file).rename(columns={"path": "Path", "label": " LABEL"}).to_csv(file, index=False, encoding="utf-8-sig")
    found = list_table(file)
    assert list(found.paths) == PATHS
    assert found.groups is None
    assert found.notices[0].startswith("Columns of cells.csv that are not read: patient; to keep each patient or slide in one")
    pd.read_csv(file).assign(**{"Pixel size (um)": 0.1, "sex": "f"}).to_csv(file, index=False)
    assert "patient, Pixel size (um), sex; call Pixel size (um) pixel_size if it is meant; to keep" in list_table(file).notices[0]
    pd.read_csv(file).assign(Label=LABELS).to_csv(file, index=False)
    with pytest.raises(UserError, match="has the columns ' LABEL' and 'Label', which mean the same; keep one"):
        list_table(file)


def test_sets_in_several_spellings(tmp_path: Path) -> None:
    found = read(tmp_path, split=["Train", " train", "Valid", "valid ", "TESTING", "testing", "train", "testing"])
    assert found.splits.tolist() == [0, 0, 1, 1, 2, 2, 0, 2]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
def test_empty_texts_of_every_type_are_found(tmp_path: Path, kind: pa.DataType) -> None:
    groups = pa.array(["", *["P1"] * 4], pa.string()).cast(kind)
    file = tmp_path / "cells.parquet"
    parquet.write_table(
        pa.table({"path": [f"{n}.png" for n in range(5)], "label": ["a", "b", "a", "b", "a"], "group": groups}), file
    )
    with pytest.raises(UserError, match="column group: 1 rows are empty"):
        list_table(file)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("split", ["test-a", "test-b", *["train"] * 6], "the split 'test-b' beside 'test-a', which both mean the test set"),
        ("split", ["val", "dev", *["train"] * 6], "the split 'dev' beside 'val', which both mean the validation set"),
        ("split", ["7", *["train"] * 7], "holds the split '7'; allowed are train, val, test"),
        ("label", ["nan", *LABELS[1:]], "column label: 1 rows are empty"),
        ("group", [" ", "NaN", *LABELS[2:]], "column group: 2 rows are empty"),
        ("label", ["bl\x07ast", *LABELS[1:]], r"holds the class 'bl\\x07ast', which has control characters"),
        ("path", ["blast/c1.png", *PATHS[1:]], "names 1 files more than once, the first is blast/c1.png; keep one row"),
        ("path", ["blast//c1.png", *PATHS[1:]], "the first is blast//c1.png, also spelled blast/c1.png; keep one row"),
        ("path", ["Blast/C1.png", *PATHS[1:]], "the first is Blast/C1.png, also spelled blast/c1.png"),
        ("path", ["other/../blast/c1.png", *PATHS[1:]], "the first is other/../blast/c1.png, also spelled blast/c1.png"),
        ("path", ["blast", *PATHS[1:]], "names blast, which is not a regular file"),
        ("path", ["C:\\cells\\c1.png", *PATHS[1:]], r"cannot be read \(No such file or directory\); .* names 1 such files"),
    ],
)
def test_what_a_table_may_not_hold(tmp_path: Path, column: str, values: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, **{column: values})


@pytest.mark.parametrize(
    "spell",
    [
        lambda path: path.replace("/", "\\"),
        lambda path: f"./{path}",
        lambda path: path.replace("/", "//"),
        lambda path: f" {path} ",
        str.upper,
        lambda path: path.replace("c", "ｃ"),
        lambda path: f"other/../{path}",
    ],
)
def test_paths_are_those_of_the_disk(tmp_path: Path, spell: Callable[[str], str]) -> None:
    found = read(tmp_path, path=list(map(spell, PATHS)))
    assert list(found.paths) == PATHS
    assert found.notices[0].startswith("Spelled differently on disk: 8 of the table's paths, e.g. ")
    assert read(tmp_path).notices == ()


def test_absolute_paths_become_relative(tmp_path: Path) -> None:
    assert list(read(tmp_path, path=[str(tmp_path / path) for path in PATHS]).paths) == PATHS


def test_unicode_forms_of_paths(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "blast/zellgröße.png") for form in ("NFC", "NFD"))
    (tmp_path / "blast").mkdir()
    (tmp_path / decomposed).touch()
    assert list(read(tmp_path, path=[composed, *PATHS[1:]]).paths) == [decomposed, *PATHS[1:]]
    with pytest.raises(UserError, match="more than once"):
        read(tmp_path, path=[composed, decomposed, *PATHS[2:]])


def test_images_that_the_table_does_not_name_are_counted(tmp_path: Path) -> None:
    file = table(tmp_path)
    pd.read_csv(file)[1:7].to_csv(file, index=False)
    assert list_table(file).notices == ("Left out: 2 images that the table does not name, e.g. blast/c0.png.",)


def test_tables_do_not_open_what_is_no_file_and_name_no_thumbnails(tmp_path: Path) -> None:
    (tmp_path / "blast" / "@eaDir").mkdir(parents=True)
    (tmp_path / "blast" / "@eaDir" / "c0.png").touch()
    with pytest.raises(UserError, match="names files in blast/@eaDir, a folder in which a system or program keeps thumbnails"):
        read(tmp_path, path=["blast/@eaDir/c0.png", *PATHS[1:]])
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UserError, match=r"names pipe\.png, which is not a regular file"):
        read(tmp_path, path=["pipe.png", *PATHS[1:]])


# Split files.

IDS = ["blast/c1.png", "blast/C2.png", "zellgröße/a b.png", "00017", "train/00018"]


def split(file: Path, ids: list[str], sets: list[str], own: list[str] = IDS) -> ReadSplit:
    pd.DataFrame({"ID": ids, " Split": sets}).to_csv(file, index=False, encoding="utf-8-sig")
    cells = CellImages(np.zeros((len(own), 1, 1, 3), np.uint8), np.zeros(len(own), np.int64), own)
    return read_split(file, cells)


def test_ids_and_sets_of_a_split_file_in_other_spellings(tmp_path: Path) -> None:
    spelled = ["BLAST\\c1.png", "./blast/C2.png", unicodedata.normalize("NFD", IDS[2]).replace(" ", "  "), "17", "train/00018"]
    found = split(tmp_path / "s.csv", spelled[::-1], ["TRAIN ", "train", "valid", "Train", "Test"][::-1], own=IDS)
    assert found.codes.tolist() == [0, 0, 1, 0, 2]
    assert found.notices == [
        r"Spelled differently in the data set: 4 ids of s.csv, e.g. '17' is read as '00017'.",
    ]


@pytest.mark.parametrize(
    ("ids", "own", "message"),
    [
        (["a.png", "A.png", "b.png", "c.png"], ["a.png", "b.png", "c.png"], r"cells twice .* the first is 'A.png'"),
        (["A.PNG", "b.png", "c.png"], ["a.png", "A.png", "b.png", "c.png"], "ids that mean several cells .* 'A.PNG'"),
        (["c7.png", "b.png", "c.png"], ["c007.png", "b.png", "c.png"], "cells that the data set lacks .* 'c7.png'"),
    ],
)
def test_ids_that_are_refused(tmp_path: Path, ids: list[str], own: list[str], message: str) -> None:
    sets = ["train", "train", "val", "test"][-len(ids) :]
    with pytest.raises(UserError, match=message):
        split(tmp_path / "s.csv", ids, sets, own)


def test_ids_that_differ_only_in_case_are_two_cells_where_both_are_named(tmp_path: Path) -> None:
    own = ["Blast/a.png", "blast/a.png", "b.png"]
    assert split(tmp_path / "s.csv", own, ["train", "val", "test"], own).codes.tolist() == [0, 1, 2]


# Further test sets.


def test_counterparts_are_found_in_any_spelling() -> None:
    assert label_map(["BLAST ", "N\u200bE"], ["neutrophil", "blast"], {}, "x").tolist() == [1, 0]
    assert label_map(["neutrophil", "odd"], ["a", "b"], {" ne": "B", "ODD": "A "}, "x").tolist() == [1, 0]
    assert label_map(["odd", "blast", "b"], ["a", "b"], {"Odd": None, "blast": "a"}, "x").tolist() == [-1, 0, 1]


@pytest.mark.parametrize(
    ("renamed", "message"),
    [
        ({"odd": "typo"}, "--data.class_map gives odd the name typo; allowed are a, b"),
        ({"odd": "a", "Odd ": "b"}, "--data.class_map gives the class Odd  two counterparts"),
        ({"odd": None, "Odd ": "b"}, "--data.class_map gives the class Odd  two counterparts"),
    ],
)
def test_class_maps_that_are_refused(renamed: dict[str, str | None], message: str) -> None:
    with pytest.raises(UserError, match=message):
        label_map(["odd"], ["a", "b"], renamed, "x")


def test_a_further_test_set_says_what_it_leaves_out_and_may_hold_one_class(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "cells", ("lymphocyte", "monocyte"))
    other = write_folder(tmp_path / "ward", ("monocyte",), per_class=3, seed=4, monocyte="Monocytes")
    (other / "notes.txt").touch()
    data = CellFolder(root=str(root), image_size=32, test_on=[str(other)])
    assert data.external["ward"].labels.tolist() == [1, 1, 1]
    assert "ward: Left out: 1 file without an image extension (1 .txt), e.g. notes.txt." in data.notices()
    data = CellFolder(root=str(root), image_size=32, test_on=[str(other)], class_map={"blasts": "monocyte"})
    with pytest.raises(UserError, match=r"--data\.class_map names blasts, which no further test set holds"):
        data.setup()
    with pytest.raises(UserError, match="names platelet, but there is no further test set"):
        CellFolder(root=str(root), image_size=32, class_map={"platelet": None}).setup()
    data = CellFolder(root=str(root), image_size=32, test_on=[str(other)], class_map={"monocyte": None})
    with pytest.raises(UserError, match=r"--data\.class_map leaves out every cell of .*ward"):
        data.setup()
