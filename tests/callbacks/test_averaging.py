"""Averaged weights against arithmetic by hand; what is validated, kept, tested and gone on with."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from bcc_lightning.callbacks.averaging import AveragedWeights, EpochMean, MovingAverage
from bcc_lightning.modules.checkpoint import load_classifier
from tests.modules.tiny import BATCHES, PowerCut, TinyClassifier, fit_with_checkpoints, painted, same_weights, trainer_with


class Steps(Callback):
    """Notes the weights after each step, and those that validation sees."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor]] = []
        self.validated: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.steps.append({name: value.clone() for name, value in pl_module.state_dict().items()})

    def on_validation_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.validated.append({name: value.clone() for name, value in pl_module.state_dict().items()})


def train(
    folder: Path, averaging: AveragedWeights, stop_after: int | None = None, epochs: int = 4
) -> tuple[TinyClassifier, Steps]:
    module, steps = TinyClassifier(), Steps()
    fit_with_checkpoints(module, folder, [averaging, steps], stop_after, max_epochs=epochs)
    return module, steps


def best(folder: Path) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = load_classifier(folder / "artifacts" / "checkpoints" / "best.ckpt").state_dict()
    return weights


def test_moving_average_of_weights_and_statistics(tmp_path: Path) -> None:
    _, steps = train(tmp_path, MovingAverage(decay=0.3), epochs=2)
    for name in ("network.stem.0.weight", "network.stem.1.running_mean", "network.head.bias"):
        average = steps.steps[0][name]
        for update, later in enumerate(steps.steps[1:BATCHES], start=1):
            # At its start the average forgets fast: at most (1 + n) / (10 + n) is kept, 2/11, 3/12 and only then 0.3.
            kept = min(0.3, (1 + update) / (10 + update))
            average = kept * average + (1 - kept) * later[name]
        assert torch.allclose(steps.validated[0][name], average, atol=1e-6)
    assert steps.validated[0]["network.stem.1.num_batches_tracked"] == BATCHES


def test_mean_of_the_epochs_ends(tmp_path: Path) -> None:
    # Of four epochs the last two are averaged; before, validation sees the weights as they are.
    _, steps = train(tmp_path, EpochMean(start=0.5))
    name = "network.body.0.weight"
    ends = [steps.steps[(epoch + 1) * BATCHES - 1][name] for epoch in range(4)]
    expected = [ends[0], ends[1], ends[2], (ends[2] + ends[3]) / 2]
    for seen, weights in zip(steps.validated, expected, strict=True):
        assert torch.allclose(seen[name], weights, atol=1e-6)


def test_mean_gets_its_own_batch_norm_statistics(tmp_path: Path) -> None:
    module, steps = train(tmp_path, EpochMean(start=0.0), epochs=2)
    data = painted()
    data.prepare_data()
    data.setup("fit")
    loader = data.train_dataloader()
    loader.sampler.set_epoch(1)  # type: ignore[attr-defined]
    conv = module.network.get_submodule("stem.0")
    means = [conv(module.prepare(batch.image)).mean(dim=(0, 2, 3)) for batch in loader]
    assert torch.allclose(steps.validated[1]["network.stem.1.running_mean"], torch.stack(means).mean(dim=0), atol=1e-5)


@pytest.mark.parametrize("averaging", [lambda: MovingAverage(0.9), lambda: EpochMean(0.25)])
def test_kept_checkpoint_and_module_hold_the_validated_average(tmp_path: Path, averaging: Any) -> None:
    module, steps = train(tmp_path, averaging())
    kept = best(tmp_path)
    assert any(same_weights(kept, validated) for validated in steps.validated)
    assert not any(same_weights(kept, weights) for weights in steps.steps)
    assert same_weights(module.state_dict(), steps.validated[-1])  # after training the module holds the average
    file = tmp_path / "artifacts" / "checkpoints" / "best.ckpt"
    trainer = trainer_with([averaging()])
    (tested,) = trainer.test(TinyClassifier(), painted(), ckpt_path=file, weights_only=True, verbose=False)
    assert tested["test/accuracy"] == trainer.test(load_classifier(file), painted(), verbose=False)[0]["test/accuracy"]


@pytest.mark.parametrize("averaging", [lambda: MovingAverage(0.9), lambda: EpochMean(0.25), lambda: EpochMean(0.75)])
def test_resumed_average_ends_bitwise_the_same(tmp_path: Path, averaging: Any) -> None:
    whole, _ = train(tmp_path / "whole", averaging())
    with pytest.raises(PowerCut):
        train(tmp_path / "stopped", averaging(), stop_after=2)
    resumed, _ = train(tmp_path / "stopped", averaging())
    assert same_weights(resumed.state_dict(), whole.state_dict())
    assert same_weights(best(tmp_path / "stopped"), best(tmp_path / "whole"))


def test_averaging_leaves_training_as_it_is(tmp_path: Path) -> None:
    plain = Steps()
    fit_with_checkpoints(TinyClassifier(), tmp_path / "plain", [plain], max_epochs=3)
    for number, averaging in enumerate((MovingAverage(0.9), EpochMean(0.0))):
        steps = Steps()
        fit_with_checkpoints(TinyClassifier(), tmp_path / str(number), [averaging, steps], max_epochs=3)
        assert all(same_weights(one, other) for one, other in zip(steps.steps, plain.steps, strict=True))


def test_average_that_never_began_is_told(tmp_path: Path) -> None:
    module, steps = TinyClassifier(), Steps()
    with pytest.warns(UserWarning, match=r"before averaging began.*--model\.swa_start"):
        fit_with_checkpoints(module, tmp_path, [EpochMean(start=0.9), steps], max_epochs=9, max_steps=BATCHES)
    assert same_weights(module.state_dict(), steps.steps[-1])
    assert same_weights(best(tmp_path), steps.steps[-1])
