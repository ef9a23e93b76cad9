"""What a finished run holds: the contract that other commands and users' scripts rely on."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from mlflow.entities import Run
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score, roc_auc_score

from bcc_lightning.cli.experiment_files import find_experiment
from bcc_lightning.datamodules import BloodMNIST
from bcc_lightning.datasets.classes import EIGHT_CELL_CLASSES
from bcc_lightning.datasets.npz import file_hash
from bcc_lightning.fit import main
from bcc_lightning.modules.checkpoint import load_classifier
from bcc_lightning.tracking.recipe import flatten
from tests.browser import assert_readable
from tests.miniature import CELLS, QUICK, artifacts_of, miniature_arrays, runs_in, write_miniature_bloodmnist

pytestmark = [pytest.mark.xdist_group("run_contract"), pytest.mark.slow]  # one process trains for all

CLASSES = list(EIGHT_CELL_CLASSES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train EfficientSwin for two epochs on miniature BloodMNIST, once for all tests of this file."""
    folder = tmp_path_factory.mktemp("run")
    data = write_miniature_bloodmnist(folder / "bloodmnist")
    flags = [
        "--data.root",
        str(data),
        "--data.verify_checksum",
        "false",
        "--trainer.max_epochs",
        "2",
        "--trainer.log_every_n_steps",
        "2",
    ]
    places = ["--tracking.folder", str(folder / "mlruns"), "--summary", str(folder / "out.json")]
    assert main(["--exp", "efficientswin", *QUICK, *flags, *places]) == 0
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    """The run as MLflow knows it."""
    (run,) = runs_in(folder / "mlruns")
    return run


@pytest.fixture(scope="module")
def artifacts(run: Run) -> Path:
    """Folder of the filed artifacts."""
    return Path(str(run.info.artifact_uri).removeprefix("file://"))


def test_parameters_are_what_files_and_flags_decided(run: Run, artifacts: Path) -> None:
    flags = {"data.image_size": "32", "model.pretrained": "False", "trainer.max_epochs": "2", "trainer.log_every_n_steps": "2"}
    always = {"exp": "['efficientswin']", "seed_everything": "0", "data.class_path": "bcc_lightning.BloodMNIST"}
    assert {**flags, **always}.items() <= run.data.params.items()
    file = yaml.safe_load(find_experiment("efficientswin").read_text(encoding="utf-8"))
    decided = {*flatten(file), *flags, *always, "data.batch_size", "data.root", "data.verify_checksum"}
    assert run.data.params.keys() == decided | {"trainer.enable_progress_bar"}
    assert flatten(yaml.safe_load((artifacts / "config.yaml").read_text())).items() >= run.data.params.items()  # and the rest


def test_tags_say_where_the_run_came_from(run: Run, folder: Path) -> None:
    tags = run.data.tags
    assert tags["data.name"] == "BloodMNIST"
    data = BloodMNIST(root=str(folder / "bloodmnist"), image_size=32, verify_checksum=False)
    assert data.identity()["pixels"] == file_hash(folder / "bloodmnist" / "bloodmnist.npz", "sha256")
    assert tags["data.sha256"] == data.facts()["data.sha256"]
    assert tags["data.official"] == "false"
    assert tags["data.resolution"] == "28 enlarged to 32"
    assert len(tags["split.sha256"]) == 64
    assert torch.__version__.startswith(tags["version.torch"])
    assert {"device", "version.timm", "mlflow.source.git.commit", "experiment", "mlflow.note.content"} <= tags.keys()


def test_metrics_are_those_of_the_contract(run: Run) -> None:
    averaged = {f"test/{m}_{a}" for m in ("precision", "recall", "f1") for a in ("macro", "weighted")}
    recalls = {f"test/recall/{name}" for name in CLASSES}
    once = {f"test/{name}" for name in ("accuracy", "most_frequent", "auroc_macro", "ece", "loss")} | averaged | recalls
    once |= {"seconds"}
    validation = {f"val/{name}" for name in ("loss", "accuracy", "f1_macro", "most_frequent")}
    per_epoch = {"train/loss", "train/accuracy", "train/lr", "train/loss_step"} | validation
    assert run.data.metrics.keys() == once | per_epoch


def test_artifacts_are_those_of_the_contract(run: Run) -> None:
    figures = {f"figures/{name}.png" for name in ("curves", "confusion_matrix", "reliability", "class_counts", "samples")}
    files = {
        "config.yaml",
        "model_card.md",
        "checkpoints/best.ckpt",
        "explain/gradcam.png",
        "predictions/test.parquet",
        "predictions/validation.parquet",
        "summary.json",
        "report.html",
        "split.csv",
    }
    assert artifacts_of(run) == figures | files


def test_figures_are_drawn(artifacts: Path) -> None:
    for file in artifacts.rglob("*.png"):
        pixels = np.asarray(Image.open(file).convert("RGB")).reshape(-1, 3)
        assert len(np.unique(pixels, axis=0)) > 50, file


