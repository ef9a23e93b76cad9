"""A finished run evaluated later: the same probabilities as `predict`, filed beside its own test, never over it."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run
from PIL import Image

from bcc_lightning.datasets.classes import EIGHT_CELL_CLASSES, WHITE_CELL_CLASSES
from bcc_lightning.engine.evaluating import evaluate
from bcc_lightning.engine.robustness import evaluate_robustness
from bcc_lightning.errors import UserError
from bcc_lightning.evaluate import main
from bcc_lightning.fit import main as fit
from bcc_lightning.prediction.classifier import TrainedClassifier
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.tracking.trained_networks import TrainedNetwork, find_network
from tests.datamodules.miniatures import write_folder
from tests.miniature import QUICK, TINY, runs_in

pytestmark = [pytest.mark.xdist_group("evaluating"), pytest.mark.slow]  # one process trains for all

KEYS = {
    *("accuracy", "balanced_accuracy", "most_frequent", "intervals", "classes", "cells"),
    *("temperature", "calibration", "conformal", "selective", "confusion"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run on painted image files, and sets that arrived later."""
    folder = tmp_path_factory.mktemp("evaluating")
    write_folder(folder / "cells", per_class=12)
    short = {"neutrophil": "Ne", "monocyte": "MO"}
    write_folder(folder / "clinic", WHITE_CELL_CLASSES, per_class=5, seed=8, **short)
    for number, file in enumerate(sorted((folder / "clinic").rglob("*.png"))):  # other sizes, all smaller than the network's
        side = 21 + number % 3
        Image.fromarray(cv2.resize(np.asarray(Image.open(file)), (side, side + number % 2))).save(file)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("BCC_CACHE_DIR", str(folder / "cache"))
        data = ["--data", "CellFolder", "--data.root", str(folder / "cells")]
        assert fit([*TINY, *data, *QUICK, "--trainer.max_epochs", "1"]) == 0
    return folder


@pytest.fixture
def work(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run for each test, since evaluations are filed in it."""
    for name in ("mlruns", "clinic"):
        shutil.copytree(trained / name, tmp_path / name)
    monkeypatch.setenv("BCC_CACHE_DIR", str(trained / "cache"))
    return tmp_path


@pytest.fixture(autouse=True)
def without_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the figures, which take seconds, where a test does not look at them."""
    if "whole_page" not in request.fixturenames:
        monkeypatch.setattr("bcc_lightning.engine.evaluation_page.figures_of", lambda _: {})


@pytest.fixture
def whole_page() -> None:
    """Ask for the figures."""


def network() -> TrainedNetwork:
    return find_network(Tracking(), "efficientnet_b0", folds=True)


def the_run() -> Run:
    (run,) = runs_in(Path("mlruns"))
    return run


def artifacts() -> Path:
    """Find the files of the copied run; its database names the place of the original until a command opens it."""
    return Path("mlruns/artifacts").absolute() / the_run().info.run_id / "artifacts"


def hashes() -> dict[str, str]:
    """Hash every artifact of the run."""
    files = (file for file in artifacts().rglob("*") if file.is_file())
    return {f.relative_to(artifacts()).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def figures(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "evaluation.json").read_text())
    return found


def command(*flags: str) -> int:
    return main(["--run", "efficientnet_b0", "--out", "out", *flags])


def test_the_probabilities_are_those_of_predict_on_the_files(work: Path) -> None:
    assert command("--data.test_on", "[clinic]", "--gallery", "false") == 0
    table = pd.read_parquet("out/predictions.parquet")
    files = [work / "clinic" / name for name in table["id"]]
    answers = TrainedClassifier.of(network()).predict(files)
    names = list(EIGHT_CELL_CLASSES)
    assert table[names].to_numpy().tobytes() == answers[names].to_numpy().tobytes()
    assert len(table) == len(table[names].drop_duplicates()) == 25  # the network does not answer all cells alike
    known = {"Ne": "neutrophil", "MO": "monocyte"}
    folders = [Path(name).parts[0] for name in table["id"]]
    assert [known.get(name, name) for name in folders] == list(table["label"])


@pytest.mark.usefixtures("whole_page")
def test_filed_in_the_same_run_which_stays_finished_and_keeps_its_own_test(work: Path) -> None:
    before, own = hashes(), dict(the_run().data.metrics)
    assert command("--data.test_on", "[clinic]") == 0
    run, after, found = the_run(), hashes(), figures(work / "out")
    assert run.info.status == "FINISHED"
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"evaluation/clinic.html", "evaluation/clinic.json", "predictions/clinic.parquet"}
    added = {name: value for name, value in run.data.metrics.items() if name not in own}
    assert {name: run.data.metrics[name] for name in own} == own
    assert added
    assert all(name.startswith("test_on/clinic/") for name in added)
    assert added["test_on/clinic/accuracy"] == pytest.approx(found["accuracy"])
    assert set(found) >= KEYS
    assert set(found["own_test"]) >= KEYS
    assert found["own_test"]["accuracy"] == pytest.approx(own["test/accuracy"])
    filed = network().predictions("clinic")
    right = filed[list(EIGHT_CELL_CLASSES)].idxmax(axis=1) == filed["label"]
    assert found["accuracy"] == pytest.approx(right.mean())
    page = (work / "out" / "evaluation.html").read_text()
    assert page.index(">clinic</h2>") < page.index(">Own test set</h2>")
    assert page.count("data:image/png;base64,") >= 12  # six figures of each set


