"""Every experiment file runs: fit, test, Grad-CAM and reload, on a few painted cells. The list is read from the folder."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from bcc_lightning.experiment_files import experiment_names, find_experiment
from bcc_lightning.fit import main
from bcc_lightning.modules.checkpoint import load_classifier
from tests.miniature import PAINTED, QUICK, SMALL, runs_in


@pytest.mark.parametrize("name", experiment_names())
def test_experiment_runs_from_end_to_end(name: str, tmp_path: Path) -> None:
    few = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2"]
    assert main(["--exp", name, *PAINTED, *QUICK, *few, *members(name, few), "--summary", "out.json"]) == 0
    summary = json.loads((tmp_path / "out.json").read_text())
    checkpoint = Path(summary["checkpoint"])
    assert summary["experiment"] == name
    assert (checkpoint.parents[1] / "explain" / "gradcam.png").is_file()
    module = load_classifier(checkpoint)
    logits = module(torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8))
    assert logits.shape == (2, 8)


def members(name: str, few: list[str]) -> list[str]:
    """Train two small members for an ensemble, which trains nothing itself."""
    if yaml.safe_load(find_experiment(name).read_text())["model"]["class_path"] != "Ensemble":
        return []
    for seed in ("0", "1"):
        assert main([*SMALL, *few, "--seed_everything", seed]) == 0
    return ["--model.members", json.dumps([run.info.run_id for run in runs_in(Path("mlruns"))])]


@pytest.mark.parametrize("name", experiment_names())
def test_experiment_says_what_it_is(name: str) -> None:
    text = find_experiment(name).read_text()
    header = text[: text.index("\nmodel:")]
    assert header.startswith("# ")
    if name != "quickstart":
        assert "As published:" in header
    assert set(yaml.safe_load(text)) <= {"model", "data", "trainer", "selection", "stages"}


def test_corrected_and_published_recipe_differ_only_where_the_header_says() -> None:
    corrected, published = (
        yaml.safe_load(find_experiment(n).read_text()) for n in ("efficientswin", "as_published/efficientswin")
    )
    assert published["model"]["init_args"] == {"input_mean": [0.5] * 3, "input_std": [0.5] * 3, "precision": "32"}
    assert published["selection"] == {"keep": "last"}
    assert published["data"] == corrected["data"]
    assert published["trainer"] == corrected["trainer"]


def test_experiments_are_found_from_another_folder_and_inside_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import bcc_lightning.experiment_files as files

    names = set(experiment_names())
    assert {"quickstart", "efficientswin", "as_published/efficientswin"} <= names
    package = tmp_path / "site" / "bcc_lightning"
    (package / "experiments").mkdir(parents=True)
    (package / "experiments" / "packed.yaml").write_text("model: {}\n")
    monkeypatch.setattr(files, "__file__", str(package / "experiment_files.py"))
    assert list(experiment_names()) == ["packed"]