def test_test_metrics_follow_from_the_predictions(run: Run, artifacts: Path) -> None:
    table = pd.read_parquet(artifacts / "predictions" / "test.parquet")
    probability = table[CLASSES].to_numpy(np.float64)
    true, predicted = table["label"].map(CLASSES.index).to_numpy(), probability.argmax(axis=1)
    average: dict[str, Any] = {"average": "macro", "zero_division": 0, "labels": np.unique(true)}
    expected = {
        "test/accuracy": accuracy_score(true, predicted),
        "test/f1_macro": f1_score(true, predicted, **average),
        "test/recall_macro": recall_score(true, predicted, **average),
        "test/precision_weighted": precision_score(true, predicted, average="weighted", zero_division=0),
        "test/auroc_macro": roc_auc_score(true, probability / probability.sum(axis=1, keepdims=True), multi_class="ovr"),
    }
    for name, value in expected.items():
        assert run.data.metrics[name] == pytest.approx(value, abs=1e-5), name


def test_each_test_cell_is_predicted_once(artifacts: Path) -> None:
    table = pd.read_parquet(artifacts / "predictions" / "test.parquet")
    assert table["id"].tolist() == [f"test/{row:05d}" for row in range(CELLS["test"])]
    assert [CLASSES.index(name) for name in table["label"]] == miniature_arrays()["test_labels"].ravel().tolist()


def test_summary_is_copied_out(run: Run, folder: Path, artifacts: Path) -> None:
    summary = json.loads((folder / "out.json").read_text())
    filed = json.loads((artifacts / "summary.json").read_text())
    assert filed == {**summary, "checkpoint": "checkpoints/best.ckpt"}  # which the copy names by its whole path
    assert summary["run_id"] == run.info.run_id
    assert summary["status"] == run.info.status == "FINISHED"
    assert summary["metrics"]["test/accuracy"] == run.data.metrics["test/accuracy"]
    low, high = summary["intervals"]["test/accuracy"]
    assert low <= summary["metrics"]["test/accuracy"] <= high
    reported = {name for name in summary["metrics"] if name.startswith("test/")} - {"test/loss", "test/most_frequent"}
    assert summary["intervals"].keys() == reported
    assert Path(summary["checkpoint"]).samefile(artifacts / "checkpoints" / "best.ckpt")
    assert summary["images_per_second"] > 0


def test_checkpoint_gives_the_filed_predictions(artifacts: Path) -> None:
    module = load_classifier(artifacts / "checkpoints" / "best.ckpt")
    images = torch.from_numpy(miniature_arrays()["test_images"]).permute(0, 3, 1, 2)
    with torch.inference_mode():
        probability = module(images).softmax(dim=1).numpy()
    filed = pd.read_parquet(artifacts / "predictions" / "test.parquet")[CLASSES].to_numpy()
    np.testing.assert_allclose(probability, filed, atol=2e-2)  # bfloat16 rounds differently from batch to batch


def test_report_shows_figures_and_unofficial_data(artifacts: Path) -> None:
    page = (artifacts / "report.html").read_text()
    wrong = pd.read_parquet(artifacts / "predictions" / "test.parquet")
    mistakes = int((wrong[CLASSES].idxmax(axis=1) != wrong["label"]).sum())
    assert page.count("data:image/png;base64,") == 5 + min(12, mistakes)  # curves, confusion, reliability, maps, samples
    assert "Unofficial data" in page
    assert "95 % interval" in page
    assert run_started(artifacts)[:10] in page


def run_started(artifacts: Path) -> str:
    return str(json.loads((artifacts / "summary.json").read_text())["started"])


def test_report_is_accessible_and_asks_for_nothing(artifacts: Path) -> None:
    assert_readable(artifacts / "report.html")


def test_model_card_holds_the_figures_of_the_summary(artifacts: Path) -> None:
    summary = json.loads((artifacts / "summary.json").read_text())
    card = ModelCard.load(artifacts / "model_card.md")
    found = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert found == {name: summary["metrics"][f"test/{name}"] for name in found}
    assert {"accuracy", "recall_macro", "f1_macro", "auroc_macro", "ece"} <= found.keys()
    assert {result.dataset_name for result in card.data.eval_results} == {"BloodMNIST"}
    assert card.data.pipeline_tag == "image-classification"
    assert summary["run_id"] in card.text


def test_model_card_answers_most_of_claim_and_says_what_is_missing(artifacts: Path) -> None:
    text = ModelCard.load(artifacts / "model_card.md").text
    items = re.findall(r"^\| (\d+) \| [^|]+ \| (.*) \|$", text, re.MULTILINE)
    assert [int(number) for number, _ in items] == list(range(1, 45))
    assert all(len(answer) > 10 for _, answer in items)
    unfilled = [int(number) for number, answer in items if "**To be added:**" in answer]
    assert 44 - len(unfilled) >= 0.6 * 44
    assert {3, 11, 16, 18, 36, 44} <= set(unfilled)  # what no program can know
    assert f"The run answers {44 - len(unfilled)} of 44 items" in text


def test_nothing_is_left_at_work(folder: Path) -> None:
    assert list((folder / "mlruns" / "active").iterdir()) == []
