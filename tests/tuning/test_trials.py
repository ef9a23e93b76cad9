"""A `fit` as the trial of a search: what it reports, how it is stopped, and that it never reads the test set."""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from bcc_lightning.cli.arguments import Call
from bcc_lightning.datamodules.base import CellDataModule
from bcc_lightning.datamodules.synthetic_smear import SyntheticSmear
from bcc_lightning.engine.cross_validation import report_fold
from bcc_lightning.engine.fold_plan import CrossValidation
from bcc_lightning.errors import Pruned, UserError
from bcc_lightning.fit import main
from bcc_lightning.tuning.channel import VARIABLE, Greeting, TrialChannel
from bcc_lightning.tuning.trial import TrialReport, refuse_changed_data
from tests.datamodules.miniatures import write_folder
from tests.miniature import PAINTED, QUICK, artifacts_of, runs_in

pytestmark = pytest.mark.slow

TAGS = {"study": "study", "trial.number": "7"}

TINY = ["--exp", "pbc_cnn", *PAINTED, *QUICK, "--model.head.hidden", "[8]"]


@contextmanager
def worker(answer: Callable[[dict[str, Any]], bool] = lambda _: True, **greeting: Any) -> Iterator[list[dict[str, Any]]]:
    """Act as the worker of a trial that runs in this process; yields its messages."""
    ours, theirs = socket.socketpair()
    messages: list[dict[str, Any]] = []

    def listen() -> None:
        for line in ours.makefile("rb"):
            messages.append(json.loads(line))
            if "step" in messages[-1]:
                ours.sendall(json.dumps({"go": answer(messages[-1])}).encode() + b"\n")

    ours.sendall(json.dumps(asdict(Greeting("study", 7, **{"metric": "val/accuracy", **greeting}))).encode() + b"\n")
    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    os.environ[VARIABLE] = str(theirs.detach())
    yield messages
    thread.join(10)
    assert VARIABLE not in os.environ


def trial(folder: Path, *flags: str) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """Run a trial; gives its messages and its predictions."""
    with worker(tags=TAGS) as messages:
        assert main([*TINY, "--trainer.max_epochs", "2", "--tracking.folder", str(folder), *flags]) == 0
    (run,) = runs_in(folder)
    artifacts = Path(str(run.info.artifact_uri).removeprefix("file://"))
    return messages, pd.read_parquet(artifacts / "predictions" / "validation.parquet")


def test_nothing_that_a_trial_says_or_files_depends_on_the_test_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: CellDataModule) -> None:
        raise AssertionError("a trial has read the test set")

    paint = SyntheticSmear._paint

    def paint_test_cells_black(self: SyntheticSmear, labels: np.ndarray[Any, Any], place: int) -> Any:
        return paint(self, labels, place) * (place != 2)

    monkeypatch.setattr(CellDataModule, "test_dataloader", refused)
    messages, predictions = trial(tmp_path / "painted")
    monkeypatch.setattr(SyntheticSmear, "_paint", paint_test_cells_black)
    without, predictions_without = trial(tmp_path / "black", "--data.test_on", "[/nowhere/at/all]")
    for message in (messages[-1], without[-1]):
        assert message["figures"].pop("seconds") > 0
    assert messages[1:] == without[1:]
    pd.testing.assert_frame_equal(predictions, predictions_without)
    assert len(predictions) == 24

    (run,) = runs_in(tmp_path / "painted")
    assert not any(name.startswith("test/") for name in (*run.data.metrics, *messages[-1]["figures"]))
    assert "predictions/test.parquet" not in artifacts_of(run)
    assert "explain/gradcam.png" in artifacts_of(run)
    report = Path(str(run.info.artifact_uri).removeprefix("file://"), "report.html").read_text()
    assert "Validation set: class by class" in report
    assert "Test set: class by class" not in report
    assert "model_card.md" not in artifacts_of(run)
    assert "Which classes are mistaken for which" in report
    assert messages[0]["run"] == run.info.run_id
    assert messages[0]["data"] == {run.data.tags["data.resolution"]: run.data.tags["data.sha256"]}
    assert messages[1] == {"training": True}
    assert [message["step"] for message in messages[2:-1]] == [0, 1]
    assert messages[-2]["value"] == pytest.approx(run.data.metrics["val/accuracy"])
    assert messages[-1]["status"] == "FINISHED"
    assert messages[-1]["figures"]["val/accuracy"] == max(message["value"] for message in messages[2:-1])
    assert {name: run.data.tags[name] for name in (*TAGS, "trial.state")} == {**TAGS, "trial.state": "complete"}
    assert "validation accuracy" in run.data.tags["mlflow.note.content"]


