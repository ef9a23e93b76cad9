"""The epoch that was chosen stays the chosen one, wherever the folder is when the run goes on, and whenever it was killed."""

import math
from pathlib import Path

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel

from bcc_lightning.callbacks.checkpoints import BestCheckpoint, StopInTime, epoch_of, selection_callbacks
from bcc_lightning.tracking.run_files import RunFolder


def best_of(folder: RunFolder) -> BestCheckpoint:
    """Build the callback that keeps the best weights."""
    (best,) = (each for each in selection_callbacks(folder, "val/accuracy", "max", 3, "best") if isinstance(each, BestCheckpoint))
    return best


def save(file: Path, epoch: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"epoch": epoch}, file)


def test_state_goes_along_with_the_folder(tmp_path: Path) -> None:
    old, new = RunFolder(tmp_path / "old" / "4711"), RunFolder(tmp_path / "new" / "4711")
    before, after = best_of(old), best_of(new)
    path = str(old.checkpoints / "best.ckpt")
    before.best_model_path = before.kth_best_model_path = path
    before.best_k_models = {path: torch.tensor(0.9)}
    before.best_model_score = before.kth_value = torch.tensor(0.9)
    state = before.state_dict()
    assert str(tmp_path) not in str(state)
    after.load_state_dict(state)
    assert after.best_model_path == after.kth_best_model_path == str(new.checkpoints / "best.ckpt")
    assert after.best_k_models == {after.best_model_path: torch.tensor(0.9)}
    assert (
        after.best_model_score == after.kth_value == 0.9
    )  # Lightning's own forgets them, and the next epoch would count as better


@pytest.mark.parametrize(("on_disk", "last", "kept"), [(5, 4, 2), (4, 4, 4), (2, 4, 2), (None, 4, 2)])
def test_weights_that_were_written_after_the_last_state_are_taken_back(
    tmp_path: Path, on_disk: int | None, last: int, kept: int
) -> None:
    folder = RunFolder(tmp_path / "4711")
    folder.create()
    best = folder.checkpoints / "best.ckpt"
    if on_disk is not None:
        save(best, on_disk)
    save(folder.state / "best_before.ckpt", 2)
    save(folder.last_checkpoint, last)
    callback = best_of(folder)
    callback.best_model_path = str(best)
    callback.on_train_start(Trainer(logger=False, barebones=True), BoringModel())
    assert epoch_of(best) == kept


def test_the_patience_given_now_counts_and_epochs_are_counted_without_one() -> None:
    unlimited = StopInTime("val/accuracy", "max", None)
    assert unlimited.patience == math.inf
    unlimited.wait_count = 4
    patient, short = StopInTime("val/accuracy", "max", 9), StopInTime("val/accuracy", "max", 2)
    for callback, stops in ((patient, False), (short, True)):
        callback.load_state_dict(unlimited.state_dict())
        trainer = Trainer(logger=False, barebones=True)
        callback.on_train_start(trainer, BoringModel())
        assert trainer.should_stop is stops
