"""The MLflow model of a run: MLflow's own loader, server and registry use it, and it costs no second copy of the weights."""

import json
import shutil
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from mlflow import MlflowClient
from mlflow.entities import LoggedModel
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel, scoring_server

import bcc_lightning as bcc
from bcc_lightning.fit import main
from bcc_lightning.prediction import mlflow_model
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.tracking.trained_networks import find_network
from bcc_lightning.tune import main as tune
from tests.miniature import SMALL, runs_in, train_on_painted_folder

pytestmark = [pytest.mark.xdist_group("mlflow_model"), pytest.mark.slow]  # one process trains for all


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on image files, registered as ``cells``."""
    return train_on_painted_folder(tmp_path_factory.mktemp("model"), "--tracking.register", "cells")


@pytest.fixture
def model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> PyFuncModel:
    """The registered model, as MLflow loads it."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri(folder))
    return mlflow.pyfunc.load_model("models:/cells/1")


@pytest.fixture
def files(folder: Path) -> list[str]:
    return [str(file) for file in sorted((folder / "cells" / "test").rglob("*.png"))]


def uri(folder: Path) -> str:
    return f"sqlite:///{folder}/mlruns/mlflow.db"


def logged(folder: Path) -> list[LoggedModel]:
    client = MlflowClient(uri(folder))
    return list(client.search_logged_models([one.experiment_id for one in client.search_experiments()]))


def expected(folder: Path, files: list[str]) -> pd.DataFrame:
    return bcc.load("efficientnet_b0", folder=str(folder / "mlruns")).predict(files).drop(columns="image")


def test_the_run_has_one_model_whose_weights_are_its_own_file(folder: Path) -> None:
    (run,), (found,) = runs_in(folder / "mlruns"), logged(folder)
    assert found.source_run_id == run.info.run_id
    assert [one.model_id for one in run.outputs.model_outputs] == [found.model_id]
    assert found.status.name == "READY"
    assert found.name == "efficientnet_b0"
    place = Path(found.artifact_location.removeprefix("file://"))
    (checkpoint,) = place.rglob("*.ckpt")
    assert checkpoint.samefile(folder / "mlruns" / "artifacts" / run.info.run_id / "artifacts" / "checkpoints" / "best.ckpt")
    others = [file for file in place.rglob("*") if file.is_file() and file != checkpoint]
    assert sum(file.stat().st_size for file in others) < 50_000
    assert {file.suffix for file in others} == {".yaml", ".json", ".txt", ""}  # nothing pickled


def test_images_of_every_kind_give_what_the_run_gives(folder: Path, model: PyFuncModel, files: list[str]) -> None:
    table = expected(folder, files)
    pd.testing.assert_frame_equal(model.predict(files), table)
    pd.testing.assert_frame_equal(model.predict(pd.DataFrame({"path": files})), table)
    pixels = [bcc.load("efficientnet_b0", folder=str(folder / "mlruns")).square(file) for file in files]
    pd.testing.assert_frame_equal(model.predict(pixels), table)
    pd.testing.assert_frame_equal(model.predict(np.stack(pixels)), table)
    pd.testing.assert_frame_equal(model.predict([Path(file).read_bytes() for file in files]), table)
    pd.testing.assert_frame_equal(model.predict([one.tolist() for one in pixels]), table)
    wide = [pixels[0][:20], pixels[1][:, :30]]  # arrays of two sizes
    assert len(model.predict(wide)) == 2


def test_signature_and_example(folder: Path, model: PyFuncModel) -> None:
    table = expected(folder, [])
    assert model.metadata.get_output_schema().input_names() == table.columns.tolist()
    assert len(model.predict(model.input_example)) == 1
    requirements = (folder / "mlruns").glob("artifacts/models/*/artifacts/requirements.txt")
    lines = next(requirements).read_text().splitlines()
    assert {line.partition("==")[0] for line in lines} >= {"bcc-lightning", "torch", "timm", "mlflow", "opencv-python-headless"}


