"""Which flags a resumed run takes, and which it refuses by name."""

from pathlib import Path

import pytest
import torch

from bcc_lightning.errors import UserError
from bcc_lightning.tracking.recipe import Progress, refuse_changes

STORED = {
    "seed_everything": "0",
    "model.class_path": "TransferClassifier",
    "model.lr": "0.001",
    "model.schedule": "constant",
    "model.warmup_epochs": "0.0",
    "model.average": "none",
    "model.test_time": "none",
    "data.class_path": "CellFolder",
    "data.root": "d",
    "data.batch_size": "32",
    "data.test_on": "[]",
    "data.class_map": "None",
    "trainer.max_epochs": "30",
    "trainer.max_steps": "-1",
    "trainer.max_time": "None",
    "trainer.devices": "auto",
    "trainer.precision": "None",
    "trainer.enable_progress_bar": "None",
    "selection.patience": "5",
    "selection.monitor": "val/accuracy",
    "tracking.folder": "mlruns",
    "tracking.experiment": "bcc_lightning",
    "stages": "[]",
}

AFTER_TEN = Progress(epochs=10, steps=500)


def resume(progress: Progress = AFTER_TEN, stored: dict[str, str] | None = None, **given: str) -> None:
    """Check flags of a resumed run; names have `__` for a dot."""
    before = {**STORED, **(stored or {})}
    flags = {name.replace("__", "."): value for name, value in given.items()}
    refuse_changes("4711", Path("best.ckpt"), before, {**before, **flags}, progress)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("data.root", "/new/d"),
        ("data.num_workers", "4"),
        ("data.test_on", "['other']"),
        ("data.class_map.NEUT", "neutrophil"),
        ("model.test_time", "flips"),
        ("trainer.max_epochs", "40"),
        ("trainer.max_epochs", "10"),
        ("trainer.max_steps", "500"),
        ("trainer.max_time", "00:01:00:00"),
        ("trainer.devices", "2"),
        ("trainer.enable_progress_bar", "False"),
        ("selection.patience", "None"),
        ("tracking.folder", "/new/mlruns"),
        ("model.lr", "0.001"),
    ],
)
def test_flags_that_take_effect(name: str, value: str) -> None:
    resume(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("model.lr", "0.02", "0.001"),
        ("data.batch_size", "8", "32"),
        ("seed_everything", "1", "0"),
        ("data.split_seed", "3", "None"),
        ("trainer.precision", "bf16-mixed", "None"),
        ("trainer.accumulate_grad_batches", "4", "None"),
        ("trainer.callbacks", "[]", "None"),
        ("selection.monitor", "val/loss", "val/accuracy"),
        ("tracking.experiment", "other", "bcc_lightning"),
        ("stages", "[{'train': 'head'}]", r"\[\]"),
    ],
)
def test_flags_that_would_make_a_second_recipe(name: str, value: str, stored: str) -> None:
    with pytest.raises(
        UserError, match=rf"run 4711 cannot be resumed with --{name} .* \(the run has {stored}\).*start a new run"
    ):
        resume(**{name: value})


@pytest.mark.parametrize(
    ("flags", "stored", "message"),
    [
        ({"trainer.max_epochs": "9"}, {}, "the run has 30: it has trained 10 epochs already"),
        ({"trainer.max_steps": "499"}, {}, "it has trained 500 steps already"),
        ({"trainer.max_epochs": "40"}, {"model.schedule": "cosine"}, "its schedule cosine is laid over the whole training"),
        ({"trainer.max_epochs": "40"}, {"model.schedule": "one_cycle"}, "its schedule one_cycle is laid over the whole training"),
        ({"trainer.max_epochs": "40"}, {"stages": "[Stage]"}, "its stages have their own lengths"),
        ({"selection.patience": "9"}, {"stages": "[Stage]"}, "its stages have their own"),
        ({"trainer.max_epochs": "40"}, {"model.average": "swa"}, "swa begins after a share of the epochs"),
        ({"trainer.devices": "2"}, {"model.schedule": "step"}, "its schedule step counts steps"),
        ({"trainer.devices": "2"}, {"model.warmup_epochs": "2.0"}, "its schedule constant counts steps"),
    ],
)
def test_flags_that_depend_on_the_rest(flags: dict[str, str], stored: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        resume(stored=stored, **flags)


@pytest.mark.parametrize(
    ("given", "is_the_same"),
    [
        ("id,split\nb,test\na,train\nc,val\n", True),
        ("id,split\na,test\nb,test\n", False),
        ("id,split\na,train\n", False),
        ("", False),
    ],
)
def test_a_split_file_may_have_moved_but_not_changed(tmp_path: Path, given: str, is_the_same: bool) -> None:
    (tmp_path / "filed.csv").write_text("id,split\na,train\nb,test\n")
    (tmp_path / "given.csv").write_text(given)
    flags = {"data.split_file": str(tmp_path / "given.csv")}
    arguments = ("4711", Path("best.ckpt"), STORED, {**STORED, **flags}, AFTER_TEN, tmp_path / "filed.csv")
    if is_the_same:
        return refuse_changes(*arguments)
    with pytest.raises(UserError, match=r"--data\.split_file"):
        refuse_changes(*arguments)
    return None


def test_all_refused_flags_are_named_and_another_class_alone() -> None:
    with pytest.raises(UserError, match=r"--model.lr 1 .*; --data.batch_size 8 .*without these flags"):
        resume(**{"model.lr": "1", "data.batch_size": "8"})
    with pytest.raises(UserError) as error:
        resume(**{"data.class_path": "PBC", "data.split": "wbcatt", "data.root": "elsewhere"})
    assert "--data PBC (the run has CellFolder)" in str(error.value)
    assert "data.split" not in str(error.value)


def test_a_run_that_waits_to_be_sent_takes_only_where_it_is_kept() -> None:
    waiting = Progress(is_complete=True)
    resume(waiting, **{"tracking.uri": "http://server"})
    with pytest.raises(UserError, match=r"--trainer.max_epochs 40 .*it has finished and only waits to be sent"):
        resume(waiting, **{"trainer.max_epochs": "40"})


def test_folds_that_are_left_are_not_trained_otherwise_than_those_that_have_finished() -> None:
    resume(Progress(), **{"trainer.max_epochs": "40"})
    resume(Progress(finished_folds=2), **{"data.root": "elsewhere"})
    with pytest.raises(UserError, match=r"--trainer.max_epochs 40 .*the folds that have finished were trained with it"):
        resume(Progress(finished_folds=2), **{"trainer.max_epochs": "40"})


def test_progress_is_read_from_the_last_states(tmp_path: Path) -> None:
    for epoch in (3, 7):
        torch.save({"epoch": epoch, "global_step": 50 * epoch}, tmp_path / f"{epoch}.ckpt")
    assert Progress.of([tmp_path / "3.ckpt", tmp_path / "7.ckpt", tmp_path / "gone.ckpt"]) == Progress(8, 350)
    assert Progress.of([]) == Progress()
