"""Averages, views and stages through the real program: what is filed, said, kept and gone on with."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from lightning import Trainer

from bcc_lightning.callbacks.epochs import EpochSeeding
from bcc_lightning.cli.arguments import Call
from bcc_lightning.cli.experiment import ExperimentCLI
from bcc_lightning.datamodules import SyntheticSmear
from bcc_lightning.datasets.classes import EIGHT_CELL_CLASSES
from bcc_lightning.fit import main
from bcc_lightning.modules.checkpoint import load_classifier
from tests.miniature import SMALL, runs_in

pytestmark = pytest.mark.usefixtures("ready_store")

STAGES = (
    '[{"train": "head", "lr": 0.003, "epochs": 1}, {"train": "last:2", "lr": 0.0003, "weight_decay": 0.01, "epochs": 2, '
    '"patience": 2}]'
)


def summary_in(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((folder / "out.json").read_text())
    return summary


@pytest.mark.slow
def test_run_with_average_and_views_says_so_and_its_checkpoint_predicts_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = ["--model.average", "ema", "--model.ema_decay", "0.8", "--model.test_time", "dihedral", "--model.optimizer", "adamw"]
    flags = [*recipe, "--model.layer_decay", "0.8", "--model.schedule", "one_cycle", "--trainer.max_epochs", "2"]
    assert main([*SMALL, *flags, "--summary", "out.json"]) == 0
    summary = summary_in(tmp_path)
    assert summary["test_time"] == "dihedral, 8 views"
    assert "test-time augmentation: dihedral, 8 views" in capsys.readouterr().out
    root = Path(summary["checkpoint"]).parents[1]
    assert "test-time augmentation: dihedral, 8 views" in (root / "report.html").read_text()

    data = SyntheticSmear(image_size=32, train_cells=48, val_cells=24, test_cells=37)
    data.prepare_data()
    data.setup("test")
    images = torch.from_numpy(data.splits["test"].take(slice(None))).permute(0, 3, 1, 2)
    with torch.no_grad():
        found = load_classifier(summary["checkpoint"]).forward_views(images).softmax(dim=1)
    table = pd.read_parquet(root / "predictions" / "test.parquet")
    filed = torch.tensor(table[list(EIGHT_CELL_CLASSES)].to_numpy())
    assert torch.allclose(found, filed.float(), atol=1e-4)


@pytest.mark.slow
def test_staged_run_stopped_in_the_second_stage_ends_bitwise_like_one_that_never_stopped(tmp_path: Path) -> None:
    recipe = ["--model.optimizer", "lion", "--stages", STAGES, "--trainer.max_epochs", "null", "--selection.keep", "last"]
    flags = [*SMALL, *recipe, "--data.augment", "standard"]
    whole, stopped = (["--tracking.folder", name, "--summary", f"{name}/out.json"] for name in ("whole", "stopped"))
    assert main([*flags, *whole]) == 0

    def cut(self: EpochSeeding, trainer: Trainer, *_: object) -> None:
        if trainer.current_epoch == 2:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EpochSeeding, "on_train_batch_end", cut)
        assert main([*flags, *stopped]) == 130
    assert main(["--resume", "last", *stopped]) == 0

    expected, found = summary_in(tmp_path / "whole"), summary_in(tmp_path / "stopped")
    assert found["metrics"] == expected["metrics"]
    one, other = (torch.load(s["checkpoint"], weights_only=True)["state_dict"] for s in (expected, found))
    assert all(torch.equal(one[name], other[name]) for name in one)
    (run,) = runs_in(tmp_path / "stopped")
    assert "last:2" in run.data.params["stages"]
    assert run.data.params["trainer.max_epochs"] == "3"  # those of both stages
    assert run.data.metrics["stage"] == 2


@pytest.mark.parametrize(("flags", "epochs"), [([], 30), (["--stages", STAGES], 3), (["--trainer.max_epochs", "2"], 2)])
def test_training_lasts_as_long_as_its_stages_unless_something_else_is_said(flags: list[str], epochs: int) -> None:
    cli = ExperimentCLI(Call(["quickstart"], flags=["--trainer.max_epochs", "null", *flags]).arguments)
    assert cli.config["trainer"]["max_epochs"] == epochs


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--stages", '[{"train": "tail"}]'], "train is 'tail', it must be head, all or last:N"),
        (["--stages", '[{"train": "last:99"}]'], "but the backbone has 6 blocks"),
        (["--stages", '[{"trian": "head"}]'], "trian"),
        (["--stages", '[{"train": "all"}]', "--model.average", "swa"], "exclude one another"),
        (["--model.test_time", "rotations"], "dihedral"),
        (["--model.schedule", "step"], "--model.milestones"),
        (
            ["--model.schedule", "cosine", "--trainer.max_epochs", "-1", "--trainer.max_time", "00:00:00:05"],
            "ends with the training",
        ),
    ],
)
def test_mistake_in_a_recipe_is_explained(flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, *flags]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