def test_mlflows_server_answers(folder: Path, model: PyFuncModel, files: list[str]) -> None:
    with TestClient(scoring_server.init(model), raise_server_exceptions=False) as client:

        def ask(images: list[Any]) -> Any:
            return client.post("/invocations", json={"inputs": images})

        rows = ask(files).json()["predictions"]
        table = expected(folder, files)
        assert [row["predicted"] for row in rows] == table["predicted"].tolist()
        np.testing.assert_allclose([row["probability"] for row in rows], table["probability"], rtol=1e-6)
        assert ask(json.loads(json.dumps(model.input_example))).status_code == 200
        for image, message in (
            ("absent.png", "absent.png cannot be read"),
            ("data:image/png;base64,?", "a data URI cannot be read"),
            ([[[0, 0, 999]]], "it must be a file, or an array uint8"),
            ([[[0, 0, 0]], [[0, 0, 0], [1, 1, 1]]], "differ in length"),
            (7, "an image is int"),
        ):
            refused = ask([image])
            assert refused.status_code == 400, image
            assert message in refused.json()["message"]


def test_a_folder_that_has_moved_keeps_its_registered_models(folder: Path, files: list[str], tmp_path: Path) -> None:
    shutil.copytree(folder / "mlruns", tmp_path / "elsewhere")
    tracking = Tracking(folder=str(tmp_path / "elsewhere"))
    MlflowClient(tracking.resolved_uri).set_registered_model_alias("cells", "best", "1")
    network = find_network(tracking, "models:/cells@best")
    assert network.checkpoint.is_relative_to(tmp_path)
    source = MlflowClient(tracking.resolved_uri).get_model_version("cells", "1").source
    found = mlflow.pyfunc.load_model(source).predict(files[:3])
    assert Path(source.removeprefix("file://")).is_relative_to(tmp_path)
    assert found["predicted"].tolist() == expected(folder, files[:3])["predicted"].tolist()


def test_off_by_a_flag(tmp_path: Path) -> None:
    assert main([*SMALL, "--trainer.max_epochs", "1", "--tracking.log_model", "false"]) == 0
    assert logged(tmp_path) == []


def test_a_package_that_runs_from_its_sources_costs_the_model_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def requires(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(mlflow_model, "requires", requires)
    assert main([*SMALL, "--trainer.max_epochs", "1"]) == 0
    (run,) = runs_in(tmp_path / "mlruns")
    assert run.info.status == "FINISHED"
    assert "could not be logged: this package runs from its sources and is not installed" in capsys.readouterr().err


def test_a_fault_costs_the_model_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mlruns" / "artifacts").mkdir(parents=True)
    (tmp_path / "mlruns" / "artifacts" / "models").write_text("a file where MLflow needs a folder")
    assert main([*SMALL, "--trainer.max_epochs", "1", "--tracking.register", "cells"]) == 0
    (run,) = runs_in(tmp_path / "mlruns")
    assert run.info.status == "FINISHED"
    assert f"warning: run {run.info.run_id} is filed, but its MLflow model could not be logged: " in capsys.readouterr().err
    assert {found.status.name for found in logged(tmp_path)} == {"FAILED"}
    with pytest.raises(MlflowException):
        MlflowClient(uri(tmp_path)).get_registered_model("cells")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--tracking.register", "a/b"], "--tracking.register is 'a/b'; name a model without any of /"),
        (["--tracking.register", " "], "--tracking.register is ' '"),
        (["--tracking.register", "x", "--tracking.log_model", "false"], "leave out --tracking.log_model false"),
        (["--tracking.log_model", "perhaps"], "tracking.log_model"),
    ],
)
def test_flags_that_cannot_be(flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, *flags]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "mlruns").exists()


def test_trials_are_not_registered(capsys: pytest.CaptureFixture[str]) -> None:
    assert tune(["--exp", "pbc_cnn", "--space", "standard", "--trials", "1", "--", "--tracking.register", "cells"]) == 2
    assert "registers what --confirm SEEDS trains: a trial is not tested" in capsys.readouterr().err
