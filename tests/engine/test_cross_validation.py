"""``fit --folds``: every fold new, children under one parent, mean and deviation by arithmetic, interruption and resuming."""

import json
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Run

import bcc_lightning as bcc
from bcc_lightning.cli.arguments import Call
from bcc_lightning.datasets.spelling import SetName
from bcc_lightning.engine.cross_validation import describe_folds
from bcc_lightning.engine.run import run_experiment
from bcc_lightning.engine.training import Training
from bcc_lightning.fit import main
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.tracking.trained_networks import find_network
from tests.datamodules.miniatures import write_folder
from tests.miniature import QUICK, TINY, artifacts_of, runs_in

pytestmark = [pytest.mark.xdist_group("cross_validation"), pytest.mark.slow]  # one process trains for all

CLASSES = ("lymphocyte", "monocyte")


def arguments(root: Path, *flags: str) -> list[str]:
    data = ["--data", "CellFolder", "--data.root", str(root)]
    return [*TINY, *data, *QUICK, "--trainer.max_epochs", "1", *flags]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished cross-validation of three folds."""
    folder = tmp_path_factory.mktemp("folds")
    root = write_folder(folder / "cells", CLASSES, per_class=12)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("BCC_CACHE_DIR", str(folder / "cache"))
        assert main(arguments(root, "--folds", "3", "--summary", "out.json")) == 0
    return folder


def family(folder: Path) -> tuple[Run, list[Run]]:
    """Tell the parent run from its children, which are put in order of their folds."""
    runs = runs_in(folder / "mlruns")
    parent = next(run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    return parent, sorted(children, key=lambda run: run.info.run_name)


def test_children_lie_under_one_parent(finished: Path) -> None:
    parent, children = family(finished)
    assert [run.info.run_name for run in children] == ["fold 0", "fold 1", "fold 2"]
    assert {run.info.status for run in [parent, *children]} == {"FINISHED"}
    assert [run.data.params["data.fold"] for run in children] == ["0", "1", "2"]


def test_mean_and_deviation_are_those_of_the_folds(finished: Path) -> None:
    parent, children = family(finished)
    summary = json.loads((finished / "out.json").read_text())
    for name in ("test/accuracy", "test/f1_macro", "test/recall/monocyte", "val/loss"):
        values = [run.data.metrics[name] for run in children]
        mean = sum(values) / 3
        deviation = (sum((value - mean) ** 2 for value in values) / 2) ** 0.5
        assert parent.data.metrics[name] == pytest.approx(mean)
        assert parent.data.metrics[f"{name}_sd"] == pytest.approx(deviation)
        assert summary["metrics"][name] == pytest.approx(mean)
    assert [fold["run_id"] for fold in summary["folds"]] == [run.info.run_id for run in children]


def test_each_cell_is_tested_once_by_a_network_that_has_not_seen_it(finished: Path) -> None:
    tested: list[str] = []
    for run in family(finished)[1]:
        artifacts = Path(str(run.info.artifact_uri).removeprefix("file://"))
        predictions = pd.read_parquet(artifacts / "predictions" / "test.parquet")
        split = pd.read_csv(artifacts / "split.csv").set_index("id")["split"]
        assert set(split[predictions["id"]]) == {"test"}
        assert run.data.tags["split.sha256"]
        tested += predictions["id"].tolist()
    assert len(tested) == len(set(tested)) == 24


def test_every_fold_starts_from_the_same_weights_and_trains_its_own(finished: Path) -> None:
    states = []
    for run in family(finished)[1]:
        checkpoint = Path(str(run.info.artifact_uri).removeprefix("file://")) / "checkpoints" / "best.ckpt"
        states.append(torch.load(checkpoint, weights_only=True)["state_dict"])
    first, second, _ = ([value for name, value in state.items() if name.endswith("weight")] for state in states)
    assert not all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_parent_holds_configuration_summary_and_report(finished: Path) -> None:
    parent, children = family(finished)
    figures = {"figures/confusion_matrix.png", "figures/folds.png"}
    assert artifacts_of(parent) == {"config.yaml", "summary.json", "report.html", "model_card.md", *figures}
    report = (Path(str(parent.info.artifact_uri).removeprefix("file://")) / "report.html").read_text()
    assert "mean and standard deviation of 3 folds" in report
    for child in children:
        assert f'href="../../{child.info.run_id}/artifacts/report.html"' in report
        assert (Path(str(child.info.artifact_uri).removeprefix("file://")) / "report.html").is_file()
    assert "test accuracy" in parent.data.tags["mlflow.note.content"]
    assert not list((finished / "mlruns" / "active").iterdir())


def test_pooled_confusion_matrix_counts_every_cell_once(finished: Path) -> None:
    pooled = np.zeros((2, 2), int)
    for run in family(finished)[1]:
        table = pd.read_parquet(Path(str(run.info.artifact_uri).removeprefix("file://")) / "predictions" / "test.parquet")
        predicted = table[list(CLASSES)].idxmax(axis=1)
        pooled += pd.crosstab(
            pd.Categorical(table["label"], CLASSES), pd.Categorical(predicted, CLASSES), dropna=False
        ).to_numpy()
    summary = json.loads((finished / "out.json").read_text())
    assert summary["confusion"] == pooled.tolist()
    assert pooled.sum(axis=1).tolist() == [12, 12]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        (
            [{"train": 14, "val": 2, "test": 8}, {"train": 13, "val": 3, "test": 8}, {"train": 14, "val": 2, "test": 8}],
            "3 folds of 24 cells: each trains on 13 to 14, uses 2 to 3 for validation (a slice of the training folds) "
            "and is tested on 8; every cell is tested once",
        ),
        (
            [{"train": 40, "val": 40, "test": 20}] * 2,
            "2 folds of 100 cells: each trains on 40, uses 40 for validation (each fold in turn) and is tested on 20; "
            "all folds share this test set",
        ),
    ],
)
def test_sizes_of_folds_in_words(sizes: list[dict[SetName, int]], expected: str) -> None:
    assert describe_folds(sizes) == expected


def test_the_folds_together_are_a_network(finished: Path) -> None:
    """They vote with equal weights; what is known of their answers is that of each fold for cells that it was not trained on."""
    parent, _ = family(finished)
    network = find_network(Tracking(folder=str(finished / "mlruns")), parent.info.run_id, folds=True)
    files = sorted((finished / "cells").rglob("*.png"))[:5]
    alone = [bcc.load(fold.run_id, str(finished / "mlruns")).predict(files)[list(CLASSES)] for fold in network.folds]
    together = bcc.load(parent.info.run_id, str(finished / "mlruns")).predict(files)
    assert together[list(CLASSES)].to_numpy() == pytest.approx(np.mean([one.to_numpy() for one in alone], axis=0), abs=1e-6)
    ids = network.predictions("test")["id"]
    assert len(ids) == len(set(ids)) == 24
    assert len(network.predictions("validation")) == sum(len(fold.predictions("validation")) for fold in network.folds)


def test_the_folds_are_one_mlflow_model_which_votes(finished: Path) -> None:
    client = MlflowClient(f"sqlite:///{finished}/mlruns/mlflow.db")
    parent, children = family(finished)
    assert not any(child.outputs.model_outputs for child in children)
    (output,) = parent.outputs.model_outputs
    model = mlflow.pyfunc.load_model(client.get_logged_model(output.model_id).artifact_location)
    cells = [str(file) for file in sorted((finished / "cells").rglob("*.png"))][:5]
    expected = bcc.load(parent.info.run_id, folder=str(finished / "mlruns")).predict(cells)
    pd.testing.assert_frame_equal(model.predict(cells), expected.drop(columns="image"))


def test_a_fold_alone_gives_what_it_gives_among_others(finished: Path, tmp_path: Path) -> None:
    summary = run_experiment(Call.read(arguments(finished / "cells", "--data.folds", "3", "--data.fold", "1")))
    assert summary is not None
    among = family(finished)[1][1].data.metrics
    assert summary.metrics["val/loss"] == among["val/loss"]
    assert summary.metrics["test/accuracy"] == among["test/accuracy"]


@pytest.mark.parametrize("wanted", ["parent", "last"])
def test_an_interrupted_cross_validation_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "moved").mkdir()
    root = write_folder(tmp_path / "cells", CLASSES, per_class=12)
    train, calls = Training.train, []

    def interrupted_in_the_second_fold(training: Training) -> None:
        calls.append(training)
        if len(calls) == 2:
            raise KeyboardInterrupt
        train(training)

    monkeypatch.setattr(Training, "train", interrupted_in_the_second_fold)
    assert main(arguments(root, "--folds", "3")) == 130
    parent, children = family(tmp_path)
    assert [run.info.status for run in (parent, *children)] == ["KILLED", "FINISHED", "KILLED"]
    resume = ["--resume", parent.info.run_id if wanted == "parent" else "last"]
    if wanted == "parent":  # after the folder of runs and the data have moved
        (tmp_path / "mlruns").rename(tmp_path / "moved" / "mlruns")
        resume += ["--tracking.folder", "moved/mlruns", "--data.root", str(root.rename(tmp_path / "moved" / "cells"))]
    assert main([*resume, "--trainer.max_epochs", "2"]) == 2  # the first fold has been trained with 1
    assert "--trainer.max_epochs 2 (the run has 1: the folds that have finished were trained with it)" in capsys.readouterr().err
    assert main(resume) == 0
    parent, resumed = family(tmp_path / "moved" if wanted == "parent" else tmp_path)
    assert [run.info.status for run in (parent, *resumed)] == ["FINISHED"] * 4
    assert [run.info.run_id for run in resumed[:2]] == [run.info.run_id for run in children]
    assert parent.data.metrics["test/accuracy"] == pytest.approx(np.mean([c.data.metrics["test/accuracy"] for c in resumed]))
    assert len(calls) == 4  # the finished fold was not trained again


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--folds", "1"], "--folds is 1, it must be a whole number from 2"),
        (["--folds", "many"], "command line: key 'folds' takes int, not 'many'"),
        (["--folds", "40"], "each class needs at least 40 images before 40 folds can be made"),
        (["--repeats", "2"], "--repeats needs --folds K"),
    ],
)
def test_folds_that_cannot_be(flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_folder(tmp_path / "cells", CLASSES, per_class=12)
    assert main(arguments(root, *flags)) == 2
    assert message in capsys.readouterr().err
    assert runs_in(tmp_path / "mlruns") == []
