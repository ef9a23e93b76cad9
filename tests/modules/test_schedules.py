"""Learning rates that real trainings are taken with, against torch's own schedules and arithmetic by hand."""

from datetime import timedelta
from math import cos, pi
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR, OneCycleLR, ReduceLROnPlateau

from bcc_lightning.errors import UserError
from tests.modules.tiny import (
    BATCHES,
    PowerCut,
    RateRecorder,
    TinyClassifier,
    fit,
    fit_with_checkpoints,
    same_weights,
)


def rates_of(module: TinyClassifier, **flags: Any) -> list[float]:
    recorder = RateRecorder()
    fit(module, [recorder], **flags)
    return recorder.first_group


def rates_of_torch(schedule: LRScheduler, steps: int) -> list[float]:
    rates = []
    for _ in range(steps):
        rates.append(float(schedule.optimizer.param_groups[0]["lr"]))
        schedule.optimizer.step()
        schedule.step()
    return rates


def test_cosine_rises_over_its_warm_up_and_falls_to_the_end() -> None:
    rates = rates_of(TinyClassifier(lr=1.0, schedule="cosine", warmup_epochs=1), max_epochs=3)
    # Three batches an epoch: 3 steps of warm-up, then half a cosine over the other 6.
    expected = [1 / 3, 2 / 3, 1, *(0.5 * (1 + cos(pi * step / 6)) for step in range(6))]
    assert rates == pytest.approx([expected[0], expected[1], 1.0, *expected[3:]])


def test_one_cycle_is_that_of_torch() -> None:
    rates = rates_of(TinyClassifier(lr=0.1, schedule="one_cycle"), max_epochs=4)
    optimizer = Adam([nn.Parameter(torch.zeros(1))], lr=0.1)
    assert rates == pytest.approx(rates_of_torch(OneCycleLR(optimizer, 0.1, total_steps=4 * BATCHES), 4 * BATCHES))


def test_one_cycle_rises_over_the_warm_up() -> None:
    rates = rates_of(TinyClassifier(lr=0.1, schedule="one_cycle", warmup_epochs=2), max_epochs=4)
    assert rates.index(max(rates)) == 2 * BATCHES - 1


def test_steps_are_those_of_torch_counted_in_epochs() -> None:
    rates = rates_of(TinyClassifier(lr=0.1, schedule="step", milestones=[1, 3], lr_factor=0.5), max_epochs=4)
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    by_epoch = rates_of_torch(MultiStepLR(optimizer, [1, 3], gamma=0.5), 4)
    assert rates == pytest.approx([rate for rate in by_epoch for _ in range(BATCHES)])


def test_steps_after_a_warm_up() -> None:
    rates = rates_of(TinyClassifier(lr=0.6, schedule="step", milestones=[2], lr_factor=0.1, warmup_epochs=1), max_epochs=3)
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.6, 0.6, 0.6, 0.06, 0.06, 0.06])


def test_constant_after_a_warm_up() -> None:
    assert rates_of(TinyClassifier(lr=0.6, warmup_epochs=1), max_epochs=2) == pytest.approx([0.2, 0.4, 0.6, 0.6, 0.6, 0.6])


def test_accumulated_batches_make_one_step() -> None:
    # 3 batches, two of which make a step, are 2 steps an epoch: the last one has a batch of its own.
    module = TinyClassifier(lr=1.0, schedule="cosine", warmup_epochs=1)
    rates = rates_of(module, max_epochs=2, accumulate_grad_batches=2)
    assert rates == pytest.approx([0.5, 1.0, 1.0, 0.5])
    module = TinyClassifier(lr=1.0, schedule="step", milestones=[1])
    assert rates_of(module, max_epochs=2, accumulate_grad_batches=2) == pytest.approx([1.0, 1.0, 0.1, 0.1])


def test_limits_in_time_and_steps() -> None:
    # Time has no say in a schedule; a limit in steps ends it, and an epoch keeps its 3 steps.
    whole = rates_of(TinyClassifier(lr=1.0, schedule="cosine"), max_epochs=2)
    assert rates_of(TinyClassifier(lr=1.0, schedule="cosine"), max_epochs=2, max_time=timedelta(hours=1)) == whole
    rates = rates_of(TinyClassifier(lr=1.0, schedule="cosine", warmup_epochs=1), max_epochs=9, max_steps=5)
    assert rates == pytest.approx([1 / 3, 2 / 3, 1.0, 1.0, 0.5])


def test_schedule_without_an_end_is_refused() -> None:
    with pytest.raises(UserError, match=r"one_cycle ends with the training; give --trainer\.max_epochs"):
        fit(TinyClassifier(schedule="one_cycle"), [], max_epochs=-1, max_time=timedelta(seconds=60))


class Accuracies(Callback):
    """Notes what validation says."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.values.append(float(trainer.callback_metrics["val/accuracy"]))


def test_plateau_is_that_of_torch() -> None:
    recorder, accuracies = RateRecorder(), Accuracies()
    fit(TinyClassifier(lr=0.01, schedule="plateau", plateau_patience=2), [recorder, accuracies], max_epochs=9)
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=0.01)
    # torch lowers the rate after more bad epochs than its patience, so one that is tolerated means two.
    schedule, expected = ReduceLROnPlateau(optimizer, "max", factor=0.1, patience=1, threshold=0), []
    for accuracy in accuracies.values:
        expected += [optimizer.param_groups[0]["lr"]] * BATCHES
        schedule.step(accuracy)
    assert recorder.first_group == expected
    assert expected[-1] < 0.01


@pytest.mark.parametrize("schedule", ["plateau", "one_cycle", "step", "cosine"])
def test_resumed_schedule_ends_bitwise_the_same(schedule: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"schedule": schedule, "milestones": [2], "plateau_patience": 1, "lr": 1e-3}
    whole, stopped = TinyClassifier(**options), TinyClassifier(**options)
    recorder = RateRecorder()
    fit_with_checkpoints(whole, tmp_path / "whole", [recorder], max_epochs=5)
    with pytest.raises(PowerCut):
        fit_with_checkpoints(stopped, tmp_path / "stopped", [], stop_after=3, max_epochs=5)
    resumed, rest = TinyClassifier(**options), RateRecorder()
    fit_with_checkpoints(resumed, tmp_path / "stopped", [rest], max_epochs=5)
    assert rest.rates == recorder.rates[3 * BATCHES :]
    assert len(set(recorder.first_group)) > 1
    assert same_weights(resumed.state_dict(), whole.state_dict())
