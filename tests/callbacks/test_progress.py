"""What a training shows while it runs: lines in a file, a bar on a terminal, nothing on other processes."""

import io
import re
import sys
import threading
from typing import Any

import pytest
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping

from bcc_lightning.callbacks import progress
from bcc_lightning.callbacks.progress import TrainingProgress, clock_time
from bcc_lightning.modules.base import CellClassifier
from tests.modules.tiny import BATCHES, TinyClassifier, fit, painted, trainer_with

LINE = r"epoch {}: loss \d\.\d{{4}}, validation accuracy \d\.\d{{4}}, {} images/s, {} s{}"


class Seconds(Callback):
    """Goes on by 2 seconds in each batch of 16 training images and by 1 in the one validation batch; else it stands still."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def on_train_batch_start(self, *_: Any) -> None:
        self.now += 2

    def on_validation_batch_start(self, *_: Any) -> None:
        self.now += 1


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture(autouse=True)
def slow_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave it to the tests when the bar is drawn."""
    monkeypatch.setattr(progress, "TICK_SECONDS", 3600.0)


def train(clock: Seconds, *callbacks: Callback, module: CellClassifier | None = None, **flags: Any) -> TrainingProgress:
    shown = TrainingProgress(clock)
    fit(module or TinyClassifier(), [clock, shown, *callbacks], **{"enable_progress_bar": True, **flags})
    return shown


def test_a_file_gets_one_line_for_each_epoch(clock: Seconds, capsys: pytest.CaptureFixture[str]) -> None:
    """Three batches of 2 seconds and one of 1 second: 8 images a second, 7 seconds for each epoch."""
    train(clock, max_epochs=3)
    said = capsys.readouterr().out
    assert "\r" not in said
    lines = said.splitlines()
    ends = [", 14 s left", r", 7\.0 s left", ""]
    assert len(lines) == len(ends)
    for number, (line, end) in enumerate(zip(lines, ends, strict=True), start=1):
        assert re.fullmatch(LINE.format(f"{number} of 3", 8, r"7\.0", end), line), line


def test_the_figures_are_those_of_the_epoch(clock: Seconds, capsys: pytest.CaptureFixture[str]) -> None:
    class Logged(Callback):
        def __init__(self) -> None:
            self.found: list[tuple[float, float]] = []

        def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self.note(trainer)

        def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            if trainer.current_epoch:
                self.note(trainer)

        def note(self, trainer: Trainer) -> None:
            metrics = trainer.callback_metrics
            self.found.append((float(metrics["train/loss"]), float(metrics["val/accuracy"])))

    logged = Logged()
    train(clock, logged, max_epochs=2)
    shown = re.findall(r"loss (\S+), validation accuracy (\S+),", capsys.readouterr().out)
    assert shown == [(f"{loss:.4f}", f"{accuracy:.4f}") for loss, accuracy in logged.found]


def test_an_epoch_without_validation_has_no_accuracy(clock: Seconds, capsys: pytest.CaptureFixture[str]) -> None:
    train(clock, max_epochs=4, check_val_every_n_epoch=2)
    assert ["validation" in line for line in capsys.readouterr().out.splitlines()] == [False, True, False, True]


def test_a_training_that_stops_early_says_why(clock: Seconds, capsys: pytest.CaptureFixture[str]) -> None:
    stop = EarlyStopping("val/accuracy", mode="max", patience=1, min_delta=1.0)  # no epoch is better by all
    train(clock, stop, max_epochs=9)
    first, second, why = capsys.readouterr().out.splitlines()
    assert first.endswith(", at most 56 s left")  # eight epochs of 7 seconds
    assert second.startswith("epoch 2 of 9: ")
    assert not second.endswith("left")
    assert why == "stopped: 1 epoch without a better validation accuracy"


def test_a_number_of_steps_ends_it(clock: Seconds, capsys: pytest.CaptureFixture[str]) -> None:
    """Six batches are two epochs."""
    train(clock, max_epochs=-1, max_steps=2 * BATCHES)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("epoch 1: ")
    assert first.endswith("7.0 s, 7.0 s left")
    assert second.endswith("7.0 s")


def test_other_processes_are_silent(clock: Seconds, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(Trainer, "is_global_zero", False)
    train(clock, max_epochs=1)
    assert capsys.readouterr().out == ""


def test_a_long_first_epoch_says_once_in_a_file_how_far_it_has_come(clock: Seconds, capsys: pytest.CaptureFixture[str]) -> None:
    class Tick(Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            clock.now += 40 if shown.pace.done == 2 else 0
            shown.tick()

    shown = TrainingProgress(clock)
    fit(TinyClassifier(), [clock, shown, Tick()], max_epochs=2, enable_progress_bar=True)
    said, *epochs = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"epoch 1 of 2: 50 %, loss \d\.\d{3}, 8 images/s, .*left, in all .*", said), said
    assert len(epochs) == 2


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_that_leaves_nothing_but_the_lines(clock: Seconds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())

    class Tick(Callback):
        def on_train_start(self, *_: Any) -> None:
            clock.now += 12  # the first batch is loaded
            shown.tick()

        def on_train_batch_end(self, *_: Any) -> None:
            shown.tick()

        def on_validation_batch_start(self, *_: Any) -> None:
            shown.tick()

    shown = TrainingProgress(clock)
    trainer = trainer_with([clock, shown, Tick()], max_epochs=2, enable_progress_bar=True)
    trainer.fit(TinyClassifier(), painted())
    drawn = [state.strip() for state in re.split(r"[\r\n]+", terminal.getvalue()) if state.strip()]
    assert "loading the first images: 0:12" in drawn
    bars = [re.sub(r"\|.*\||loss \S+", "", state) for state in drawn if state.startswith("epoch 1 of 2 |")]
    # Four batches, the last of validation, which is taken to last a third of 2 seconds; the second epoch lasts as long.
    assert bars[0].endswith("8 images/s, 0:05 left, in all 0:11")
    assert bars[1].endswith("8 images/s, 0:03 left, in all 0:09")
    assert any(bar.endswith("validating, 0:01 left, in all 0:07") for bar in bars), bars
    assert all(len(state) < 100 for state in drawn)
    assert terminal.getvalue().endswith("\r")  # the last bar is wiped out
    lines = [line.rpartition("\r")[2] for line in terminal.getvalue().split("\n")[:-1]]
    assert [line.partition(":")[0] for line in lines] == ["epoch 1 of 2", "epoch 2 of 2"]

    trainer.test(TinyClassifier(), painted(), verbose=False)
    assert "testing |" in terminal.getvalue()


def test_a_training_that_fails_leaves_no_thread(clock: Seconds, capsys: pytest.CaptureFixture[str]) -> None:
    class Fail(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            if trainer.current_epoch == 1:
                raise RuntimeError("in the second epoch")

    before = set(threading.enumerate())
    with pytest.raises(RuntimeError, match="in the second epoch"):
        train(clock, Fail(), max_epochs=3)
    assert [thread.name for thread in set(threading.enumerate()) - before if thread.name == "signs-of-life"] == []
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize(("seconds", "shown"), [(0.4, "0:00"), (38, "0:38"), (723, "12:03"), (3723, "1:02:03")])
def test_a_clock(seconds: float, shown: str) -> None:
    assert clock_time(seconds) == shown
