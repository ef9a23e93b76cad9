"""Folders as people lay them out: understood, or refused by name; what is left out is counted.

Listing opens no file, so that the images here are empty.
"""

import os
import re
import socket
from pathlib import Path

import pytest

from bcc_lightning.datamodules import PBC, CellFolder, RaabinWBC
from bcc_lightning.datasets.classes import EIGHT_CELL_CLASSES, WHITE_CELL_CLASSES
from bcc_lightning.datasets.listing import CellListing, list_folder
from bcc_lightning.errors import UserError
from tests.datamodules.miniatures import write_folder

CLASSES = ("blast", "other")


def lay(root: Path, *folders: str, images: int = 2) -> Path:
    """Make empty images in folders."""
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(images):
            (root / folder / f"c{number}.png").touch()
    return root


def sets(*names: str) -> list[str]:
    return [f"{name}/{class_name}" for name in names for class_name in CLASSES]


def where(listing: CellListing) -> dict[str, tuple[str, int]]:
    """Map the folder of each image to its class and split code."""
    rows = zip(listing.paths, listing.labels.tolist(), listing.splits.tolist(), strict=True)
    return {path.rpartition("/")[0]: (listing.class_names[label], split) for path, label, split in rows}


@pytest.mark.parametrize(
    "names",
    [
        ("train", "val", "test"),
        ("TRAINING", "Valid", "Testing"),
        ("trn", "vld", "tst"),
        ("train_data", "dev", "Test-A"),
        ("Train", "validation", "test"),
    ],
)
def test_sets_under_their_common_names(tmp_path: Path, names: tuple[str, str, str]) -> None:
    found = where(list_folder(lay(tmp_path, *sets(*names))))
    assert found == {f"{name}/{one}": (one, code) for code, name in enumerate(names) for one in CLASSES}