def test_a_pruned_trial_is_filed_as_such(tmp_path: Path) -> None:
    with worker(lambda message: message["step"] < 1) as messages:
        assert main([*TINY, "--trainer.max_epochs", "9"]) == 0
    (run,) = runs_in(tmp_path / "mlruns")
    assert [message["step"] for message in messages if "step" in message] == [0, 1]
    assert messages[-1]["status"] == "KILLED"
    assert run.info.status == "KILLED"
    assert run.data.tags["trial.state"] == "pruned"
    assert run.data.tags["failure"] == "pruned after epoch 1"
    assert "figures/curves.png" in artifacts_of(run)
    assert list((tmp_path / "mlruns" / "active").glob("*")) == []


def test_a_failed_trial_is_filed_as_such(tmp_path: Path) -> None:
    with worker() as messages:
        assert main([*TINY, "--trainer.max_epochs", "2", "--model.lr", "1e30", "--trainer.log_every_n_steps", "1"]) == 2
    (run,) = runs_in(tmp_path / "mlruns")
    assert messages[-1]["status"] == "FAILED"
    assert "NonFiniteLossError" in messages[-1]["failure"]
    assert (run.info.status, run.data.tags["trial.state"]) == ("FAILED", "failed")


def test_an_unknown_metric_names_those_of_the_validation_set() -> None:
    channel = SimpleNamespace(greeting=Greeting("study", 7, "val/acuracy"))
    trainer = SimpleNamespace(callback_metrics={"val/loss": 0.1, "val/accuracy": 0.9, "train/loss": 0.2})
    with pytest.raises(UserError, match=r"--metric 'val/acuracy' is no metric.*there are: val/accuracy, val/loss"):
        TrialReport(cast(Any, channel)).on_validation_end(cast(Any, trainer), cast(Any, None))


def test_the_own_value_of_each_fold_is_reported_and_may_be_the_last() -> None:
    reports: list[tuple[int, float]] = []

    def refuse() -> None:
        if len(reports) == 2:
            raise Pruned

    channel = SimpleNamespace(
        greeting=Greeting("study", 7, "val/loss", by_epoch=False, mean=False),
        report=lambda step, value: reports.append((step, value)),
        raise_if_pruned=refuse,
    )
    plan = CrossValidation(Call(), 3, finished={"0": {"metrics": {"val/loss": 1.0}}})
    report_fold(cast(Any, channel), plan, 0)
    plan.finished["1"] = {"metrics": {"val/loss": 3.0}}
    with pytest.raises(Pruned):
        report_fold(cast(Any, channel), plan, 1)
    assert reports == [(0, 1.0), (1, 3.0)]


def test_folds_are_reported_one_by_one(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "cells", ("lymphocyte", "monocyte"), per_class=12)
    data = ["--data", "CellFolder", "--data.root", str(root), "--data.val_share", "0.2", "--trainer.max_epochs", "1"]
    with worker(by_epoch=False) as messages:
        assert main(["--exp", "pbc_cnn", *data, *QUICK, "--model.head.hidden", "[8]", "--folds", "3"]) == 0
    runs = runs_in(tmp_path / "mlruns")
    (parent,) = (run for run in runs if run.info.run_id == messages[0]["run"])
    folds = {run.info.run_name: run.data.metrics["val/accuracy"] for run in runs if run is not parent}
    own = [folds[f"fold {number}"] for number in range(3)]
    so_far = [sum(own[: place + 1]) / (place + 1) for place in range(3)]
    assert [message["value"] for message in messages[1:-1]] == pytest.approx(so_far)
    assert messages[-1]["figures"]["val/accuracy"] == pytest.approx(so_far[-1])
    assert parent.data.tags["trial.state"] == "complete"
    assert not any(name.startswith("test/") for run in runs for name in run.data.metrics)


def test_a_trial_on_other_data_than_the_trials_before_it_is_refused() -> None:
    def channel(**data: str) -> TrialChannel:
        greeting = Greeting("study", 7, "val/accuracy", data={f"{side} native": sha for side, sha in data.items()})
        return cast(TrialChannel, SimpleNamespace(greeting=greeting))

    facts = {"data.resolution": "s28 native", "data.sha256": "a" * 64}
    refuse_changed_data(channel(), facts)
    refuse_changed_data(channel(s28="a" * 64, s64="c" * 64), facts)
    with pytest.raises(UserError, match=r"have changed since study study began: data.sha256 is aaaaaaaaaaaa, .* is bbbbbbbbbbbb"):
        refuse_changed_data(channel(s28="b" * 64), facts)
