"""An ensemble of finished runs is a run like any other; it refuses members that do not belong together."""

import json
import shutil
from pathlib import Path

import cv2
import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Run

import bcc_lightning as bcc
from bcc_lightning.datasets.classes import EIGHT_CELL_CLASSES
from bcc_lightning.deployment.standalone import Standalone
from bcc_lightning.engine.rebuild import rebuild
from bcc_lightning.engine.voting import fit_shares
from bcc_lightning.ensemble import main
from bcc_lightning.fit import main as fit
from bcc_lightning.modules import Ensemble
from bcc_lightning.modules.checkpoint import load_classifier
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.tracking.trained_networks import find_network
from tests.miniature import (
    CELLS,
    PAINTED,
    QUICK,
    TINY,
    artifacts_of,
    miniature_arrays,
    runs_in,
    write_miniature_bloodmnist,
    write_painted_folder,
)

pytestmark = [pytest.mark.xdist_group("ensemble"), pytest.mark.slow]  # one process trains for all

CLASSES = list(EIGHT_CELL_CLASSES)
FEW = [*QUICK, "--data.verify_checksum", "false", "--trainer.max_epochs", "1", "--model.lr", "0.003"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three members on miniature BloodMNIST: two of them see 32 pixels, one 48."""
    folder = tmp_path_factory.mktemp("ensemble")
    data = ["--data.root", str(write_miniature_bloodmnist(folder / "bloodmnist")), "--tracking.folder", str(folder / "mlruns")]
    assert fit([*TINY, *FEW, *data]) == 0
    assert fit([*TINY, *FEW, *data, "--seed_everything", "1"]) == 0
    assert fit(["--exp", "swin_tiny", *FEW, *data, "--data.image_size", "48"]) == 0
    return folder


@pytest.fixture(scope="module")
def ids(folder: Path) -> list[str]:
    """Run ids of the members, in the order they were trained."""
    runs = [run for run in runs_in(folder / "mlruns") if run.data.tags["experiment"] != "ensemble"]
    return [run.info.run_id for run in sorted(runs, key=lambda run: run.info.start_time)]


@pytest.fixture(scope="module")
def fitted(folder: Path, ids: list[str]) -> Run:
    """The ensemble of all three with fitted weights."""
    out = ["--out", str(folder / "out"), "--summary", str(folder / "out.json"), "--tracking.folder", str(folder / "mlruns")]
    members = [part for run_id in ids for part in ("--run", run_id)]
    assert main([*members, "--weights", "fitted", *out]) == 0
    return next(run for run in runs_in(folder / "mlruns") if run.data.tags["experiment"] == "ensemble")


def place(run: Run) -> Path:
    return Path(str(run.info.artifact_uri).removeprefix("file://"))


def filed(folder: Path, run_id: str) -> np.ndarray:
    """Probabilities of a run's filed test predictions."""
    file = folder / "mlruns" / "artifacts" / run_id / "artifacts" / "predictions" / "test.parquet"
    return pd.read_parquet(file)[CLASSES].to_numpy()


def validation_votes(folder: Path, run_id: str) -> np.ndarray:
    """Probabilities of the true classes of the validation cells, from the member's checkpoint and the arrays."""
    module = load_classifier(folder / "mlruns" / "artifacts" / run_id / "artifacts" / "checkpoints" / "best.ckpt")
    arrays = miniature_arrays()
    with torch.inference_mode():
        probability = module(torch.from_numpy(arrays["val_images"]).permute(0, 3, 1, 2)).softmax(dim=1).numpy()
    return probability[np.arange(CELLS["val"]), arrays["val_labels"].ravel()]


def test_equal_weights_are_the_arithmetic_mean_of_the_members_predictions(folder: Path, ids: list[str]) -> None:
    members = [part for run_id in ids for part in ("--run", run_id)]
    assert main([*members, "--tracking.folder", str(folder / "mlruns"), "--out", "mean"]) == 0
    found = pd.read_parquet("mean/predictions/test.parquet")
    expected = np.mean([filed(folder, run_id) for run_id in ids], axis=0)
    np.testing.assert_allclose(found[CLASSES].to_numpy(), expected, atol=1e-6)
    assert found["id"].tolist() == [f"test/{row:05d}" for row in range(CELLS["test"])]


def test_fitted_weights_come_from_the_validation_part(folder: Path, ids: list[str], fitted: Run) -> None:
    shares = fit_shares(np.stack([validation_votes(folder, run_id) for run_id in ids], axis=1).astype(np.float64))
    summary = json.loads((folder / "out.json").read_text())
    assert [member["weight"] for member in summary["members"]] == pytest.approx(shares.tolist(), abs=0.02)
    weights = np.array([member["weight"] for member in summary["members"]])
    expected = np.tensordot(weights, [filed(folder, run_id) for run_id in ids], axes=1)
    np.testing.assert_allclose(filed(folder, fitted.info.run_id), expected, atol=1e-6)


def test_the_ensemble_predicts_its_filed_probabilities_to_the_last_bit(folder: Path, fitted: Run) -> None:
    """Members of 32 and 48 pixels see the same stored images of 28, which each enlarges for itself."""
    found = bcc.load(fitted.info.run_id, str(folder / "mlruns")).predict(miniature_arrays()["test_images"])
    assert np.array_equal(found[CLASSES].to_numpy(), filed(folder, fitted.info.run_id))
    (output,) = fitted.outputs.model_outputs
    place = MlflowClient(f"sqlite:///{folder}/mlruns/mlflow.db").get_logged_model(output.model_id).artifact_location
    again = mlflow.pyfunc.load_model(place).predict(miniature_arrays()["test_images"])
    assert np.array_equal(again[CLASSES].to_numpy(), filed(folder, fitted.info.run_id))


def test_members_that_were_trained_at_several_sizes_see_files_at_their_own(tmp_path: Path) -> None:
    root = write_painted_folder(tmp_path / "cells", size=64)
    data = ["--data", "CellFolder", "--data.root", str(root)]
    for side in ("48", "32"):
        assert fit([*TINY, *QUICK, *data, "--trainer.max_epochs", "1", "--data.image_size", side]) == 0
    first, second = (run.info.run_id for run in runs_in(tmp_path / "mlruns"))
    assert main(["--run", first, "--run", second]) == 0
    ensemble, _, _ = bcc.runs()
    classifier = bcc.load(ensemble)
    assert classifier.sides == (48, 32)
    table = pd.read_parquet(ensemble.predictions())
    files = [str(root / name) for name in table["id"]]
    found = classifier.predict(files)[classifier.class_names].to_numpy()
    assert np.array_equal(found, table[classifier.class_names].to_numpy())
    sheet = classifier.shown(classifier.square(files[0]))
    assert sheet.shape == (48, 48, 3)
    pixels = torch.from_numpy(np.stack([cv2.cvtColor(cv2.imread(file), cv2.COLOR_BGR2RGB) for file in files[:8]]))
    with torch.inference_mode():
        exported = Standalone(classifier).eval()(pixels).numpy()
    assert exported == pytest.approx(found[:8], abs=2e-3)


def test_ensemble_is_a_run_with_the_full_contract(folder: Path, ids: list[str], fitted: Run) -> None:
    figures = {f"figures/{name}.png" for name in ("confusion_matrix", "reliability", "class_counts", "samples", "members")}
    files = {
        "config.yaml",
        "checkpoints/best.ckpt",
        "explain/gradcam.png",
        "predictions/test.parquet",
        "predictions/validation.parquet",
        "summary.json",
    }
    assert artifacts_of(fitted) == figures | files | {"report.html", "model_card.md", "split.csv"}
    members = [run for run in runs_in(folder / "mlruns") if run.info.run_id in ids]
    tests = {name for name in members[0].data.metrics if name.startswith("test/")}
    validation = {f"val/{name}" for name in ("loss", "accuracy", "f1_macro", "most_frequent")}
    assert fitted.data.metrics.keys() == tests | validation | {"seconds"}
    tags = fitted.data.tags
    assert tags["ensemble.members"] == ", ".join(ids)
    assert tags["ensemble.weighting"] == "fitted"
    assert sum(map(float, tags["ensemble.weights"].split(", "))) == pytest.approx(1, abs=2e-4)
    for fact in ("data.sha256", "split.sha256", "data.official"):
        assert tags[fact] == members[0].data.tags[fact]
    assert tags["data.resolution"] == "28 enlarged to 48"
    summary = json.loads((folder / "out.json").read_text())
    assert summary["status"] == fitted.info.status == "FINISHED"
    assert summary["best_epoch"] is None
    assert summary["intervals"].keys() == tests - {"test/loss", "test/most_frequent"}
    assert "its own test accuracy" in (folder / "out" / "report.html").read_text()
    own = {member["name"]: member["test/accuracy"] for member in summary["members"]}
    assert own == {run.info.run_id: pytest.approx(run.data.metrics["test/accuracy"], abs=1e-6) for run in members}


def test_loss_is_the_mean_log_probability_of_the_true_class(folder: Path, fitted: Run) -> None:
    labels = miniature_arrays()["test_labels"].ravel()
    expected = -np.log(filed(folder, fitted.info.run_id)[np.arange(len(labels)), labels]).mean()
    assert fitted.data.metrics["test/loss"] == pytest.approx(expected, abs=1e-5)


def test_checkpoint_gives_the_filed_predictions_without_the_members(folder: Path, fitted: Run, tmp_path: Path) -> None:
    alone = shutil.copy(folder / "out" / "checkpoints" / "best.ckpt", tmp_path / "alone.ckpt")
    module = load_classifier(alone)
    assert isinstance(module, Ensemble)
    assert [member.image_size for member in module.members] == [32, 32, 48]
    with torch.inference_mode():
        probability = module(torch.from_numpy(miniature_arrays()["test_images"]).permute(0, 3, 1, 2)).softmax(dim=1)
    np.testing.assert_allclose(probability.numpy(), filed(folder, fitted.info.run_id), atol=2e-2)  # bfloat16 rounds by batch
    assert [target.name for target in module.cam_targets()] == ["1 test", "2 test", "3 swin"]
    assert not any(parameter.requires_grad for parameter in module.parameters())
    module.train()
    assert not any(part.training for part in module.modules())


def test_a_run_is_made_anew(folder: Path, ids: list[str], fitted: Run) -> None:
    tracking = Tracking(folder=str(folder / "mlruns"))
    for run_id, size in ((ids[2], 48), (fitted.info.run_id, 48)):
        module, data = rebuild(find_network(tracking, run_id), num_workers=0)
        assert data.facts()["split.sha256"] == fitted.data.tags["split.sha256"]
        assert (data.image_size, module.image_size) == (size, size)
        assert not module.training


def test_an_experiment_can_be_an_ensemble(folder: Path, ids: list[str]) -> None:
    """A run, a run by its experiment, and a checkpoint file among the files of its run."""
    checkpoint = folder / "mlruns" / "artifacts" / ids[0] / "artifacts" / "checkpoints" / "best.ckpt"
    members = json.dumps([str(checkpoint), "swin_tiny"])
    data = ["--data", "BloodMNIST", "--data.root", str(folder / "bloodmnist"), "--tracking.folder", str(folder / "mlruns")]
    flags = [*QUICK, "--data.verify_checksum", "false", "--data.image_size", "48", "--model.members", members]
    assert fit(["--exp", "an2dl_ensemble", *data, *flags, "--summary", "out.json"]) == 0
    summary = json.loads(Path("out.json").read_text())
    assert summary["experiment"] == "an2dl_ensemble"
    assert [member["name"] for member in summary["members"]] == [str(checkpoint), ids[2]]
    assert [member["weight"] for member in summary["members"]] == [0.5, 0.5]
    expected = (filed(folder, ids[0]) + filed(folder, ids[2])) / 2
    np.testing.assert_allclose(filed(folder, summary["run_id"]), expected, atol=1e-6)


def test_registered_model_and_checkpoint_without_a_run(
    folder: Path, ids: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = MlflowClient(f"sqlite:///{folder / 'mlruns' / 'mlflow.db'}")
    client.create_registered_model("blood")
    source = folder / "mlruns" / "artifacts" / ids[0] / "artifacts" / "checkpoints"
    client.create_model_version("blood", source.as_uri(), run_id=ids[0])
    alone = shutil.copy(source.parents[2] / ids[2] / "artifacts" / "checkpoints" / "best.ckpt", tmp_path / "alone.ckpt")
    place = ["--tracking.folder", str(folder / "mlruns"), "--summary", "out.json"]
    assert main(["--run", "models:/blood/1", "--checkpoint", str(alone), *place]) == 0
    assert f"it is not known which cells {alone} was trained on" in capsys.readouterr().err
    summary = json.loads(Path("out.json").read_text())
    run = client.get_run(summary["run_id"])
    assert run.data.tags["ensemble.members"] == f"{ids[0]}, {alone}"
    assert "it is not known which cells" in run.data.tags["warning"]
    expected = (filed(folder, ids[0]) + filed(folder, ids[2])) / 2
    np.testing.assert_allclose(filed(folder, summary["run_id"]), expected, atol=1e-6)


def complaint(argv: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Expect exit code 2 and no further run, and give the message."""
    before = len(runs_in(folder))
    assert main([*argv, "--tracking.folder", str(folder)]) == 2
    assert len(runs_in(folder)) == before
    return capsys.readouterr().err


def test_members_that_disagree(folder: Path, ids: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "mlruns"
    shutil.copytree(folder / "mlruns", store)  # its paths still lead to the first store, which is only read
    flags = [*QUICK, "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1", "--tracking.folder", str(store)]
    assert fit([*TINY, *PAINTED, *flags]) == 0
    painted = runs_in(store)[0].info.run_id
    message = complaint(["--run", ids[0], "--run", painted], store, capsys)
    assert "has another data set than the ensemble (its " in message
    assert "data.sha256" in message
    assert "(BloodMNIST, 48 train, 24 val, 37 test)" in message
    assert "(SyntheticSmear, 48 train, 24 val, 37 test)" in message

    (tmp_path / "split.csv").write_text(swapped(folder / "mlruns" / "artifacts" / ids[0] / "artifacts" / "split.csv"))
    data = ["--data.root", str(folder / "bloodmnist"), "--data.verify_checksum", "false", "--data.split_file", "split.csv"]
    assert fit([*TINY, *data, *flags]) == 0
    message = complaint(["--run", ids[0], "--run", runs_in(store)[0].info.run_id], store, capsys)
    assert "has another split than the ensemble: split.sha256" in message
    assert "--data.split_file" in message


def swapped(file: Path) -> str:
    """Swap a training and a test cell of a split."""
    return file.read_text().replace("train/00000,train", "train/00000,test").replace("test/00000,test", "test/00000,train")


def test_data_that_changed_since(folder: Path, ids: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = write_miniature_bloodmnist(tmp_path / "other")
    arrays = {**miniature_arrays(), "test_images": miniature_arrays()["test_images"] // 2}
    np.savez(other / "bloodmnist.npz", **arrays)  # type: ignore[arg-type]
    message = complaint(["--run", ids[0], "--run", ids[1], "--data.root", str(other)], folder / "mlruns", capsys)
    assert "has another data set than the ensemble" in message


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], "name members with --run and --checkpoint"),
        (["--run", "A"], "an ensemble has two members or more, not 1"),
        (["--run", "A", "--run", "A"], "a member is named twice"),
        (["--run", "A", "--run", "B", "--weights", "best"], "--weights takes one of 'equal', 'fitted', not 'best'"),
        (["--run", "A", "--run", "E"], "a member is an ensemble itself; name its members instead"),
        (["--run", "A", "--checkpoint", "none.ckpt"], "checkpoint none.ckpt does not exist"),
        (["--checkpoint", "alone.ckpt", "--checkpoint", "other.ckpt"], "checkpoints alone do not say which cells"),
    ],
)
def test_mistakes(
    argv: list[str], expected: str, folder: Path, ids: list[str], fitted: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, name in enumerate(("alone", "other")):
        shutil.copy(folder / "mlruns" / "artifacts" / ids[number] / "artifacts" / "checkpoints" / "best.ckpt", f"{name}.ckpt")
    names = {"A": ids[0], "B": ids[1], "E": fitted.info.run_id}
    assert expected in complaint([names.get(part, part) for part in argv], folder / "mlruns", capsys)


def test_checkpoint_that_names_a_class_of_another_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file may say anything; only classes of cell classifiers are built."""
    torch.save({"module_class": "subprocess.Popen", "hyper_parameters": {"args": ["touch", "harm"]}, "state_dict": {}}, "x.ckpt")
    with pytest.raises(Exception, match=r"class 'subprocess\.Popen' is not one of the known modules"):
        load_classifier("x.ckpt")
    assert not Path("harm").exists()
