"""A balanced folder: counts by hand, what is in each file, what a killed call leaves."""

import csv
import hashlib
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from bcc_lightning.datasets.balanced_folder import BalancedFolder, is_balanced_folder, write_balanced_folder
from bcc_lightning.datasets.cell_folder import write_set
from bcc_lightning.datasets.decoding import read_image
from bcc_lightning.datasets.listing import CellListing, list_folder
from bcc_lightning.errors import UserError
from bcc_lightning.transforms.recipes import PIPELINES

TRAINING = {"ig": 5, "monocyte": 2, "platelet": 3}


def data_set(root: Path, training: dict[str, int] = TRAINING, side: int = 16) -> CellListing:
    """Paint a data set with a training part of these counts and one validation cell of each class."""
    rng = np.random.default_rng(0)
    for split, counts in (("train", training), ("val", dict.fromkeys(training, 1))):
        for name, count in counts.items():
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                image = Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
                image.save(root / split / name / f"{name}_{number}.{'jpg' if number % 2 else 'bmp'}")
    return list_folder(root)


def balance(listing: CellListing, out: Path, augment: str = "standard", seed: int = 7) -> BalancedFolder:
    return write_balanced_folder(listing, out, augment, seed)


def manifest(out: Path) -> list[dict[str, str]]:
    with (out / "manifest.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def content(out: Path) -> dict[str, bytes]:
    """Read all that lies in a folder, hidden files too."""
    return {str(file.relative_to(out)): file.read_bytes() for file in out.rglob("*") if file.is_file()}


def test_counts_by_hand(tmp_path: Path) -> None:
    done = balance(data_set(tmp_path / "cells"), tmp_path / "out")
    assert (done.before.tolist(), done.after.tolist()) == ([5, 2, 3], [5, 5, 5])
    assert (done.written, done.kept, done.left_out, done.foreign) == (15, 0, (), ())
    assert [len(list((tmp_path / "out" / name).glob("*.png"))) for name in TRAINING] == [5, 5, 5]
    # 5 - 2 = 3 copies of two monocytes in turn: first, second, first; 5 - 3 = 2 copies of three platelets: first, second.
    copies = {row["source"].split("/")[-1]: int(row["copy"]) for row in manifest(tmp_path / "out")}
    assert {name: last for name, last in copies.items() if not name.startswith("ig")} == {
        "monocyte_0.bmp": 2,
        "monocyte_1.jpg": 1,
        "platelet_0.bmp": 1,
        "platelet_1.jpg": 1,
        "platelet_2.bmp": 0,
    }
    assert {copies[f"ig_{number}.{suffix}"] for number, suffix in enumerate(["bmp", "jpg", "bmp", "jpg", "bmp"])} == {0}


def test_manifest_tells_where_each_file_is_from(tmp_path: Path) -> None:
    listing = data_set(tmp_path / "cells")
    balance(listing, tmp_path / "out")
    rows = manifest(tmp_path / "out")
    assert list(rows[0]) == ["file", "source", "class", "copy", "augment", "seed", "sha256"]
    assert {row["file"] for row in rows} == {str(file.relative_to(tmp_path / "out")) for file in tmp_path.glob("out/*/*.png")}
    for row in rows:
        file = tmp_path / "out" / row["file"]
        assert hashlib.sha256(file.read_bytes()).hexdigest() == row["sha256"]
        assert row["source"].startswith(f"train/{row['class']}/")
        assert file.parent.name == row["class"]
        assert (row["augment"], row["seed"]) == ("" if row["copy"] == "0" else "standard", "7")
        same = np.array_equal(read_image(file), read_image(listing.root / row["source"]))
        assert same == (row["copy"] == "0")


def test_the_folder_is_read_as_a_training_part(tmp_path: Path) -> None:
    balance(data_set(tmp_path / "cells"), tmp_path / "balanced" / "train")
    listing = list_folder(tmp_path / "balanced")
    assert np.bincount(listing.labels).tolist() == [5, 5, 5]
    assert (listing.splits == 0).all()
    assert is_balanced_folder(tmp_path / "balanced" / "train")
    assert not is_balanced_folder(tmp_path / "cells" / "train")


@pytest.mark.parametrize("augment", [name for name in PIPELINES if name != "none"])
def test_a_copy_follows_seed_path_and_number_only(tmp_path: Path, augment: str) -> None:
    listing = data_set(tmp_path / "cells")
    balance(listing, tmp_path / "first", augment)
    balance(data_set(tmp_path / "elsewhere"), tmp_path / "again", augment)
    assert content(tmp_path / "first") == content(tmp_path / "again")
    # With two more of the largest class other files are written, in another order; those that both have are the same.
    for number in (1, 2):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(listing.root / "train" / "ig" / f"a_{number}.png")
    balance(list_folder(listing.root), tmp_path / "more", augment)
    balance(listing, tmp_path / "seed", augment, seed=8)
    sums = {name: {row["file"]: row["sha256"] for row in manifest(tmp_path / name)} for name in ("first", "more", "seed")}
    assert sums["first"].items() < sums["more"].items()
    differing = [row for row in manifest(tmp_path / "first") if sums["seed"][row["file"]] != row["sha256"]]
    assert differing
    assert all(row["copy"] != "0" for row in differing)


def test_no_picture_is_written_twice(tmp_path: Path) -> None:
    # Flips and turns have 8 pictures of a cell.
    balance(data_set(tmp_path / "cells", {"ig": 8, "platelet": 1}), tmp_path / "out", "light")
    assert len({row["sha256"] for row in manifest(tmp_path / "out")}) == 16


def test_too_few_pictures_are_told(tmp_path: Path) -> None:
    listing = data_set(tmp_path / "cells", {"ig": 9, "platelet": 1})
    with pytest.raises(
        UserError, match=r"'light' makes only 8 different images of train/platelet/platelet_0\.bmp.*needs 9 of each"
    ):
        balance(listing, tmp_path / "out", "light")


def test_a_second_call_mends_what_is_missing_or_damaged(tmp_path: Path) -> None:
    listing, out = data_set(tmp_path / "cells"), tmp_path / "out"
    balance(listing, out)
    whole = content(out)
    names = [row["file"] for row in manifest(out)]
    (out / names[0]).unlink()
    (out / names[7]).write_bytes(b"damaged")
    (out / names[8]).write_bytes(whole[names[8]][:-1])
    times = {name: (out / name).stat().st_mtime_ns for name in names[9:]}
    done = balance(listing, out)
    assert (done.written, done.kept) == (3, 12)
    assert content(out) == whole
    assert times == {name: (out / name).stat().st_mtime_ns for name in times}
    assert balance(listing, out).written == 0


def test_a_lost_manifest_is_written_again(tmp_path: Path) -> None:
    listing, out = data_set(tmp_path / "cells"), tmp_path / "out"
    balance(listing, out)
    whole = content(out)
    (out / "manifest.csv").write_bytes(whole["manifest.csv"][:700] + b"\xff")
    assert balance(listing, out).written > 0
    assert content(out) == whole


CHILD = """
import itertools, os, signal, sys
from contextlib import contextmanager
from pathlib import Path
from bcc_lightning.datasets import augmented_copies
from bcc_lightning.datasets.balanced_folder import write_balanced_folder
from bcc_lightning.datasets.listing import list_folder

whole_file, number = augmented_copies.whole_file, itertools.count()

@contextmanager
def dying(target):
    with whole_file(target) as draft:
        if next(number) == 100:
            draft.write_bytes(b"half a pi")
            os.kill(os.getpid(), signal.SIGKILL)
        yield draft

augmented_copies.whole_file = dying
write_balanced_folder(list_folder(Path(sys.argv[1])), Path(sys.argv[2]), "standard", 7)
"""


@pytest.mark.slow
def test_a_killed_call_leaves_whole_files_and_is_finished_by_the_next(tmp_path: Path) -> None:
    listing, out = data_set(tmp_path / "cells", {"ig": 120, "platelet": 20}, side=48), tmp_path / "out"
    command = [sys.executable, "-c", CHILD, str(listing.root), str(out)]
    child = subprocess.run(command, cwd=Path(__file__).parents[2], check=False, timeout=120)
    assert child.returncode == -signal.SIGKILL
    assert [file.read_bytes() for file in out.glob("*/.*.png")].count(b"half a pi") == 1
    left = list(out.glob("*/[!.]*.png"))
    assert 90 <= len(left) < 240  # others were on their way in other threads, but it was stopped
    assert not (out / "manifest.csv").exists()
    assert all(read_image(file).shape == (48, 48, 3) for file in left)
    with (out / "written.jsonl").open("a") as journal:  # a line may be cut off as well
        journal.write('\n["ig/ig_0_')
    done = balance(listing, out)
    assert 0 < done.kept <= len(left)
    assert done.written + done.kept == 240
    balance(listing, tmp_path / "uninterrupted")
    assert content(out) == content(tmp_path / "uninterrupted")


def test_a_journal_cut_off_twice_is_still_read(tmp_path: Path) -> None:
    listing, out = data_set(tmp_path / "cells"), tmp_path / "out"
    balance(listing, out)
    rows = manifest(out)
    (out / "manifest.csv").unlink()
    lines = [json.dumps([row["file"], row["sha256"]]) for row in rows]
    (out / "written.jsonl").write_text("\n" + lines[0] + "\n" + lines[1][:30] + "\n" + lines[2] + "\n" + lines[3][:-1])
    assert balance(listing, out).kept == 2


@pytest.mark.parametrize(
    ("augment", "seed", "named"), [("light", 7, "augment standard, now light"), ("standard", 8, "seed 7, now 8")]
)
def test_other_arguments_are_refused_in_the_same_folder(tmp_path: Path, augment: str, seed: int, named: str) -> None:
    listing, out = data_set(tmp_path / "cells"), tmp_path / "out"
    balance(listing, out)
    before = content(out)
    with pytest.raises(UserError, match=f"made with other arguments: .*{named}.*Choose another folder"):
        balance(listing, out, augment, seed)
    assert content(out) == before


def test_other_cells_are_refused_in_the_same_folder(tmp_path: Path) -> None:
    listing, out = data_set(tmp_path / "cells"), tmp_path / "out"
    balance(listing, out)
    changed = listing.root / "train" / "ig" / "ig_0.bmp"
    Image.fromarray(255 - read_image(changed)).save(changed)
    with pytest.raises(UserError, match="made with other arguments: content"):
        balance(listing, out)


def test_foreign_files_stay_and_are_named(tmp_path: Path) -> None:
    listing, out = data_set(tmp_path / "cells"), tmp_path / "out"
    foreign = [out / "notes.txt", out / "ig" / "mine.png", out / "ig" / ".mine.12.png", out / "basophil" / "other.png"]
    for file in foreign:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("mine")
    assert balance(listing, out).foreign == ("basophil/other.png", "ig/mine.png")
    assert [file.read_text() for file in foreign] == ["mine"] * 4


def test_cells_of_other_splits_never_enter(tmp_path: Path) -> None:
    listing = data_set(tmp_path / "cells")
    train, val = (listing.root / split / "ig" / "ig_0.bmp" for split in ("train", "val"))
    train.write_bytes(val.read_bytes())
    done = balance(listing, tmp_path / "out")
    assert done.left_out == ("train/ig/ig_0.bmp",)
    assert done.after.tolist() == [4, 4, 4]
    validation = {read_image(listing.root / path).tobytes() for path in listing.paths if path.startswith("val/")}
    assert not validation & {read_image(file).tobytes() for file in tmp_path.glob("out/*/*.png")}


def test_balancing_before_splitting_is_refused(tmp_path: Path) -> None:
    listing = data_set(tmp_path / "cells")
    unsplit = replace(listing, splits=np.full(len(listing), -1, np.int8))
    with pytest.raises(UserError, match=r"has no training set: balancing before splitting would put copies .* Split first"):
        balance(unsplit, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def without_training(listing: CellListing, label: int) -> npt.NDArray[np.int8]:
    """Move the training cells of a class to the validation part."""
    return np.where((listing.labels == label) & (listing.splits == 0), 1, listing.splits).astype(np.int8)


def test_what_cannot_be_balanced_is_refused(tmp_path: Path) -> None:
    listing, out = data_set(tmp_path / "cells"), tmp_path / "out"
    with pytest.raises(UserError, match="class monocyte has none"):
        balance(replace(listing, splits=without_training(listing, 1)), out)
    with pytest.raises(UserError, match=r"class '\.\./ig' cannot be the name of a folder"):
        balance(replace(listing, class_names=("../ig", "monocyte", "platelet")), out)
    for name in (".ig", "i" * 256, "a/b"):
        with pytest.raises(UserError, match=rf"class '{name}' cannot be the name of a folder.*--data.balance oversample"):
            balance(replace(listing, class_names=(name, "monocyte", "platelet")), out)
    with pytest.raises(UserError, match=r"the class 'a\\x1b' has control characters"):
        balance(replace(listing, class_names=("a\x1b", "monocyte", "platelet")), out)
    with pytest.raises(UserError, match="augmentation 'none' changes nothing, the copies would be byte-identical"):
        balance(listing, out, "none")
    with pytest.raises(UserError, match="is inside the data set"):
        balance(listing, listing.root / "Balanced_Train")
    assert not out.exists()


def test_a_damaged_source_is_named(tmp_path: Path) -> None:
    listing = data_set(tmp_path / "cells")
    (listing.root / "train" / "ig" / "ig_1.jpg").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"ig_1\.jpg is not an image.*data audit"):
        balance(listing, tmp_path / "out")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"file/out cannot be written \(Not a directory\); free space"):
        balance(data_set(tmp_path / "cells"), tmp_path / "file" / "out")


def test_long_and_foreign_names(tmp_path: Path) -> None:
    listing = data_set(tmp_path / "cells")
    long = "é細胞" * 27  # 243 bytes
    for name, source in ((f"{long}.bmp", "ig_0.bmp"), ("zwei Wörter, ein Komma.bmp", "ig_2.bmp")):
        (listing.root / "train" / "ig" / source).rename(listing.root / "train" / "ig" / name)
    done = balance(list_folder(listing.root), tmp_path / "out")
    assert done.written == 15
    assert any(row["source"] == f"train/ig/{long}.bmp" for row in manifest(tmp_path / "out"))
    write_set(list_folder(listing.root), "train", tmp_path / "train")
    assert len(list(tmp_path.glob("train/*/*"))) == len(list(listing.root.glob("train/*/*")))
