"""A resumed run has the same cells in the same sets, or is refused with what differs."""

from pathlib import Path

import pytest

from bcc_lightning.datamodules import CellFolder
from bcc_lightning.datasets.split_file import write_split
from bcc_lightning.errors import UserError
from bcc_lightning.files import write_json
from bcc_lightning.tracking.resume import refuse_other_data
from tests.datamodules.miniatures import write_folder

CLASSES = ("lymphocyte", "monocyte")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ten cells of each class, and what a run that began with them has recorded."""
    root = write_folder(tmp_path / "cells", CLASSES, per_class=10)
    write_split(read(root).splits, tmp_path / "split.csv")
    write_json(tmp_path / "data.json", read(root).record())
    return root


def read(root: Path, **arguments: int) -> CellFolder:
    data = CellFolder(root=str(root), image_size=32, **arguments)
    data.prepare_data()
    data.setup("fit")
    return data


def refusal(root: Path, data: CellFolder) -> str:
    with pytest.raises(UserError, match="run 4711 cannot be resumed, since its data have changed: ") as error:
        refuse_other_data("4711", root.parent / "data.json", root.parent / "split.csv", data)
    return str(error.value)


def test_the_same_data_in_another_place(root: Path) -> None:
    root.rename(root.with_name("moved"))
    refuse_other_data("4711", root.parent / "data.json", root.parent / "split.csv", read(root.with_name("moved")))


def test_new_and_missing_cells_are_counted_and_the_first_is_named(root: Path) -> None:
    first, second, *_ = sorted((root / "monocyte").iterdir())
    second.rename(second.with_name("zz.png"))
    first.unlink()
    message = refusal(root, read(root))
    assert "1 cell is new (monocyte/zz.png)" in message
    assert f"2 cells are missing (monocyte/{first.name}, ...)" in message
    assert "--data.root DIR" in message


def test_cells_in_another_set(root: Path) -> None:
    assert "in another set (" in refusal(root, read(root, split_seed=1))


def test_other_pixels_under_the_same_name(root: Path) -> None:
    files = sorted((root / "lymphocyte").iterdir())
    files[0].write_bytes(files[1].read_bytes()[:-1] + b"\x00")
    other = read(root)
    assert refusal(root, other)


def test_components_are_named_where_the_data_tell_them_apart(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"pixels": "1", "labels": "2", "groups": "3"}
    monkeypatch.setattr(CellFolder, "identity", lambda _: known, raising=False)
    write_json(root.parent / "data.json", read(root).record())
    known = {"pixels": "1", "labels": "5", "groups": "6"}
    assert "labels, groups differ" in refusal(root, read(root))


def test_a_run_that_was_cut_off_before_it_recorded_its_data(root: Path) -> None:
    refuse_other_data("4711", root.parent / "nothing.json", root.parent / "split.csv", read(root, split_seed=1))
