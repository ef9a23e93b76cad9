"""Stages: what they free, with which rates, from which weights; and a power cut in the middle of the second."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from bcc_lightning.callbacks.averaging import MovingAverage
from bcc_lightning.callbacks.stages import BestOfStage, Stage, StagedFineTuning, parameters_to_train
from bcc_lightning.errors import UserError
from bcc_lightning.modules.recipe import OptimizerName
from tests.modules.tiny import BATCHES, PowerCut, RateRecorder, TinyClassifier, fit, fit_with_checkpoints, same_weights

STAGES = [Stage("head", lr=0.03, epochs=2), Stage("last:1", lr=0.02, weight_decay=0.1, epochs=3), Stage("all", lr=0.01, epochs=2)]


class Course(Callback):
    """Notes weights at the start and the end of each epoch, and what validation says."""

    def __init__(self) -> None:
        self.started: dict[int, dict[str, Tensor]] = {}
        self.ended: dict[int, dict[str, Tensor]] = {}
        self.losses: dict[int, float] = {}
        self.stages: dict[int, float] = {}

    def on_before_zero_grad(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        if trainer.current_epoch not in self.started:
            self.started[trainer.current_epoch] = {name: value.clone() for name, value in pl_module.state_dict().items()}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.ended[trainer.current_epoch] = {name: value.clone() for name, value in pl_module.state_dict().items()}
        self.losses[trainer.current_epoch] = float(trainer.callback_metrics["val/loss"])
        self.stages[trainer.current_epoch] = float(trainer.callback_metrics["stage"])


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name.split(".")[1] for name in before if not torch.equal(before[name], after[name])}


def test_each_stage_trains_its_part_and_frozen_statistics_stay() -> None:
    course, rates = Course(), RateRecorder()
    fit(TinyClassifier(), [rates, StagedFineTuning(STAGES, "val/accuracy", "max"), course], max_epochs=9)
    assert list(course.stages.values()) == [1, 1, 2, 2, 2, 3, 3]  # and no epoch after the last stage
    # Buffers count: the statistics of a frozen layer are among what must not change.
    assert changed(course.started[0], course.ended[1]) == {"head"}
    assert changed(course.started[2], course.ended[4]) == {"body", "head"}
    assert changed(course.started[5], course.ended[6]) == {"stem", "body", "head"}
    expected = [0.03] * 2 * BATCHES + [0.02] * 3 * BATCHES + [0.01] * 2 * BATCHES
    assert rates.first_group == pytest.approx(expected)


def test_stage_starts_from_the_best_weights_of_the_one_before() -> None:
    course = Course()
    stages = [Stage("all", lr=0.03, epochs=6), Stage("head", lr=0.0, epochs=1)]
    # By the highest loss, since the lowest is often that of the last epoch.
    fit(TinyClassifier(), [StagedFineTuning(stages, "val/loss", "max"), course], max_epochs=9)
    best = max(range(6), key=lambda epoch: course.losses[epoch])
    assert best < 5
    assert same_weights(course.ended[6], course.ended[best])


def test_schedule_is_laid_over_each_stage() -> None:
    rates = RateRecorder()
    stages = [Stage("head", lr=0.2, epochs=2), Stage("all", lr=0.1, epochs=1)]
    fit(TinyClassifier(schedule="step", milestones=[1]), [rates, StagedFineTuning(stages, "val/accuracy", "max")], max_epochs=3)
    assert rates.first_group == pytest.approx([0.2] * 3 + [0.02] * 3 + [0.1] * 3)


def test_patience_ends_a_stage() -> None:
    best, stage = BestOfStage(), Stage("head", epochs=9, patience=2)
    weights = {"w": torch.zeros(1)}
    for value, over in ((0.5, False), (0.6, False), (0.6, False), (0.4, True)):
        best.judge(value, {"w": weights["w"] + value})
        assert best.ends(stage) == over
    assert best.weights == {"w": torch.tensor([0.6])}
    assert Stage("head", epochs=4).patience is None


@pytest.mark.parametrize("stop_after", [1, 2, 3, 5])
@pytest.mark.parametrize("optimizer", ["adam", "lion"])
def test_run_that_was_stopped_in_a_stage_ends_bitwise_the_same(tmp_path: Path, optimizer: OptimizerName, stop_after: int) -> None:
    def run(folder: Path, stop: int | None = None) -> tuple[TinyClassifier, RateRecorder]:
        module, rates = TinyClassifier(optimizer=optimizer, schedule="cosine"), RateRecorder()
        callbacks = [rates, StagedFineTuning(STAGES, "val/accuracy", "max")]
        fit_with_checkpoints(module, folder, callbacks, stop, max_epochs=7)
        return module, rates

    whole, rates = run(tmp_path / "whole")
    with pytest.raises(PowerCut):
        run(tmp_path / "stopped", stop_after)
    resumed, rest = run(tmp_path / "stopped")
    assert rest.rates == rates.rates[stop_after * BATCHES :]
    assert same_weights(resumed.state_dict(), whole.state_dict())


def test_run_that_had_ended_its_last_stage_trains_no_further(tmp_path: Path) -> None:
    stages = [Stage("head", lr=0.0, epochs=9, patience=2)]
    for epochs_trained in (3, 0):
        rates = RateRecorder()
        fit_with_checkpoints(TinyClassifier(), tmp_path, [rates, StagedFineTuning(stages, "val/accuracy", "max")], max_epochs=9)
        assert len(rates.rates) == epochs_trained * BATCHES


def test_moving_average_begins_anew_with_each_stage(tmp_path: Path) -> None:
    def run(folder: Path, stop: int | None = None) -> tuple[TinyClassifier, MovingAverage]:
        module, averaging = TinyClassifier(), MovingAverage(0.9)
        staged = StagedFineTuning(STAGES, "val/accuracy", "max", averaging)
        fit_with_checkpoints(module, folder, [averaging, staged], stop, max_epochs=7)
        return module, averaging

    whole, averaging = run(tmp_path / "whole")
    assert averaging._average_model is not None
    assert int(averaging._average_model.n_averaged) == 2 * BATCHES  # the two epochs of the last stage
    with pytest.raises(PowerCut):
        run(tmp_path / "stopped", 3)
    assert same_weights(run(tmp_path / "stopped")[0].state_dict(), whole.state_dict())


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"train": "tail"}, "must be head, all or last:N"),
        ({"train": "last:0"}, "must be head, all or last:N"),
        ({"lr": -1.0}, "lr -1.0"),
        ({"epochs": 0}, "epochs 0"),
    ],
)
def test_wrong_stage_is_refused(stage: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Stage(**stage)


def test_more_blocks_than_there_are() -> None:
    with pytest.raises(UserError, match="the backbone has 2 blocks"):
        parameters_to_train(TinyClassifier(), "last:3")


def test_metric_that_does_not_exist() -> None:
    with pytest.raises(UserError, match=r"'val/acc' is no metric; there are: .*val/accuracy"):
        fit(TinyClassifier(), [StagedFineTuning(STAGES, "val/acc", "max")], max_epochs=1)


@pytest.mark.slow
def test_two_processes_stay_in_step_in_every_stage(tmp_path: Path) -> None:
    script = tmp_path / "two_processes.py"
    script.write_text(
        "import torch\n"
        "from bcc_lightning.callbacks.stages import StagedFineTuning\n"
        "from tests.callbacks.test_stages import STAGES\n"
        "from tests.modules.tiny import TinyClassifier, fit\n"
        "module = TinyClassifier()\n"
        "trainer = fit(module, [StagedFineTuning(STAGES, 'val/loss', 'min')], max_epochs=7, devices=2, strategy='ddp')\n"
        "torch.save(module.state_dict(), f'rank{trainer.global_rank}.pt')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    one, other = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    parameters = [name for name in one if name.endswith(("weight", "bias"))]  # statistics are those of each one's own cells
    assert all(torch.equal(one[name], other[name]) for name in parameters)
