"""``python -m bcc_lightning.data``: what it writes, its exit codes, its errors."""

import json
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from bcc_lightning.data import main
from bcc_lightning.datamodules import CellFolder
from tests.datamodules.miniatures import write_folder
from tests.miniature import write_miniature_bloodmnist

CLASSES = ("lymphocyte", "monocyte")
COARSE = 150  # pixels of a figure in tests, which are drawn with a quarter of the usual ones


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes, one of them rare: 18 lymphocytes and 30 monocytes."""
    write_folder(tmp_path / "cells", CLASSES, per_class=18)
    return write_folder(tmp_path / "cells", ("monocyte",), per_class=12, seed=3)


def test_describe_says_what_training_would_use(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "--root", str(root), "--out", "described"]) == 0
    described = json.loads(Path("described/describe.json").read_text())
    assert described["classes"] == list(CLASSES)
    assert [sum(counts) for counts in zip(*described["counts"].values(), strict=True)] == [18, 30]
    split = pd.read_csv("described/split.csv")
    assert split["split"].value_counts()["train"] == sum(described["counts"]["train"])
    for figure in ("class_counts", "samples"):
        assert Image.open(f"described/{figure}.png").width > COARSE
    assert described["split.sha256"] in capsys.readouterr().out


def test_describe_takes_a_data_set_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_miniature_bloodmnist(tmp_path / "bloodmnist")
    flags = ["--data.root", str(folder), "--data.image_size", "28", "--data.verify_checksum", "false"]
    assert main(["describe", "--data", "BloodMNIST", *flags]) == 0
    assert "data.official: false" in capsys.readouterr().out


def test_balance_writes_a_data_set_that_can_be_trained_on(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["balance", "--root", str(root), "--data.image_size", "32", "--out", "balanced"]) == 0
    source = CellFolder(root=str(root), image_size=32)
    data = CellFolder(root="balanced", image_size=32)
    assert data.is_balanced_folder
    largest = source.splits["train"].counts(2).max()
    assert data.splits["train"].counts(2).tolist() == [largest, largest]
    for part in ("val", "test"):
        found = {image.tobytes() for image in data.splits[part].take(slice(None))}  # type: ignore[index]
        assert found == {image.tobytes() for image in source.splits[part].take(slice(None))}  # type: ignore[index]
    before = {file: file.stat().st_mtime_ns for file in Path("balanced").rglob("*.png")}
    capsys.readouterr()
    assert main(["balance", "--root", str(root), "--data.image_size", "32", "--out", "balanced"]) == 0
    assert "0 files written" in capsys.readouterr().out
    assert {file: file.stat().st_mtime_ns for file in Path("balanced").rglob("*.png")} == before


def test_balance_does_not_lose_the_size_of_the_pixels(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sized = ["--root", str(root), "--data.image_size", "32", "--data.pixel_size", "0.25"]
    assert main(["balance", *sized, "--out", "balanced"]) == 0
    assert "--data CellFolder --data.root balanced --data.pixel_size 0.25" in " ".join(capsys.readouterr().out.split())
    files = sorted(file.relative_to(root) for file in root.rglob("*.png"))
    rows = [f"{file},{file.parent.name},{0.1 if number % 2 else 0.2}" for number, file in enumerate(files)]
    (root / "cells.csv").write_text("\n".join(["path,label,pixel_size", *rows]))
    table = ["--data", "CellTable", "--data.table", str(root / "cells.csv"), "--data.image_size", "32"]
    assert main(["balance", *table, "--out", "mixed"]) == 2
    assert "pixels of several sizes, which a folder cannot tell" in capsys.readouterr().err
    assert not Path("mixed").exists()


def test_an_unfinished_balanced_folder_is_not_trained_on(root: Path) -> None:
    assert main(["balance", "--root", str(root), "--data.image_size", "32", "--out", "balanced"]) == 0
    Path("balanced/Balanced_Train/manifest.csv").unlink()
    assert main(["describe", "--root", "balanced"]) == 2


def test_preview_draws_a_sheet(root: Path) -> None:
    assert main(["preview", "--root", str(root), "--augment", "[light, stain]", "--draws", "2", "--out", "sheet.png"]) == 0
    assert Image.open("sheet.png").width > COARSE


@pytest.mark.slow
def test_audit_fails_where_a_test_cell_is_trained_on(root: Path, tmp_path: Path) -> None:
    for seed, part in enumerate(("train", "val", "test")):
        write_folder(tmp_path / "divided" / part, CLASSES, per_class=20, seed=seed)
    flags = ["--root", str(tmp_path / "divided"), "--thresholds.suspect_labels", "1", "--thresholds.border_above_chance", "1"]
    flags += ["--thresholds.colour_above_chance", "1", "--thresholds.outliers", "1", "--thresholds.file_above_chance", "1"]
    assert main(["audit", *flags, "--out", "clean"]) == 0
    tested = next((tmp_path / "divided" / "test" / "monocyte").iterdir())
    Image.open(tested).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "divided" / "train" / "monocyte" / "turned.png")
    assert main(["audit", *flags, "--out", "leaky"]) == 1
    report = json.loads(Path("leaky/audit.json").read_text())
    assert [sorted(pair["paths"]) for pair in report["near_identical"]] == [
        sorted(["train/monocyte/turned.png", tested.relative_to(tmp_path / "divided").as_posix()])
    ]
    assert Path("leaky/audit.html").stat().st_size > 1000


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["audti"], "data command 'audti' does not exist; did you mean audit? There are: describe, audit, balance, preview"),
        (["audit"], "--out PATH is missing: folder that is written. Example: python -m bcc_lightning.data audit --root cells"),
        (["audit", "--out", "x"], "name a folder with --root DIR, or a data set with --data NAME"),
        (["audit", "--root", "nowhere", "--out", "x"], "nowhere does not exist"),
        (["describe", "--data", "Raabin"], "class 'Raabin' is not known; did you mean RaabinWBC? There are: AN2DL, BloodMNIST"),
        (["describe", "--root", "x", "--data.colour", "red"], "key 'data.colour' is not known"),
        (["balance", "--data", "SyntheticSmear", "--out", "x"], "SyntheticSmear is no folder of images"),
    ],
)
def test_mistakes(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_what_is_written_needs_a_place(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preview", "--root", str(root)]) == 2
    assert "--out PATH is missing: PNG file or folder that is written" in capsys.readouterr().err
