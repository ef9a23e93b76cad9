"""Cells of several laboratories: joined with their own sets and classes, drawn equally, or one left out."""

import csv
from pathlib import Path

import numpy as np
import pytest

from bcc_lightning.balancing.balance import balance_cells
from bcc_lightning.datamodules import CellFolder, CellTable, Mixed
from bcc_lightning.datasets.classes import WHITE_CELL_CLASSES
from bcc_lightning.datasets.splits import TEST
from bcc_lightning.errors import UserError
from tests.datamodules.miniatures import write_folder


@pytest.fixture
def sets(tmp_path: Path) -> list[str]:
    """One laboratory without sets and with 100 cells, one with its own test set, fewer classes and another spelling."""
    write_folder(tmp_path / "north", WHITE_CELL_CLASSES, per_class=20)
    for seed, part in enumerate(("train", "test"), start=1):
        write_folder(tmp_path / "south" / part, WHITE_CELL_CLASSES[:3], 6, seed, basophil="Basophils")
    return [str(tmp_path / "north"), str(tmp_path / "south")]


def test_each_laboratory_is_in_every_set(sets: list[str]) -> None:
    data = Mixed(sets=sets, image_size=24)
    assert data.class_names == WHITE_CELL_CLASSES
    assert data.listing.laboratory_names == ("north", "south")
    found = {name: np.bincount(cells.laboratories, minlength=2).tolist() for name, cells in data.splits.items()}  # type: ignore[arg-type]
    # A tenth and a fifth of the 100 cells of the north; of the south's own test set nothing is lost, and a tenth of 36 validates.
    assert found == {"train": [70, 14], "val": [10, 4], "test": [20, 18]}
    assert {cell.split("/")[0] for cell in data.splits["test"].ids} == {"north", "south"}
    assert data.identity() == Mixed(sets=sets[::-1], image_size=24).identity()


def test_one_is_left_out(sets: list[str]) -> None:
    data = Mixed(sets=sets, image_size=24, leave_out="North")
    assert {cell.split("/")[0] for cell in data.splits["test"].ids} == {"north"}
    assert len(data.splits["test"]) == 100
    assert {cell.split("/")[0] for name in ("train", "val") for cell in data.splits[name].ids} == {"south"}  # type: ignore[index]
    assert len(data.splits["train"]) + len(data.splits["val"]) == 18  # the south's own test cells are not used
    assert (
        data.facts()["data.laboratories"] == "north (100 test), south (15 training, 3 validation)"
    )  # a tenth of 18, but one of each class


def test_a_rare_class_of_one_laboratory_stays_in_training(sets: list[str], tmp_path: Path) -> None:
    write_folder(tmp_path / "east", WHITE_CELL_CLASSES[1:], 10, seed=3)
    write_folder(tmp_path / "east", WHITE_CELL_CLASSES[:1], 1, seed=4)
    data = Mixed(sets=[sets[0], str(tmp_path / "east")], image_size=24)
    alone = WHITE_CELL_CLASSES[0]
    found = {name: np.sum((cells.laboratories == 1) & (cells.labels == 0)) for name, cells in data.splits.items()}
    assert found == {"train": 1, "val": 0, "test": 0}
    assert all((cells.laboratories == 1).any() for cells in data.splits.values())
    # One that is left out is not divided at all: one cell of a class is no hindrance.
    write_folder(tmp_path / "west", WHITE_CELL_CLASSES[:2], 1, seed=5)
    left_out = Mixed(sets=[sets[0], str(tmp_path / "west")], image_size=24, leave_out="west")
    assert np.bincount(left_out.splits["test"].labels).tolist() == [1, 1]
    with pytest.raises(UserError, match=r"--data\.leave_out and --data\.split_file both say which cells are tested"):
        Mixed(sets=sets, leave_out="south", split_file="split.csv")
    # Alone, the same folder cannot be divided, and the message names the class.
    with pytest.raises(UserError, match=f"{alone} has 1"):
        _ = CellFolder(root=str(tmp_path / "east"), image_size=24).splits


def test_of_another_laboratory_only_published_sets_are_kept_back(sets: list[str]) -> None:
    """Without its own test set, a laboratory that is not left out trains and validates with all its cells."""
    data = Mixed(sets=sets, image_size=24, leave_out="south")
    found = {name: np.bincount(cells.laboratories, minlength=2).tolist() for name, cells in data.splits.items()}  # type: ignore[arg-type]
    assert found == {"train": [90, 0], "val": [10, 0], "test": [0, 36]}
    assert not any("The data set has no" in notice for notice in data.notices())
    # What an evaluation reads: the south's 18 published test cells, and nothing that only a division would choose.
    assert Mixed(sets=sets, image_size=24).cells.splits.tolist().count(TEST) == 18  # type: ignore[union-attr]


