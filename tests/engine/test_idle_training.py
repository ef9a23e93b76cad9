"""Trainings that would leave nothing, and sets of one cell."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bcc_lightning.cli.arguments import Call
from bcc_lightning.cli.experiment import ExperimentCLI
from bcc_lightning.datamodules import BloodMNIST
from bcc_lightning.datasets.splits import TEST, SplitPlan, divide
from bcc_lightning.engine.training import refuse_idle_training
from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.metrics import PredictionGatherer
from bcc_lightning.fit import main
from bcc_lightning.modules import PlainCNN
from tests.miniature import PAINTED, QUICK, miniature_arrays, runs_in

PLAIN = [*PAINTED, *QUICK[2:], "--data.augment", "none", "--data.balance", "none"]  # the plain network knows no pretraining


def configured(experiment: str, *flags: str) -> ExperimentCLI:
    own = QUICK[:2] if experiment == "efficientnet_b0" else []
    cli = ExperimentCLI(Call([experiment], flags=[*PLAIN, *own, *flags]).arguments)
    cli.datamodule.setup("fit")
    return cli


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--trainer.max_epochs", "0"], "--trainer.max_epochs 0 no epoch is finished"),
        (["--trainer.max_steps", "0"], "--trainer.max_steps 0 no epoch is finished"),
        (["--trainer.limit_train_batches", "0"], "--trainer.limit_train_batches 0 no epoch is finished"),
        (["--trainer.limit_val_batches", "0.0"], "--trainer.limit_val_batches 0.0 no epoch can be chosen"),
        (["--trainer.limit_test_batches", "0"], "--trainer.limit_test_batches 0 the chosen weights are not tested"),
        (["--trainer.fast_dev_run", "true"], "--trainer.fast_dev_run keeps no weights"),
    ],
)
def test_training_that_would_leave_nothing(flags: list[str], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        refuse_idle_training(configured("an2dl_cnn", *flags))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--trainer.limit_test_batches", "0"], "raise it"),
        (["--trainer.accelerator", "tpu"], "the trainer cannot be built: "),
    ],
)
def test_nothing_is_opened_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], expected: str) -> None:
    assert main(["--exp", "an2dl_cnn", *PLAIN, *flags]) == 2
    assert expected in capsys.readouterr().err
    assert runs_in(tmp_path / "mlruns") == []


def test_last_epoch_can_be_kept_without_validation() -> None:
    flags = ["--trainer.limit_val_batches", "0", "--selection.keep", "last", "--selection.patience", "null"]
    refuse_idle_training(configured("an2dl_cnn", *flags))


@pytest.mark.parametrize("flags", [["--data.batch_size", "1"], ["--data.train_cells", "1"]])
def test_batch_norm_over_single_pixels_needs_two_images(flags: list[str]) -> None:
    # EfficientNet halves 32 pixels five times: maps of 1x1, of which one image gives a single value a channel.
    cli = configured("efficientnet_b0", *flags)
    before = torch.get_rng_state(), {name: value.clone() for name, value in cli.model.state_dict().items()}
    with pytest.raises(UserError, match=r"cannot do at 32 pixels. Next step: --data.batch_size 2 or more"):
        refuse_idle_training(cli)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert all(torch.equal(value, before[1][name]) for name, value in cli.model.state_dict().items())


def test_frozen_batch_norm_takes_single_images() -> None:
    stages = '[{"train": "head", "epochs": 1}]'
    refuse_idle_training(configured("efficientnet_b0", "--data.batch_size", "1", "--stages", stages))
    with pytest.raises(UserError, match="single images"):
        refuse_idle_training(
            configured("efficientnet_b0", "--data.batch_size", "1", "--stages", '[{"train": "head"}, {"train": "all"}]')
        )


def test_larger_maps_take_single_images() -> None:
    refuse_idle_training(configured("an2dl_cnn", "--data.batch_size", "1"))


@pytest.mark.slow
def test_sets_of_one_cell(tmp_path: Path) -> None:
    cells = ["--data.train_cells", "1", "--data.val_cells", "1", "--data.test_cells", "1"]
    flags = [*PLAIN, *cells, "--trainer.max_epochs", "1", "--summary", "out.json"]
    assert main(["--exp", "an2dl_cnn", *flags]) == 0
    summary = json.loads(Path("out.json").read_text())
    assert summary["metrics"]["test/accuracy"] in {0.0, 1.0}
    (run,) = runs_in(tmp_path / "mlruns")
    assert run.info.status == "FINISHED"


def test_predictions_of_one_cell_keep_their_dimension() -> None:
    gatherer = PredictionGatherer()
    gatherer.update(torch.tensor([0]), torch.tensor([1]), torch.tensor([[0.2, 0.8]]))
    found = gatherer.gather()
    assert (found.position.tolist(), found.label.tolist(), found.correct) == ([0], [1], 1)
    assert gatherer.position == []


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_npz_with_an_empty_set(tmp_path: Path, split: str) -> None:
    arrays = miniature_arrays()
    arrays |= {name: array[:0] for name, array in arrays.items() if name.startswith(split)}
    np.savez(tmp_path / "bloodmnist.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=rf"bloodmnist\.npz \({split}\) holds no images"):
        BloodMNIST(root=str(tmp_path), verify_checksum=False).setup("fit")


def test_one_class() -> None:
    with pytest.raises(UserError, match="blast"):
        PlainCNN(class_names=["blast"], image_size=32)


def test_nothing_to_train_on() -> None:
    with pytest.raises(UserError, match="none of 5 cells is in the training set"):
        divide(SplitPlan(), np.arange(5), published=np.full(5, TEST, np.int8))
