"""What is said of a data set before training; counts are worked out by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bcc_lightning.data import main as data_main
from bcc_lightning.datamodules import AN2DL, CellFolder, CellTable
from bcc_lightning.datasets.listing import NO_SPLIT
from bcc_lightning.datasets.splits import cut_notices, group_notices, set_notices
from bcc_lightning.fit import main as fit_main
from tests.datamodules.miniatures import an2dl, write_folder
from tests.miniature import QUICK

TRAIN, VAL, TEST = 0, 1, 2


def codes(*values: int) -> np.ndarray[Any, np.dtype[np.int8]]:
    return np.array(values, np.int8)


def test_classes_that_a_set_lacks() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2, 2, 3])
    found = set_notices(labels, codes(TRAIN, VAL, TEST, TRAIN, TEST, VAL, TEST, TRAIN), ["a", "b", "rare", "d\n", "none"])
    assert list(found) == [
        "Class rare has no training cells (cells: 1 in the validation set, 1 in the test set): it cannot be learned.",
        "Class none has no training cells (no cells in any set): it cannot be learned.",
        r"The validation set has no cells of classes b, 'd\n', none; its metrics do not cover them.",
        r"The test set has no cells of classes 'd\n', none; its metrics do not cover them.",
    ]


def test_nothing_is_said_of_sets_that_hold_all_classes_or_that_do_not_exist() -> None:
    labels = np.arange(6) % 2
    assert list(set_notices(labels, codes(0, 0, 1, 1, 2, 2), ["a", "b"])) == []
    assert list(set_notices(labels, codes(0, 0, 0, 0, 2, 2), ["a", "b"])) == []
    assert list(set_notices(labels, codes(*[NO_SPLIT] * 6), ["a", "b"])) == []


def test_classes_of_too_few_groups() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    groups = np.array([0, 1, 2, 3, 3, 3, 2, 3])
    names = ["P1", "P2", "P3", "P4"]
    assert list(group_notices(labels, groups, ["a", "b", "c", "empty"], names, 3)) == [
        "The 3 cells of class b belong to one group, P4: 2 of 3 sets or folds cannot contain any.",
        "The 2 cells of class c belong to 2 groups (P3, P4): 1 of 3 sets or folds cannot contain any.",
    ]


def test_sets_that_are_cut() -> None:
    published = codes(TRAIN, TRAIN, TRAIN, TEST)
    assert list(cut_notices(published, codes(TRAIN, VAL, VAL, TEST))) == [
        "The data set has no validation set: 2 of its cells were cut for it."
    ]
    assert list(cut_notices(codes(*[NO_SPLIT] * 3), codes(TRAIN, VAL, TEST))) == []


@pytest.fixture
def rare(tmp_path: Path) -> Path:
    """A table of two classes of twelve patients, and a third one of a single patient, under two spellings."""
    root = write_folder(tmp_path / "cells", ("lymphocyte", "monocyte"), per_class=24)
    write_folder(root, ("basophil",), per_class=4, seed=5)
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    rows = pd.DataFrame({"path": files, "label": [file.split("/")[0] for file in files]})
    rows["group"] = [f"P{number % 12}" for number in range(len(rows))]
    rows.loc[rows["label"] == "basophil", "group"] = ["P3", "p3", "P03", "P3 "]
    rows.to_csv(root / "cells.csv", index=False)
    (root / "lymphocyte" / "more.png").write_bytes((root / files[-1]).read_bytes())
    return root


@pytest.mark.slow
def test_a_class_of_one_patient_is_said_by_describe_audit_and_fit(rare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = CellTable(root=str(rare), image_size=32)
    (row,) = {code for code in data.codes[data.cells.labels == 0].tolist()}
    lacking = {"validation": VAL, "test": TEST}
    groups = "The groups 'P03' (1 cells), 'P3' (5 cells), 'P3 ' (1 cells) and 'p3' (1 cells) are read as one, P3."
    expected = {
        groups,
        "Left out: 1 image that the table does not name, e.g. lymphocyte/more.png.",
        "The 4 cells of class basophil belong to one group, P3: 2 of 3 sets or folds cannot contain any.",
        *(
            f"The {name} set has no cells of class basophil; its metrics do not cover it."
            for name, code in lacking.items()
            if code != row
        ),
    }
    if row != TRAIN:
        name = "validation" if row == VAL else "test"
        expected.add(f"Class basophil has no training cells (cells: 4 in the {name} set): it cannot be learned.")
    assert set(data.notices()) == expected
    flags = ["--data", "CellTable", "--data.root", str(rare), "--data.image_size", "32"]
    assert data_main(["describe", *flags, "--out", "described"]) == 0
    assert expected <= set(capsys.readouterr().out.splitlines())
    assert set(json.loads(Path("described/describe.json").read_text())["notices"]) == expected
    data_main(["audit", *flags, "--out", "audited"])
    assert groups in capsys.readouterr().out.splitlines()
    assert groups in json.loads(Path("audited/audit.json").read_text())["notes"]
    assert "are read as one, P3." in Path("audited/audit.html").read_text()
    assert fit_main(["--exp", "an2dl_cnn", *flags, *QUICK, "--trainer.max_epochs", "1"]) == 0
    assert expected <= set(capsys.readouterr().out.splitlines())


def test_copies_are_said_and_those_with_two_labels_apart(tmp_path: Path) -> None:
    root = write_folder(tmp_path, ("lymphocyte", "monocyte"))
    first = next((root / "lymphocyte").iterdir())
    (root / "lymphocyte" / "z.png").write_bytes(first.read_bytes())
    second = next((root / "monocyte").iterdir())
    (root / "lymphocyte" / "zz.png").write_bytes(second.read_bytes())
    notices = CellFolder(root=str(root), image_size=32).notices()
    assert [notice.partition(", e.g.")[0] for notice in notices] == [
        "Left out: 3 byte-identical copies, 2 of them because the same file has two labels"
    ]


def test_data_sets_in_one_file_say_what_their_sets_lack(tmp_path: Path) -> None:
    assert an2dl(tmp_path / "a").notices() == ["Left out: 33 images that are not cells, copies, or cells with several labels."]
    assert AN2DL(root=str(tmp_path / "a"), keep_outliers=True, image_size=32).notices() == []