def test_the_size_of_the_laboratory_that_is_left_out_does_not_matter(tmp_path: Path) -> None:
    def sizes(cells: int) -> tuple[int, int]:
        folder = write_folder(tmp_path / str(cells), WHITE_CELL_CLASSES, per_class=max(cells // 5, 12))
        files = sorted(folder.rglob("*.png"))
        rows = [
            (file.relative_to(tmp_path), file.parent.name, "small" if number % 12 < 4 else "big")
            for number, file in enumerate(files)
        ]
        with (tmp_path / f"{cells}.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([("path", "label", "laboratory"), *rows])
        data = CellTable(table=str(tmp_path / f"{cells}.csv"), image_size=24, leave_out="big")
        return len(data.splits["train"]), len(data.splits["val"])

    assert sizes(60) == (15, 5)  # 20 of the small one: a tenth is 2, but one of each class
    assert sizes(300) == (90, 10)


def test_weights_of_cells_are_joined(sets: list[str], tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "west", WHITE_CELL_CLASSES, per_class=6, seed=7)
    with (tmp_path / "west.csv").open("w", newline="") as stream:
        files = [(file.relative_to(tmp_path), file.parent.name, 5) for file in sorted(folder.rglob("*.png"))]
        csv.writer(stream).writerows([("path", "label", "weight"), *files])
    weights = Mixed(sets=[sets[0], str(tmp_path / "west.csv")], image_size=24).cells.weights
    assert sorted(weights.tolist()) == [1.0] * 100 + [5.0] * 30  # type: ignore[union-attr]


def test_laboratories_are_drawn_equally_often() -> None:
    laboratories = np.array([0] * 90 + [1] * 10)
    draws = balance_cells(np.zeros(100, np.int64), 1, "laboratories", laboratories=laboratories).draws
    drawn = np.concatenate([draws.order(0, epoch) for epoch in range(100)])
    share = (laboratories[drawn] == 1).mean()
    assert share == pytest.approx(0.5, abs=0.02)  # 10,000 draws: a standard deviation of 0.005


def test_a_table_says_where_cells_come_from(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "cells", WHITE_CELL_CLASSES, per_class=12)
    rows = [(file.relative_to(tmp_path), file.parent.name) for file in sorted(folder.rglob("*.png"))]

    def write(name: str, laboratory: list[str]) -> str:
        with (tmp_path / name).open("w", newline="") as stream:
            csv.writer(stream).writerows(
                [("path", "label", "laboratory"), *((*row, lab) for row, lab in zip(rows, laboratory, strict=True))]
            )
        return str(tmp_path / name)

    two = write("two.csv", [("Lab A", "lab a ", "B")[number % 3] for number in range(len(rows))])
    data = CellTable(table=two, image_size=24, leave_out="b", balance="laboratories")
    assert data.listing.laboratory_names == ("Lab A", "B")
    assert len(data.splits["test"]) == 20
    with pytest.raises(
        UserError, match=r"--data.balance laboratories needs training cells of two laboratories or more, 1 is known"
    ):
        _ = data.balancing
    one = write("one.csv", ["A"] * len(rows))
    with pytest.raises(UserError, match=r"--data.leave_out A: cells of two laboratories or more are needed, one, A is named"):
        _ = CellTable(table=one, leave_out="A").listing
    with pytest.raises(UserError, match=r"--data.leave_out C is none of the laboratories Lab A, B"):
        _ = CellTable(table=two, leave_out="C").listing


def test_a_patient_of_two_laboratories_is_in_no_test_of_one(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "cells", WHITE_CELL_CLASSES, per_class=12)
    files = [file.relative_to(tmp_path) for file in sorted(folder.rglob("*.png"))]
    with (tmp_path / "two.csv").open("w", newline="") as stream:
        rows = [(file, file.parent.name, "AB"[number % 2], f"P{number % 3}") for number, file in enumerate(files)]
        csv.writer(stream).writerows([("path", "label", "laboratory", "group"), *rows])
    with pytest.raises(
        UserError, match=r"--data\.leave_out A: the patient or slide P0 has cells in this laboratory and in another"
    ):
        _ = CellTable(table=str(tmp_path / "two.csv"), leave_out="A").listing


def test_sets_that_cannot_be_joined(sets: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="south holds the class lymphocyte, which is not among basophil, eosinophil; add it to"):
        _ = Mixed(sets=sets[::-1], classes=["basophil", "eosinophil"]).listing
    twins = [str(write_folder(tmp_path / name, WHITE_CELL_CLASSES, per_class=2)) for name in ("lab01", "lab1")]
    with pytest.raises(UserError, match=r"--data\.sets: two of the laboratories lab01, lab1 have the same name"):
        _ = Mixed(sets=twins).listing
    with pytest.raises(UserError, match=r"--data\.root elsewhere has no place beside --data\.sets"):
        Mixed(sets=sets, root="elsewhere")
    with pytest.raises(UserError, match=r"--data\.sets names 1 laboratories, at least two are needed"):
        _ = Mixed(sets=sets[:1]).listing
    with pytest.raises(UserError, match=r"--data\.sets .*nowhere: neither"):
        _ = Mixed(sets=[*sets, str(tmp_path / "nowhere")]).listing
    with pytest.raises(UserError, match="north holds the class neutrophil, which is not among"):
        _ = Mixed(sets=sets, classes=["basophil", "eosinophil", "lymphocyte", "monocyte"]).listing
