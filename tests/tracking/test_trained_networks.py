"""A training that starts from runs: branches by run id and by experiment, and no run of another split."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from bcc_lightning.errors import UserError
from bcc_lightning.fit import main
from bcc_lightning.tracking.run_files import Summary
from bcc_lightning.tracking.trained_networks import TrainedNetwork, refuse_another_split
from tests.miniature import PAINTED, QUICK, TINY

pytestmark = [pytest.mark.usefixtures("ready_store"), pytest.mark.slow]

FEW = [*PAINTED, *QUICK, "--trainer.max_epochs", "1", "--summary", "out.json"]


def finished(*flags: str) -> dict[str, Any]:
    """Run `fit` and read its summary."""
    assert main([*flags, *FEW]) == 0
    summary: dict[str, Any] = json.loads(Path("out.json").read_text())
    return summary


def state(summary: dict[str, Any]) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = torch.load(summary["checkpoint"], weights_only=True)["state_dict"]
    return weights


def test_frozen_branches_are_those_of_the_runs_that_were_named() -> None:
    inception = finished("--exp", "pbc_inception_v3", "--model.backbone", "resnet18")
    xception = finished("--exp", "pbc_xception", "--model.backbone", "resnet18", "--seed_everything", "1")
    branches = ["--model.inception", "resnet18", "--model.xception", "resnet18"]
    starts = ["--model.inception_weights", "pbc_inception_v3", "--model.xception_weights", xception["run_id"][:8]]
    hybrid = finished("--exp", "pbc_inception_xception_frozen", *branches, *starts)

    own = state(hybrid)
    for branch, summary in (("inception", inception), ("xception", xception)):
        trained = {key.removeprefix("network."): value for key, value in state(summary).items() if ".classifier." not in key}
        assert len(trained) > len("few")
        for key, value in trained.items():
            assert torch.equal(own[f"network.{branch}.{key}"], value), key

    resolved = yaml.safe_load((Path(hybrid["checkpoint"]).parents[1] / "config.yaml").read_text())
    named = resolved["model"]["init_args"]
    assert [named["inception_weights"], named["xception_weights"]] == [inception["run_id"], xception["run_id"]]


def test_a_branch_of_efficientswin_is_the_backbone_of_the_run_that_was_named() -> None:
    cnn = finished("--exp", "efficientnet_b0")
    own = state(
        finished(
            "--exp",
            "efficientswin",
            "--model.cnn_weights",
            cnn["run_id"],
            "--trainer.limit_train_batches",
            "1",
            "--model.lr",
            "0",
        )
    )
    trained = {key: value for key, value in state(cnn).items() if key.startswith("network.backbone.") and key.endswith("weight")}
    assert len(trained) > len("few")
    for key, value in trained.items():
        assert torch.equal(own[key.replace("network.backbone.", "network.cnn.")], value), key


def test_a_run_that_does_not_exist_and_a_file_that_does_not_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, *FEW, "--model.weights", "no_such_run"]) == 2
    assert "no finished run 'no_such_run'" in capsys.readouterr().err
    assert main([*TINY, *FEW, "--model.weights", "no_such.safetensors"]) == 2
    assert "weights file no_such.safetensors does not exist" in capsys.readouterr().err


def test_a_start_that_saw_the_same_cells_in_another_split_is_refused() -> None:
    facts, identity = {"data.sha256": "a" * 64, "split.sha256": "b" * 64}, {"pixels": "p" * 64}
    trained = TrainedNetwork(
        "id", "branch (id)", Path("best.ckpt"), summary=Summary("id", "branch", data={**facts, "split.sha256": "c" * 64})
    )
    with pytest.raises(UserError, match="cccccccccccc, not bbbbbbbbbbbb"):
        refuse_another_split([trained], facts, identity)
    corrected = {"data.sha256": "d" * 64, "split.sha256": "b" * 64}
    refuse_another_split([trained], corrected, identity)
    trained.summary.identity["pixels"] = "p" * 64  # type: ignore[union-attr]  # the same cells, whose labels were corrected since
    with pytest.raises(UserError, match="cccccccccccc, not bbbbbbbbbbbb"):
        refuse_another_split([trained], corrected, identity)