def test_a_class_is_one_class_whatever_its_folders_are_called(tmp_path: Path) -> None:
    lay(
        tmp_path,
        "train/Blast",
        "val/blast",
        "test/BLAST ",
        *(f"{name}/{n}" for name, n in (("train", "01"), ("val", "1"), ("test", "1.0"))),
    )
    listing = list_folder(tmp_path)
    assert listing.class_names == ("1", "BLAST")
    assert [code for _, code in sorted(where(listing).values())] == [0, 1, 2, 0, 1, 2]
    assert listing.notices == (
        "The classes '01' (2 cells), '1' (2 cells) and '1.0' (2 cells) are read as one, 1.",
        "The classes 'BLAST ' (2 cells), 'Blast' (2 cells) and 'blast' (2 cells) are read as one, BLAST.",
    )


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (sets("Train", "training", "test"), "holds Train, training, which both mean the training set. Next step: merge them"),
        (sets("train", "Test-A", "Test-B"), "holds Test-A, Test-B, which both mean the test set"),
        (sets("Balanced_Train", "train", "val", "test"), "holds Balanced_Train, train, which both mean the training set"),
        ([*sets("train", "test"), "rare"], "holds rare beside the set folders test, train; it is unknown to which set"),
        ([*sets("train", "test"), *sets("holdout")], "holds holdout beside the set folders test, train"),
        (
            [f"{one}/{name}" for one in CLASSES for name in ("train", "val")],
            r"blast/train is named like a set but is inside .* blast",
        ),
        (["blast", "other/Training", "other/test"], r"other/Training is named like a set .* Training/CLASS/IMAGE"),
        (["blast/batch/test", "other"], r"blast/batch/test is named like a set but is inside the folder blast/batch"),
        (sets("train/train", "test/test"), r"test/test is named like a set .* name .*/test as root if it is the data set"),
        (
            [f"data-master/{one}" for one in CLASSES],
            r"a single folder with images, data-master \(4 images\).* name .*/data-master as",
        ),
        (
            [f"a/b/{one}" for one in CLASSES],
            r"a single folder with images, a \(4 images\); .* name .*/a/b as root, which holds blast, o",
        ),
        ([f"a/{one}" for one in sets("train", "val")], r"a single folder with images, a \(8 images\); .* which holds train, val"),
        (sets("train/images", "test/images"), "a single class folder in each set, images, which holds blast, other"),
        (["train", "test"], "holds the set folders test, train, but no class folders in them"),
    ],
)
def test_layouts_that_are_refused(tmp_path: Path, folders: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        list_folder(lay(tmp_path, *folders))


@pytest.mark.parametrize("below", ["blast", "train/blast"])
def test_a_root_one_level_too_low(tmp_path: Path, below: str) -> None:
    lay(tmp_path, "other", "blast") if below == "blast" else lay(tmp_path, *sets("train", "test"))
    with pytest.raises(
        UserError, match=f"holds 2 images, e.g. c0.png, but no class folders; .* name {re.escape(str(tmp_path))} as root"
    ):
        list_folder(tmp_path / below)


def test_a_root_that_is_one_of_the_sets_is_said(tmp_path: Path) -> None:
    lay(tmp_path, *sets("train", "val", "Test"))
    notices = CellFolder(root=str(tmp_path / "train")).file_notices()
    beside = "Test (4 images), val (4 images)"
    assert notices == [f"train is read as the whole data set; beside it are {beside}. To read all sets, name {tmp_path} as root."]
    assert CellFolder(root=str(tmp_path)).file_notices() == []


def test_one_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds one class only, blast \(2 images\), where at least two are expected"):
        _ = CellFolder(root=str(lay(tmp_path, "blast"))).listing


def test_classes_may_be_called_like_sets_where_they_are_named(tmp_path: Path) -> None:
    lay(tmp_path, "valid", "invalid")
    with pytest.raises(UserError, match=r"holds invalid beside the set folders valid; .* name all classes with --data.classes"):
        list_folder(tmp_path)
    assert where(list_folder(tmp_path, ("Valid", "Invalid"))) == {"valid": ("Valid", -1), "invalid": ("Invalid", -1)}


def test_wanted_classes_are_found_in_any_spelling_and_others_counted(tmp_path: Path) -> None:
    listing = list_folder(lay(tmp_path, "blast", "Other", "rare"), ("OTHER", "Blast "))
    assert listing.class_names == ("OTHER", "Blast")
    assert set(where(listing)) == {"blast", "Other"}
    assert listing.notices == ("Left out: 2 images of classes that were not requested, e.g. rare/c0.png.",)


def test_images_below_class_folders_are_said(tmp_path: Path) -> None:
    listing = list_folder(lay(tmp_path, "clinic_1/blast", "clinic_1/other", "clinic_2/blast"))
    assert listing.class_names == ("clinic_1", "clinic_2")
    assert listing.notices[0].startswith("6 images are in folders inside class folders, e.g. clinic_1/blast/c0.png, and count as")


def test_everything_that_is_left_out_is_counted_by_kind(tmp_path: Path) -> None:
    root = lay(tmp_path, *CLASSES, images=3)
    lay(root, "#recycle", "#snapshot/blast", "@Recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__pycache__")
    lay(root, "__MACOSX/blast", ".git", "blast/.cache")
    lay(root, "blast/@eaDir/c0.png", "other/thumbs", "other/Thumbnails", ".thumbnails", "blast/.ipynb_checkpoints", images=1)
    (root / "docs").mkdir()
    names = "._c0.png .hidden.png .DS_Store Thumbs.db desktop.ini c0_thumb.png notes.txt more.TXT old.csv a.czi b.ND2 IMG_0001"
    for name in [*names.split(), "~$table.xlsx", "c0.png:Zone.Identifier", "my_thumb.png"]:
        (root / "blast" / name).touch()
    (root / "readme.txt").touch()
    (root / "overview.png").touch()
    listing = list_folder(root, CLASSES)
    assert sorted(listing.paths) == sorted(
        ["blast/c0.png", "blast/c1.png", "blast/c2.png", "blast/my_thumb.png", "other/c0.png", "other/c1.png", "other/c2.png"]
    )
    assert [notice.partition(", e.g. ")[0] for notice in listing.notices] == [
        "Left out: 17 hidden or system files and folders",  # ten folders, seven files
        "Left out: 6 thumbnails",  # one in each of five folders, and c0_thumb.png
        "Left out: 4 files without an image extension (3 .txt, 1 .csv)",
        "Left out: 2 files in a microscope's or camera's own format (1 .czi, 1 .nd2)",
        "Left out: 1 file without an ending",
        "Left out: 1 image outside class folders",
        "Left out: 1 folder without images",
    ]
    with pytest.raises(UserError, match=r"has no images of class docs; the folders there are .*Add images, remove an empty"):
        list_folder(root)


def test_folders_without_images_beside_sets_are_counted(tmp_path: Path) -> None:
    lay(tmp_path, *sets("train", "test"))
    for name in ("val", "docs"):
        (tmp_path / name).mkdir()
    (tmp_path / "docs" / "notes.txt").touch()
    (tmp_path / "train" / "c.png").touch()
    assert list_folder(tmp_path).notices == (
        "Left out: 1 image outside class folders, e.g. train/c.png.",
        "Left out: 2 folders without images, e.g. docs.",
    )


def test_what_is_no_regular_file_is_never_opened(tmp_path: Path) -> None:
    root = lay(tmp_path, *CLASSES)
    os.mkfifo(root / "blast" / "x.png")
    (root / "blast" / "y.png").symlink_to(root / "blast" / "x.png")
    with socket.socket(socket.AF_UNIX) as unix:
        os.chdir(root / "other")  # a socket's path is short
        unix.bind("s.png")
        listing = list_folder(root)
    assert len(listing) == 4
    assert listing.notices == ("Left out: 3 entries that are not regular files, e.g. blast/x.png.",)


@pytest.mark.parametrize("target", ["", "blast"])
def test_links_to_folders_above_are_not_followed(tmp_path: Path, target: str) -> None:
    root = lay(tmp_path, "blast/batch", "other")
    (root / "blast" / "batch" / "loop").symlink_to(root / target, target_is_directory=True)
    listing = list_folder(root)
    assert sorted(listing.paths) == ["blast/batch/c0.png", "blast/batch/c1.png", "other/c0.png", "other/c1.png"]
    assert "Left out: 1 link to a folder that contains it, e.g. blast/batch/loop." in listing.notices


def test_links_between_two_folders_end(tmp_path: Path) -> None:
    root = lay(tmp_path, *CLASSES)
    (root / "blast" / "more").symlink_to(root / "other", target_is_directory=True)
    (root / "other" / "more").symlink_to(root / "blast", target_is_directory=True)
    listing = list_folder(root)
    assert len(listing) == 8  # each class its own images and those of the other one
    assert "Left out: 2 links to a folder that contains them" in " ".join(listing.notices)


@pytest.mark.parametrize("target", ["gone.png", "c9.png"])
def test_links_that_lead_nowhere_are_refused(tmp_path: Path, target: str) -> None:
    root = lay(tmp_path, *CLASSES)
    (root / "blast" / "c9.png").symlink_to(target)
    with pytest.raises(UserError, match=r"blast/c9.png is a broken link; restore the file"):
        list_folder(root)


@pytest.mark.parametrize(("one", "other"), [("c0.png", "C0.PNG"), ("\xe4.png", "a\u0308.png"), ("a b.png", "a  b.png")])
def test_files_whose_names_differ_only_in_spelling_are_refused(tmp_path: Path, one: str, other: str) -> None:
    root = lay(tmp_path, *CLASSES)
    for name in (one, other):
        (root / "blast" / name).touch()
    with pytest.raises(UserError, match="whose names differ only in case, blanks or Unicode form") as error:
        list_folder(root)
    shown = [name if "\u0308" not in name else r"a\u0308.png" for name in (one, other)]
    assert all(f"'{name}'" in str(error.value) for name in shown)


@pytest.mark.parametrize(("folder", "name"), [("blast", b"f\xe4rbung.png"), ("", b"gro\xdfe")])
def test_names_that_are_not_utf8_are_refused(tmp_path: Path, folder: str, name: bytes) -> None:
    root = lay(tmp_path, *CLASSES)
    place = os.path.join(os.fsencode(root / folder), name)
    os.mkdir(place) if not folder else open(place, "wb").close()
    with pytest.raises(UserError, match="whose name is not UTF-8; rename it") as error:
        list_folder(root)
    assert ascii(os.fsdecode(name)) in str(error.value)
    assert str(error.value).isprintable()


def test_endings_count_in_any_case(tmp_path: Path) -> None:
    root = lay(tmp_path, *CLASSES)
    for name in ("a.PNG", "b.Tif", "d.JPEG", "e.png "):
        (root / "blast" / name).touch()
    assert len(list_folder(root)) == 8


# Data sets with classes of their own.


def test_of_raabin_the_other_test_folder_is_counted(tmp_path: Path) -> None:
    lay(tmp_path, *(f"{name}/{one}" for name in ("train", "Test-A", "Test-B") for one in WHITE_CELL_CLASSES))
    listing = RaabinWBC(root=str(tmp_path), test_folder="test-a").listing
    assert {path.split("/")[0] for path in listing.paths} == {"train", "Test-A"}
    assert listing.notices == ("Left out: 10 images of sets that were not requested, e.g. Test-B/basophil/c0.png.",)


def test_of_pbc_other_classes_are_counted_and_a_root_too_high_is_refused(tmp_path: Path) -> None:
    lay(tmp_path, *(f"PBC/{name.upper()}" for name in EIGHT_CELL_CLASSES), "PBC/smudge")
    assert PBC(root=str(tmp_path / "PBC")).listing.notices == (
        "Left out: 2 images of classes that were not requested, e.g. smudge/c0.png.",
    )
    with pytest.raises(UserError, match=r"a single folder with images, PBC \(18 images\)"):
        _ = PBC(root=str(tmp_path)).listing


def test_a_renamed_balanced_folder_is_still_one(tmp_path: Path) -> None:
    lay(tmp_path, *sets("train", "val", "test"))
    (tmp_path / "train" / "balanced_folder.json").write_text("{}")
    data = CellFolder(root=str(tmp_path))
    assert data.is_balanced_folder
    with pytest.raises(UserError, match="train is not finished"):
        _ = data.listing


def test_images_that_all_bear_two_labels(tmp_path: Path) -> None:
    root = write_folder(tmp_path, ("lymphocyte", "monocyte"), per_class=2)
    (root / "lymphocyte" / "more").symlink_to(root / "monocyte", target_is_directory=True)
    (root / "monocyte" / "more").symlink_to(root / "lymphocyte", target_is_directory=True)
    with pytest.raises(UserError, match="holds no image with a single label"):
        CellFolder(root=str(root), image_size=8).setup()
