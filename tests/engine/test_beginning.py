"""What `fit` prints of a run before and after it trains: to a person, among folds, and from Python."""

import re
from pathlib import Path

import pytest

import bcc_lightning as bcc
from bcc_lightning import errors
from bcc_lightning.engine.beginning import cells_of, classes_of, in_list, origin_of
from bcc_lightning.engine.console import SHOWN_NOTES, print_cautions, print_rows
from bcc_lightning.fit import main
from bcc_lightning.tracking.run_files import Summary
from tests.miniature import runs_in

SMALL = [
    *("--exp", "pbc_cnn", "--data", "SyntheticSmear", "--data.image_size", "32", "--data.batch_size", "16"),
    *("--data.train_cells", "48", "--data.val_cells", "24", "--data.test_cells", "37", "--trainer.max_epochs", "2"),
]


def summary_of(cells: dict[str, list[int]], classes: list[str]) -> Summary:
    data = {"data.name": "CellFolder", "data.resolution": "96 native"}
    return Summary("0" * 32, "house", cells=cells, classes=classes, data=data)


def test_the_sets_are_counted() -> None:
    summary = summary_of({"train": [1000, 1], "val": [90, 0], "test": [80, 5], "clinic": [20, 5]}, ["a", "b"])
    counted = "1,001 training, 90 validation and 85 test cells; also tested on clinic (25 cells)"
    assert cells_of(summary) == f"CellFolder, 96 native pixels: {counted}"


def test_few_classes_are_all_listed() -> None:
    summary = summary_of({"train": [1000, 1], "val": [90, 0], "test": [80, 5], "clinic": [20, 5]}, ["basophil", "blast"])
    listed = "2, with their training/validation/test cells: basophil 1,000/90/80, blast 1/0/5"
    assert classes_of(summary).replace("\u00a0", " ") == listed


def test_many_classes_do_not_fill_the_screen() -> None:
    """Of 21 classes with 1 to 21 training cells, the last five are the most frequent, and the first is the rarest."""
    names = [f"class {number}" for number in range(1, 22)]
    summary = summary_of({"train": list(range(1, 22)), "val": [0] * 21, "test": [2] * 21}, names)
    said = classes_of(summary).replace("\u00a0", " ")
    assert said.startswith("21, with their training/validation/test cells: class 21 21/0/2, class 20 20/0/2,")
    assert said.endswith("class 17 17/0/2, 15 more, and the rarest, class 1 1/0/2")


def test_a_long_line_goes_on_below_its_beginning(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "31")
    print_rows([("classes", "one\u00a01/2, two\u00a03/4, three\u00a05/6"), ("empty", ""), ("run", "\x1b[2Jx")])
    assert capsys.readouterr().out == (
        "classes    one 1/2, two 3/4,\n"
        "           three 5/6\n"
        "run        \\x1b[2Jx\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({}, "random weights"),
        ({"network": "random"}, "random weights"),
        ({"cnn": "timm/x, sha256 01", "swin": "timm/x, sha256 01"}, "timm/x"),
        ({"cnn": "random", "swin": "timm/x, sha256 01"}, "cnn: random weights; swin: timm/x"),
    ],
)
def test_where_weights_come_from(weights: dict[str, str], said: str) -> None:
    summary = summary_of({}, [])
    summary.weights = weights
    assert origin_of(summary) == said


@pytest.mark.parametrize(("parts", "said"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")])
def test_parts_are_joined_as_in_a_sentence(parts: list[str], said: str) -> None:
    assert in_list(parts) == said


def test_notes_do_not_fill_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    summary = summary_of({}, [])
    summary.notes = [f"note {number}" for number in range(40)]
    print_cautions(summary)
    *notes, more = capsys.readouterr().out.splitlines()
    assert notes == [f"note {number}" for number in range(SHOWN_NOTES)]
    assert more == f"{40 - SHOWN_NOTES} more such notes are in the report"


@pytest.mark.usefixtures("ready_store")
def test_a_person_is_told_what_is_done_from_the_beginning_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "300")  # no line is broken
    assert main(SMALL) == 0
    said = capsys.readouterr().out
    (run,) = runs_in(tmp_path / "mlruns")
    learnt = run.data.metrics["test/accuracy"] > run.data.metrics["test/most_frequent"]
    predict = rf".*python -m bcc_lightning\.predict FOLDER --run {run.info.run_id[:8]} --out cells\.csv"
    expected = [
        r"loading .* \.\.\. .* s",
        r"reading the cells \.\.\. .* s",
        r"data       SyntheticSmear, 32 native pixels: 48 training, 24 validation and 37 test cells",
        r"classes    8, with their training/validation/test cells: basophil 6/3/5, .*",
        r"network    PlainCNN, [\d,]{7} parameters, all of them trained; starts from random weights",
        r"device     .*",
        r"training   2 epochs of 48 cells in batches of 16; the weights with the best validation accuracy are kept",
        rf"run        {run.info.run_id}, filed in {tmp_path}/mlruns",
        r"epoch 1 of 2: loss .*, validation accuracy .*, .* left",
        r"epoch 2 of 2: loss .*, validation accuracy .*, .* s",
        r"training took .* images/s; the weights of epoch [12] are kept",
        r"testing on the test set \.\.\. .* s",
        r"drawing where the network looked in cells of the test set \.\.\. .* s",
        r"drawing figures, writing the report and filing the run \.\.\. .* s",
        r"filing the network as an MLflow model \.\.\. .* s",
        rf"run {run.info.run_id} finished: test accuracy 0\.\d{{4}} \(95 % interval .* to .*; most frequent class: 0\.1351\) .*",
        r"report     /.*/report\.html",
        rf"next       {predict if learnt else 'this network has learnt nothing: train for more epochs, .*'}",
    ]
    place = 0
    for pattern in expected:
        found = re.compile(rf"^{pattern}$", re.MULTILINE).search(said, place)
        assert found, f"{pattern} is not behind the lines before it in\n{said}"
        place = found.end()
    assert said[place:] == "\n"
    assert "\r" not in said


@pytest.mark.slow
@pytest.mark.usefixtures("ready_store")
def test_each_fold_gets_a_line_for_each_epoch_and_one_for_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--folds", "2"]) == 0
    said = capsys.readouterr().out
    (folds,) = re.findall(r"\nfold 1 of 2\n(.*\n)drawing figures", said, re.DOTALL)
    kinds = [line.partition(":")[0] for line in folds.splitlines() if line]
    assert [re.sub(r"[0-9a-f]{32}", "ID", kind) for kind in kinds] == [
        *("epoch 1 of 2", "epoch 2 of 2", "run ID finished"),
        *("fold 2 of 2", "epoch 1 of 2", "epoch 2 of 2", "run ID finished"),
    ]
    assert said.count("reading the cells") == said.count("all runs ") == said.count("report  ") == 1


@pytest.mark.usefixtures("ready_store")
def test_python_is_told_of_epochs_and_the_result_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(errors, "_commands", 0)
    data = {"class_path": "SyntheticSmear", "image_size": 32, "train_cells": 48, "val_cells": 24, "test_cells": 37}
    bcc.fit("pbc_cnn", data=data, trainer={"max_epochs": 1})
    lines = [line for line in capsys.readouterr().out.splitlines() if line and "test set" not in line and "notes" not in line]
    assert [line.split()[0] for line in lines] == ["epoch", "run", "report"]
