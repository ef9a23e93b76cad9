"""Training on a few cells of each class: which are drawn, of whom, and that none of them is tested on."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from bcc_lightning.datamodules import CellFolder
from bcc_lightning.datasets.classes import WHITE_CELL_CLASSES
from bcc_lightning.datasets.few_shot import FewShot, draw_few
from bcc_lightning.errors import UserError
from tests.datamodules.miniatures import write_folder

LABELS = np.array([0] * 6 + [1] * 3 + [3] * 1)


@pytest.mark.parametrize(("given", "place"), [(5, None), ("5", None), ("a:b/lab.csv:5", "a:b/lab.csv")])
def test_what_is_asked_for(given: str | int, place: str | None) -> None:
    assert FewShot.of(given) == FewShot(5, place)


@pytest.mark.parametrize("given", [0, -1, "", "lab.csv", "lab.csv:", "lab.csv:0", "lab.csv:ten", "lab.csv:-3", ":", "１０"])
def test_what_is_no_number_of_cells(given: str | int) -> None:
    with pytest.raises(UserError, match=r"--data.few_shot is .*, it must be a number"):
        FewShot.of(given)


def test_so_many_of_each_class_are_drawn_and_a_larger_draw_holds_a_smaller_one() -> None:
    few, more = draw_few(LABELS, 2, seed=5), draw_few(LABELS, 4, seed=5)
    assert np.bincount(LABELS[few]).tolist() == [2, 2, 0, 1]
    assert np.bincount(LABELS[more]).tolist() == [4, 3, 0, 1]
    assert set(few) < set(more)
    assert any(set(draw_few(LABELS, 2, seed)) != set(few) for seed in range(5))


def test_at_most_half_of_a_class_is_drawn_where_the_others_are_tested_on() -> None:
    assert np.bincount(LABELS[draw_few(LABELS, 9, seed=0, share=0.5)]).tolist() == [3, 1, 0, 1]


def test_of_the_own_training_set(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "own", WHITE_CELL_CLASSES, per_class=20)
    whole, few = CellFolder(root=str(root), image_size=24), CellFolder(root=str(root), image_size=24, few_shot=3)
    assert few.splits["train"].counts(5).tolist() == [3] * 5
    assert set(few.splits["train"].ids) < set(whole.splits["train"].ids)
    assert list(few.splits["test"].ids) == list(whole.splits["test"].ids)
    # The same division: a network that was trained on all cells may be the start of a training on a few.
    assert few.facts()["split.sha256"] == whole.facts()["split.sha256"]
    assert few.facts()["data.few_shot"] == "3 cells of each class"
    many = CellFolder(root=str(root), image_size=24, few_shot=99)
    assert any(notice.startswith("Fewer than 99 cells could be drawn of: basophil 14") for notice in many.notices())
    with pytest.raises(UserError, match="exclude one another"):
        CellFolder(root=str(root), few_shot=3, folds=4)


def test_of_another_laboratory(tmp_path: Path) -> None:
    own = write_folder(tmp_path / "own", WHITE_CELL_CLASSES, per_class=20)
    lab = write_folder(tmp_path / "lab", WHITE_CELL_CLASSES[:3], per_class=9, seed=7)
    data = CellFolder(root=str(own), image_size=24, few_shot=f"{lab}:4")
    data.setup()
    trained, tested = data.splits["train"], data.external["lab"]
    assert trained.counts(5).tolist() == [4, 4, 4, 0, 0]
    assert tested.counts(5).tolist() == [5, 5, 5, 0, 0]
    assert not set(trained.ids) & set(tested.ids)
    assert set(data.splits["test"].ids) == set(CellFolder(root=str(own), image_size=24).splits["test"].ids)
    assert any(notice == "lab: Fewer than 4 cells could be drawn of: monocyte 0, neutrophil 0." for notice in data.notices())
    both = CellFolder(root=str(own), image_size=24, few_shot=f"{lab}:4", test_on=[str(lab)])
    with pytest.raises(UserError, match=r"--data.test_on and --data.few_shot both name lab"):
        both.setup()
    copied = shutil.copytree(lab, tmp_path / "elsewhere")
    with pytest.raises(
        UserError, match=r"--data.test_on: 12 of the 27 cells of elsewhere are among those of lab that --data.few_shot trains on"
    ):
        CellFolder(root=str(own), image_size=24, few_shot=f"{lab}:4", test_on=[str(copied)]).setup()


def test_a_patient_is_not_in_both(tmp_path: Path) -> None:
    own = write_folder(tmp_path / "own", WHITE_CELL_CLASSES, per_class=20)
    lab = write_folder(tmp_path / "lab", WHITE_CELL_CLASSES, per_class=12, seed=7)
    table = tmp_path / "lab.csv"
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "group"])
        for number, file in enumerate(sorted(lab.rglob("*.png"))):
            writer.writerow([file.relative_to(tmp_path), file.parent.name, f"P{number % 6}"])
    data = CellFolder(root=str(own), image_size=24, few_shot=f"{table}:2")
    trained, tested = data.splits["train"], data.external["lab"]
    assert trained.groups is not None
    assert tested.groups is not None
    assert trained.counts(5).tolist() == [2] * 5
    assert not set(trained.groups.tolist()) & set(tested.groups.tolist())
    assert len(set(tested.groups.tolist())) == 3  # half of six patients
    lines = table.read_text().splitlines()
    sets = ["split", *(("train", "test")[number % 4 == 0] for number in range(len(lines) - 1))]
    table.write_text("".join(f"{line},{part}\n" for line, part in zip(lines, sets, strict=True)))
    with pytest.raises(UserError, match=r"--data\.few_shot .*lab\.csv: group 0 is in several sets"):
        _ = CellFolder(root=str(own), image_size=24, few_shot=f"{table}:2").splits


def test_the_class_map_may_name_a_class_of_the_few_alone(tmp_path: Path) -> None:
    own = write_folder(tmp_path / "own", WHITE_CELL_CLASSES, per_class=12)
    lab = write_folder(tmp_path / "lab", (*WHITE_CELL_CLASSES[:2], "platelet"), per_class=8, seed=7, platelet="smudge")
    ward = write_folder(tmp_path / "ward", WHITE_CELL_CLASSES[:2], per_class=2, seed=8)
    data = CellFolder(
        root=str(own), image_size=24, few_shot=f"{lab}:4", test_on=[str(ward)], class_map={"smudge": None}, cache_dir="cache"
    )
    data.setup("test")
    assert len(data.splits["train"]) == 8
    assert {name: len(cells) for name, cells in data.external.items()} == {"lab": 8, "ward": 4}
    assert "lab: Left out by --data.class_map: 8 of smudge." in data.notices()