def test_the_same_cells_replace_and_others_are_refused(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--data.test_on", "[clinic]", "--gallery", "false")
    assert command(*arguments) == 0
    assert command(*arguments) == 0
    before = hashes()
    one = next((work / "clinic" / "Ne").iterdir())
    Image.fromarray(255 - np.asarray(Image.open(one))).save(one)
    capsys.readouterr()
    assert command(*arguments) == 2
    assert "a set called clinic, which held other cells" in (message := capsys.readouterr().err)
    assert "--name OTHER" in message
    assert hashes() == before
    assert command(*arguments, "--name", "clinic 2") == 0
    assert "predictions/clinic 2.parquet" in hashes()


@pytest.mark.parametrize("name", ["test", "Validation", "TEST"])
def test_no_set_stands_over_the_own_test(work: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = hashes()
    assert command("--data.test_on", "[clinic]", "--name", name) == 2
    assert f"the set would be called {name}" in capsys.readouterr().err
    assert hashes() == before
    assert not (work / "out").exists()


def test_the_own_test_needs_no_data_and_reads_what_was_filed(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pd.read_parquet(artifacts() / "predictions/test.parquet")
    monkeypatch.setattr("bcc_lightning.engine.evaluating.own_data", lambda _: "/far/away does not exist")
    before = hashes()
    assert command() == 0
    assert figures(work / "out")["cells"] == len(table)
    assert "No cells are drawn: /far/away does not exist" in (work / "out/evaluation.html").read_text()
    pd.testing.assert_frame_equal(pd.read_parquet("out/predictions.parquet"), table)
    after = hashes()
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"evaluation/test.html", "evaluation/test.json"}


def test_file_false_leaves_the_run_alone(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, metrics = hashes(), dict(the_run().data.metrics)
    assert command("--data.test_on", "[clinic]", "--file", "false", "--gallery", "false") == 0
    assert (hashes(), dict(the_run().data.metrics)) == (before, metrics)
    assert "Not filed, as wished." in capsys.readouterr().out


def test_a_checkpoint_is_evaluated_and_says_that_it_is_not_filed(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(artifacts() / "checkpoints/best.ckpt", "alone.ckpt")
    arguments = ["--checkpoint", "alone.ckpt", "--out", "out"]
    assert main([*arguments, "--data.test_on", "[clinic]", "--gallery", "false"]) == 0
    assert "Not filed: a checkpoint alone belongs to no run" in capsys.readouterr().out
    found = figures(work / "out")
    assert (found["temperature"], found["conformal"], found["own_test"]) == (None, None, None)
    assert any("could not be checked" in notice for notice in found["notices"])
    assert main(arguments) == 2
    assert "alone.ckpt has no predictions of the test set" in capsys.readouterr().err


def test_cells_that_were_trained_on_are_refused(work: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(next((trained / "cells" / "monocyte").iterdir()), work / "clinic" / "MO" / "again.png")
    assert command("--data.test_on", "[clinic]") == 2
    assert "shares 1 of its 26 images" in capsys.readouterr().err
    again = work / "clinic" / "MO" / "again.png"
    Image.open(again).save(again, compress_level=0)  # other bytes, the same pixels
    assert command("--data.test_on", "[clinic]") == 2
    assert "clinic shares 1 of its 26 cells with the data of efficientnet_b0" in capsys.readouterr().err
    assert command("--data", "CellFolder", "--data.root", str(trained / "cells")) == 2
    assert "cells shares 96 of its 96 cells" in capsys.readouterr().err
    assert not (work / "out").exists()


def test_any_data_module_by_its_test_set_or_all_of_it(work: Path) -> None:
    for seed, part in enumerate(("train", "val", "test"), start=20):
        write_folder(work / "ward" / part, WHITE_CELL_CLASSES, per_class=2, seed=seed)
    assert command("--data", "CellFolder", "--data.root", "ward", "--gallery", "false") == 0
    assert (figures(work / "out")["cells"], figures(work / "out")["name"]) == (10, "ward")
    assert "the test set of CellFolder" in figures(work / "out")["read"]
    assert command("--data", "CellFolder", "--data.root", "clinic", "--gallery", "false") == 0
    assert "It has no test set of its own." in figures(work / "out")["read"]
    painted = ("--data", "SyntheticSmear", "--data.painting_seed", "7", "--data.test_cells", "16")
    assert command(*painted, "--gallery", "false", "--name", "painted") == 0
    assert figures(work / "out")["cells"] == 16


def test_several_sets_each_get_a_folder(work: Path) -> None:
    write_folder(work / "ward", ("monocyte", "platelet"), per_class=3, seed=9, platelet="PLT-x")
    flags = ("--data.test_on", "[clinic, ward]", "--data.class_map", "{PLT-x: platelet}", "--gallery", "false")
    assert command(*flags) == 0
    assert {name: figures(work / "out" / name)["cells"] for name in ("clinic", "ward")} == {"clinic": 25, "ward": 6}
    assert command(*flags, "--name", "both") == 2


@pytest.mark.parametrize("option", ["class_map", "test_pixel_size"])
def test_mappings_for_no_set(work: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    value = "{platelet: null}" if option == "class_map" else "{clinic: 0.1}"
    assert command(f"--data.{option}", value) == 2
    assert f"--data.{option} names {value[1:].partition(':')[0]}, but --data.test_on names no set" in capsys.readouterr().err


def test_sizes_of_pixels_that_the_network_cannot_use_are_not_used_in_either_way(work: Path) -> None:
    sized = work / "sized.csv"
    files = sorted((work / "clinic").rglob("*.png"))
    rows = [f"{file},{file.parent.name},{0.1 if number % 2 else 0.3}" for number, file in enumerate(files)]
    sized.write_text("\n".join(["path,label,pixel_size", *rows]))
    found = []
    for named in (
        ("--data.test_on", f"[{sized}]"),
        ("--data", "CellTable", "--data.table", str(sized)),
        ("--data.test_on", "[clinic]"),
    ):
        assert command(*named, "--gallery", "false", "--file", "false", "--name", "sized") == 0
        found.append(figures(work / "out")["metrics"]["ece"])
        told = "its pixel sizes are not used, since those of the training images are unknown"
        assert (told in (work / "out" / "evaluation.html").read_text()) == ("clinic" not in named[1])
    assert found == pytest.approx([found[0]] * 3, abs=1e-5)


def test_a_class_that_the_class_map_leaves_out(work: Path) -> None:
    write_folder(work / "ward", ("monocyte", "platelet", "basophil"), per_class=3, seed=9, basophil="smudge cell")
    for named in (("--data.test_on", "[ward]"), ("--data", "CellFolder", "--data.root", "ward")):
        assert command(*named, "--data.class_map", "{Smudge Cell: null}", "--gallery", "false", "--file", "false") == 0
        assert figures(work / "out")["cells"] == 6
        assert "Left out by --data.class_map: 3 of smudge cell." in (work / "out" / "evaluation.html").read_text()


@pytest.mark.parametrize(
    ("classes", "flags", "message"),
    [
        ({"monocyte": "blast"}, (), r"holds the class blast, which is not among"),
        ({}, ("--data.class_map", "{nothing: platelet}"), "--data.class_map names nothing"),
        ({}, ("--data.class_map", "{monocyte: nothing}"), "--data.class_map gives monocyte the name nothing"),
    ],
)
def test_classes_that_the_run_does_not_know(
    work: Path, classes: dict[str, str], flags: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(work / "ward", ("monocyte", "platelet"), per_class=3, seed=9, **classes)
    for named in (("--data.test_on", "[ward]"), ("--data", "CellFolder", "--data.root", "ward")):
        assert command(*named, *flags) == 2
        assert message.removeprefix("--data.") in capsys.readouterr().err.replace("--data.", "")
    assert not (work / "out").exists()


def test_sets_that_mean_nothing(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(work / "one", ("monocyte",), per_class=3, seed=9)
    images = [Image.fromarray(np.full((8, 8, 3), shade, np.uint8)) for shade in (10, 90)]
    for folder in ("unlabelled", "empty/monocyte", "empty/platelet"):
        (work / folder).mkdir(parents=True)
    for number, image in enumerate(images):
        image.save(work / "unlabelled" / f"{number}.png")
    for name in ("one", "unlabelled", "empty", "missing"):
        assert command("--data.test_on", f"[{name}]") == 2, name
        message = capsys.readouterr().err
        assert message.startswith("error: ")
        assert name in message
    assert not (work / "out").exists()


@pytest.mark.usefixtures("whole_page")
def test_folds_are_pooled_for_their_own_test_and_vote_on_a_further_set(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BCC_CACHE_DIR", str(trained / "cache"))
    monkeypatch.setattr("bcc_lightning.engine.evaluation_page.SHOWN", 3)
    data = ["--data", "CellFolder", "--data.root", str(trained / "cells")]
    assert fit([*TINY, *data, *QUICK, "--trainer.max_epochs", "1", "--folds", "2"]) == 0
    folds = network()
    (own,) = evaluate(folds, Path("own"))
    assert own.assessment.cells == len(set(folds.predictions("test")["id"])) == 96
    pooled = folds.predictions("test")
    right = pooled[list(EIGHT_CELL_CLASSES)].idxmax(axis=1) == pooled["label"]
    assert own.assessment.accuracy == pytest.approx(right.mean())
    assert "No cells are drawn" not in Path("own/evaluation.html").read_text()
    with pytest.raises(UserError, match=r"2 folds of efficientnet_b0 .* are tested on different cells"):
        evaluate_robustness(folds, Path("faults"))
    (found,) = evaluate(folds, Path("far"), test_on=[str(trained / "clinic")], gallery=False)
    assert found.own_test == own.assessment
    filed = network().predictions("clinic")
    assert len(filed) == 25
    names = list(EIGHT_CELL_CLASSES)
    votes = [
        TrainedClassifier.of(fold).predict([trained / "clinic" / name for name in filed["id"]])[names] for fold in folds.folds
    ]
    np.testing.assert_allclose(filed[names], sum(votes) / 2, atol=1e-5)


def test_from_python_and_with_nothing_to_fit_on(work: Path) -> None:
    (artifacts() / "predictions/validation.parquet").unlink()
    (found,) = evaluate(network(), Path("out"), test_on=["clinic"], gallery=False, file=False)
    assert found.assessment.temperature is None
    assert found.own_test is not None
    assert found.own_test.conformal is None


def test_an_adapted_network_stands_beside_itself_before(work: Path) -> None:
    network = find_network(Tracking(folder=str(work / "mlruns")), "efficientnet_b0")
    plain = evaluate(network, work / "plain", test_on=[str(work / "clinic")], gallery=False)[0]
    found = evaluate(network, work / "adapted", test_on=[str(work / "clinic")], gallery=False, methods=("bn", "prior"))[0]
    figures = json.loads((work / "adapted/evaluation.json").read_text())
    assert figures["adaptation"]["methods"] == ["bn", "prior"]
    assert figures["adaptation"]["cells"] == 25
    assert sum(figures["adaptation"]["shares"].values()) == pytest.approx(1)
    assert figures["before"]["confusion"] == plain.assessment.confusion
    assert figures["own_test"]["accuracy"] == plain.own_test.accuracy  # type: ignore[union-attr]
    assert found.assessment.name == "clinic-adapted-bn-prior"
    page = (work / "adapted/evaluation.html").read_text()
    assert "Adapted by bn, prior to 25 of these cells, without their labels." in page
    assert "clinic, before adaptation" in page
    run = find_network(Tracking(folder=str(work / "mlruns")), "efficientnet_b0").run
    assert run is not None
    assert {"clinic", "clinic-adapted-bn-prior"} <= set(run.evaluated_sets)


def test_faults_of_images_are_measured_and_filed(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [
        "--run",
        "efficientnet_b0",
        "--tracking.folder",
        str(work / "mlruns"),
        "--robustness",
        "true",
        "--out",
        str(work / "faults"),
    ]
    assert main(flags) == 0
    figures = json.loads((work / "faults/robustness.json").read_text())
    assert len(figures["errors"]) == 11
    own = find_network(Tracking(folder=str(work / "mlruns")), "efficientnet_b0").predictions()
    classes = [column for column in own if column not in {"id", "label"}]
    recalls = (own[classes].idxmax(axis=1) == own["label"]).groupby(own["label"]).mean()
    assert figures["clean"] == pytest.approx(1 - recalls.mean())
    page = (work / "faults/robustness.html").read_text()
    assert page.count("data:image/png") == 2
    assert "stain deposit" in page
    (run,) = runs_in(work / "mlruns")
    assert run.data.metrics["robustness/BE"] == pytest.approx(figures["BE"])
    assert "cells with faults" in capsys.readouterr().out


def test_adapting_to_the_own_test_set_is_refused(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--run", "efficientnet_b0", "--tracking.folder", str(work / "mlruns"), "--out", str(work / "x"), "--adapt", "bn"]
    assert main(flags) == 2
    assert "--adapt adapts a network to another laboratory" in capsys.readouterr().err
