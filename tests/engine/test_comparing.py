"""Finished runs compared: what is read of them, what is refused and why, what is written."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy.stats import binomtest
from scipy.stats import t as student
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from bcc_lightning.compare import main
from bcc_lightning.engine.comparing import compare
from bcc_lightning.engine.comparison_page import SHOWN
from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.comparison_figures import Disagreement, disagreements_figure
from bcc_lightning.fit import main as fit
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.tracking.trained_networks import TrainedNetwork, find_network
from tests.miniature import CELLS, QUICK, TINY, add_run, miniature_arrays, write_miniature_bloodmnist

FACTS = {
    "data.name": "CellFolder",
    "data.sha256": "aa" * 32,
    "split.sha256": "bb" * 32,
    "data.cells": "80 train, 10 val, 40 test",
}
IDENTITY = {"pixels": "p", "ids": "i", "labels": "l"}


def table(wrong: set[int], cells: range = range(40), classes: str = "xyz", **labels: str) -> pd.DataFrame:
    """Answers for cells 0 to 39, of which every third is of the same class; some of them are wrong."""
    rows = []
    for cell in cells:
        label = labels.get(f"c{cell}", classes[cell % 3])
        answer = classes[(cell + 1) % 3] if cell in wrong else classes[cell % 3]
        rows.append({"id": f"c{cell}", "label": label, **{name: 0.8 if name == answer else 0.1 for name in classes}})
    return pd.DataFrame(rows).astype({name: np.float32 for name in classes})


def add(experiment: str, seed: int = 0, params: dict[str, str] | None = None, **given: Any) -> str:
    """File a run by hand with what it answered; arguments with the names of sets are tables."""
    sets = {name: given.pop(name) for name in list(given) if isinstance(given[name], pd.DataFrame)}
    config = {
        "seed_everything": seed,
        "model": {"class_path": "M", "init_args": {"lr": given.pop("lr", 0.1)}},
        "exp": [experiment],
    }
    files = {"checkpoints/best.ckpt": "", "config.yaml": json.dumps(config)}
    facts = {"data": {**FACTS, **given.pop("facts", {})}, "identity": {**IDENTITY, **given.pop("identity", {})}}
    run_id = add_run(
        Tracking(), experiment, params={"seed_everything": str(seed), **(params or {})}, files=files, **facts, **given
    )
    for name, answers in sets.items():
        file = Path("mlruns/artifacts", run_id, "artifacts", "predictions", f"{name}.parquet")
        file.parent.mkdir(exist_ok=True)
        answers.to_parquet(file, index=False)
    return run_id


def network(wanted: str) -> TrainedNetwork:
    return find_network(Tracking(), wanted, folds=True)


def runs(*wanted: str) -> list[str]:
    return [part for one in wanted for part in ("--run", one)]


def written(folder: str = "out") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(folder, "comparison.json").read_text())
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("ready_store")
def test_two_runs_whatever_the_order_of_cells_and_classes(capsys: pytest.CaptureFixture[str]) -> None:
    """One is wrong on cells 0 to 3, the other on 2 to 12: 2 only it gets right, 9 only the first."""
    first = add("good", test=table(set(range(4))))
    shuffled = table(set(range(2, 13))).sample(frac=1, random_state=1)[["id", "label", "z", "x", "y"]]
    second = add("poor", lr=0.5, test=shuffled)
    assert main([*runs("good", "poor"), "--out", "out"]) == 0

    found = written()
    (tested,), (difference,) = found["mcnemar"], found["differences"]
    assert (tested["first"], tested["second"]) == (first, second)
    assert [tested[name] for name in ("both_right", "only_first", "only_second", "both_wrong")] == [27, 9, 2, 2]
    assert tested["p_value"] == pytest.approx(binomtest(2, 11).pvalue)
    assert difference["accuracy"]["value"] == pytest.approx(-7 / 40)
    assert difference["accuracy"]["low"] < -7 / 40 < difference["accuracy"]["high"]
    assert found["holm"] is None
    assert found["metrics"][first]["accuracy"]["value"] == pytest.approx(36 / 40)
    assert found["most_frequent"] == pytest.approx(14 / 40)
    assert found["configuration"] == {"model.lr": {first: "0.1", second: "0.5"}}

    answers = pd.read_csv("out/comparison.csv").set_index("id")
    assert set(answers.index[answers["differ"]]) == {f"c{cell}" for cell in [0, 1, *range(4, 13)]}
    assert answers.loc["c4", f"predicted_{second[:8]}"] == "z"
    assert answers.loc["c4", f"true_probability_{second[:8]}"] == pytest.approx(0.1)
    sentence = f"A good ({first[:8]}) is 17.50 points of accuracy above B poor ({second[:8]}), but the difference may be due to "
    output = capsys.readouterr().out
    page = Path("out/comparison.html").read_text()
    for text in (output, page, Path("out/comparison.md").read_text(), found["verdict"][0]):
        assert sentence in text
    assert "always answering x" in page
    assert "35.0 %" in output
    assert "No cells are drawn" in page
    assert "c12" in page
    assert not list(Path("out").glob("disagreements*"))


@pytest.mark.slow
@pytest.mark.usefixtures("ready_store")
def test_three_runs_are_corrected_by_holm_and_a_hopeless_one_is_named() -> None:
    """Always wrong on 38 of 40 cells is worse than the most frequent class."""
    ids = [add("a", test=table(set(range(3)))), add("b", test=table(set(range(3, 6)))), add("c", test=table(set(range(38))))]
    found = compare([network(run_id) for run_id in ids], Path("out"))
    exact = [binomtest(3, 6).pvalue, binomtest(0, 35).pvalue, binomtest(0, 35 - 3 + 3).pvalue]
    assert [pair.p_value for pair in found.figures.pairs] == pytest.approx([exact[0], exact[1], exact[2]])
    assert [one["p_value"] for one in written()["holm"]] == pytest.approx([1.0, 3 * exact[1], 3 * exact[1]])
    assert [pair.is_decided for pair in found.figures.pairs] == [False, True, True]
    assert "have the same accuracy" in found.verdict[0]
    assert f"A a ({ids[0][:8]}) is better than C c ({ids[2][:8]}) by 87.50 points of accuracy" in found.verdict[1]
    assert found.verdict[-1].startswith(
        f"C c ({ids[2][:8]}) is no better than always answering x: 5.00 % of the cells instead of 35.00 %"
    )
    assert repr(found) == "\n".join(found.verdict)


def facts_of(fold: int) -> dict[str, str]:
    """Facts of one of four folds of 40 cells."""
    return {"split.sha256": str(fold) * 64, "data.cells": "25 train, 5 val, 10 test"}


def cross_validated(experiment: str, wrong: list[int], folds: list[int]) -> str:
    """File a cross-validation of four folds, each with some cells wrong."""
    runs = [
        add(
            experiment,
            test=table(set(range(10 * fold, 10 * fold + mistakes)), range(10 * fold, 10 * fold + 10)),
            facts=facts_of(name),
        )
        for (fold, mistakes), name in zip(enumerate(wrong), folds, strict=True)
    ]
    return add(experiment, folds=[{"run_id": run_id} for run_id in runs], facts={"split.sha256": "none"})


@pytest.mark.slow
@pytest.mark.usefixtures("ready_store")
def test_cross_validations_with_the_same_folds() -> None:
    """Mistakes 1, 2, 3, 2 and 2, 4, 4, 2 of 10: differences of -0.1, -0.2, -0.1, 0, whose deviation is sqrt(0.02 / 3)."""
    first, second = cross_validated("a", [1, 2, 3, 2], [0, 1, 2, 3]), cross_validated("b", [2, 4, 4, 2], [0, 1, 2, 3])
    found = compare([network(first), network(second)], Path("out"))
    assert found.figures.cells == 40
    (one,) = found.repetitions
    assert (one.over, one.trainings, one.test_cells, one.training_cells) == ("folds", 4, 10, 25)
    t = -0.1 / ((1 / 4 + 10 / 25) * 0.02 / 3) ** 0.5
    assert one.metrics["accuracy"].statistic == pytest.approx(t)
    (filed,) = written()["resampled"]
    assert filed["metrics"]["accuracy"]["p_value"] == pytest.approx(2 * student.sf(-t, 3))
    assert found.verdict[0].startswith("Over 4 folds, 4 folds of a")
    assert "may be due to chance" in found.verdict[0]

    other = cross_validated("c", [1, 1, 1, 1], [0, 1, 2, 9])
    found = compare([network(first), network(other)])
    assert found.repetitions == []
    assert any("different folds" in note for note in found.notes)


@pytest.mark.slow
@pytest.mark.usefixtures("ready_store")
def test_seeds_of_two_experiments(capsys: pytest.CaptureFixture[str]) -> None:
    """Mistakes 2, 3, 4 and 6, 8, 7 of 40 cells; the seeds of one experiment are not compared with one another."""
    mistakes = {"a": {0: 2, 1: 3, 2: 4}, "b": {2: 7, 0: 6, 1: 8}}
    ids = [add(name, seed, test=table(set(range(wrong)))) for name, seeds in mistakes.items() for seed, wrong in seeds.items()]
    found = compare([network(run_id) for run_id in ids])
    assert len(found.figures.pairs) == 9
    assert {(pair.first < 3, pair.second < 3) for pair in found.figures.pairs} == {(True, False)}
    (one,) = found.repetitions
    differences = np.array([2 - 6, 3 - 8, 4 - 7]) / 40
    error = (differences.var(ddof=1) * (1 / 3 + 40 / 80)) ** 0.5
    assert (one.over, one.trainings) == ("seeds", 3)
    assert one.metrics["accuracy"].statistic == pytest.approx(differences.mean() / error)
    assert found.verdict[0].startswith("Over 3 seeds, a is better than b by 10.00 points of accuracy")

    assert main([*runs(*ids), "--out", "out"]) == 0
    output = capsys.readouterr().out
    assert found.verdict[0] in output
    assert "0 of 9 pairs differ in accuracy beyond chance." in output
    assert "D - A" in output

    alike = add("a", 5, params={"model.lr": "9"}, lr=9, test=table(set()))  # another recipe is no further seed
    assert [one.trainings for one in compare([network(run_id) for run_id in [*ids, alike]]).repetitions] == [3]


@pytest.mark.slow
@pytest.mark.usefixtures("ready_store")
def test_further_sets_may_be_of_runs_on_other_data() -> None:
    clinic, validation = table({1}, range(12)), table({2}, range(9))
    first = add("a", clinic=clinic, validation=validation)
    second = add("b", clinic=table({3}, range(12)), validation=validation, facts={"data.sha256": "cc" * 32})
    found = compare([network(first), network(second)], name="clinic")
    assert (found.figures.cells, found.figures.pairs[0].only_first, found.figures.pairs[0].only_second) == (12, 1, 1)
    with pytest.raises(UserError, match="their data differ: data\\.sha256"):
        compare([network(first), network(second)], name="validation")
    again = add("c", validation=validation, tested_on="validation")
    found = compare([network(first), network(again)], name="validation")
    assert "optimistically biased" in found.notes[1]
    assert "right and wrong on exactly the same cells" in found.verdict[0]


@pytest.mark.slow
@pytest.mark.usefixtures("ready_store")
def test_what_cannot_be_compared(capsys: pytest.CaptureFixture[str]) -> None:
    add("a", test=table({1}), clinic=table({1}))
    add("classes", test=table({1}, classes="xyw"))
    add("fewer", test=table({1}, range(30)), facts={"split.sha256": "dd" * 32})
    add("labels", test=table({1}, c7="z"))
    add("pixels", test=table({1}), facts={"data.sha256": "cc" * 32}, identity={"pixels": "q"})
    add("trial", validation=table({1}), tested_on="validation")
    add("untested")
    Path("bare.ckpt").write_text("")
    Path("file").write_text("")
    refused = {
        ("--run", "a"): "a comparison takes two runs or more, only a (",
        ("--run", "a", "--run", "a"): "is named twice; leave one out",
        ("--run", "a", "--checkpoint", "bare.ckpt"): "bare.ckpt belongs to no run",
        ("--run", "a", "--checkpoint", "no.ckpt"): "checkpoint no.ckpt does not exist",
        ("--run", "a", "--run", "nobody"): "no finished run 'nobody'",
        ("--run", "a", "--run", "classes"): "distinguish different classes: only a (",
        ("--run", "a", "--run", "fewer"): "has 40 cells, 10 of them alone (such as c30)",
        ("--run", "a", "--run", "labels"): "1 cells of the test set have different labels: c7 is y in a (",
        (
            "--run",
            "a",
            "--run",
            "pixels",
        ): f"data.sha256 {'a' * 12} in CellFolder and {'c' * 12} in CellFolder; their pixels differ",
        ("--run", "a", "--run", "trial"): "is a trial of a search: it is evaluated on the validation set only",
        ("--run", "a", "--run", "untested"): "has no predictions of the test set. Sets that are filed: a (",
        ("--run", "a", "--run", "labels", "--set", "clinic"): "test set clinic. Sets that are filed: a (",
        ("--run", "a", "--run", "labels", "--sett", "clinic"): "sett",
    }
    for argv, message in refused.items():
        assert main([*argv, "--out", "out"]) == 2
        error = capsys.readouterr().err
        assert message in error, argv
    assert main([*runs("a", "labels")]) == 2
    assert "--out DIR is missing" in capsys.readouterr().err
    assert main([*runs("a", "labels"), "--out", "file/out"]) == 2
    assert "is a file, not a folder" in capsys.readouterr().err
    assert not Path("out").exists()


@pytest.mark.slow
def test_runs_of_real_networks_and_the_sheet_of_their_disagreements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = ["--data.root", str(write_miniature_bloodmnist(tmp_path / "bloodmnist")), "--data.verify_checksum", "false"]
    few = [*TINY, *QUICK, *data, "--trainer.max_epochs", "1"]
    assert fit([*few, "--summary", "0.json"]) == 0
    assert fit([*few, "--seed_everything", "1", "--data.image_size", "48", "--summary", "1.json"]) == 0
    summaries = [json.loads(Path(f"{seed}.json").read_text()) for seed in (0, 1)]
    ids = [summary["run_id"] for summary in summaries]
    drawn: list[tuple[str, list[Disagreement]]] = []

    def draw(sides: list[tuple[str, list[Disagreement]]]) -> Figure:
        """Keep what is drawn."""
        drawn.extend(sides)
        return disagreements_figure(sides)

    monkeypatch.setattr("bcc_lightning.engine.comparison_page.disagreements_figure", draw)
    assert main([*runs(*ids), "--out", "out"]) == 0

    found = written()
    right, tables = [], [pd.read_parquet(f"mlruns/artifacts/{run_id}/artifacts/predictions/test.parquet") for run_id in ids]
    for summary, one in zip(summaries, tables, strict=True):
        names = list(one.columns[2:])
        predicted = np.array(names)[one[names].to_numpy().argmax(axis=1)]
        right.append(predicted == one["label"].to_numpy())
        metrics = {name: value["value"] for name, value in found["metrics"][summary["run_id"]].items()}
        assert metrics["accuracy"] == pytest.approx(accuracy_score(one["label"], predicted))
        assert metrics["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(one["label"], predicted))
        assert metrics["f1_macro"] == pytest.approx(f1_score(one["label"], predicted, average="macro", zero_division=0))
        assert metrics["auroc_macro"] == pytest.approx(summary["metrics"]["test/auroc_macro"], abs=1e-6)
        assert metrics["ece"] == pytest.approx(summary["metrics"]["test/ece"], abs=1e-6)
    assert {"seed_everything", "data.image_size"} <= set(found["configuration"])
    assert found["cells"] == CELLS["test"]

    images, only = miniature_arrays()["test_images"], (right[0] & ~right[1], right[1] & ~right[0])
    assert only[0].any() or only[1].any()
    for (title, cells), rows in zip(drawn, only, strict=True):
        assert title.startswith(f"{rows.sum()} cells only")
        assert {cell.image.tobytes() for cell in cells} == {image.tobytes() for image in images[rows][:SHOWN]}
    assert Path("out/comparison.html").read_text().count("data:image/png;base64,") == 2
