"""The figures that a search leaves behind."""

import re
from pathlib import Path
from typing import Any, cast

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, create_trial

from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tuning.figures import common_parameters, draw_figures
from bcc_lightning.tuning.report import write_up
from bcc_lightning.tuning.storage import storage_of
from bcc_lightning.tuning.study import OpenStudy
from tests.tuning.searches import stub_plan

SPACE: dict[str, BaseDistribution] = {
    "model.optimizer": CategoricalDistribution(["adam", "sgd"]),
    "model.lr": FloatDistribution(0, 1),
    "model.momentum": FloatDistribution(0, 1),
}


def trial(value: float, **parameters: Any) -> FrozenTrial:
    params = {f"model.{name}": setting for name, setting in parameters.items()}
    return create_trial(value=value, params=params, distributions={name: SPACE[name] for name in params})


CONDITIONAL = [trial(0.1, optimizer="adam", lr=0.3), trial(0.9, optimizer="sgd", lr=0.8, momentum=0.9)]


def test_what_only_some_trials_have_is_not_judged() -> None:
    assert common_parameters(CONDITIONAL) == ["model.optimizer", "model.lr"]


@pytest.mark.parametrize(
    ("trials", "expected"),
    [
        (CONDITIONAL, {"course", "history", "importance", "parallel_coordinates"}),
        # All the same: nothing depends on anything, which is no reason to fail.
        ([trial(0.5, lr=0.1), trial(0.5, lr=0.2)], {"course", "history", "parallel_coordinates"}),
        ([trial(0.1, lr=0.3), trial(0.9, optimizer="sgd")], {"course", "history", "parallel_coordinates"}),
    ],
)
def test_what_can_be_drawn_is_drawn(tmp_path: Path, trials: list[FrozenTrial], expected: set[str]) -> None:
    search = OpenStudy.create(storage_of(None, tmp_path), stub_plan(tmp_path))
    search.study.add_trials(trials)
    assert {file.stem for file in draw_figures(search, cast(TrackedRun, RecordedRun(tmp_path)))} == expected


def test_of_two_metrics_the_best_of_each_is_filed(tmp_path: Path) -> None:
    plan = stub_plan(tmp_path, metrics=["val/accuracy", "seconds"], directions=["maximize", "minimize"], trials=4)
    search = OpenStudy.create(storage_of(None, tmp_path), plan)
    pairs = [(0.5, 10.0), (0.9, 30.0), (0.8, 40.0), (0.7, 20.0)]  # the third is surpassed by the second in both
    search.study.add_trials([create_trial(values=pair) for pair in pairs])
    run = RecordedRun(tmp_path)
    files = {file.name for file in write_up(search, cast(TrackedRun, run))}
    assert {"trials.csv", "pareto_front.png"} <= files
    assert run.metrics["best/val/accuracy"] == 0.9
    assert run.metrics["best/seconds"] == 10.0
    named = re.findall(r"trial (\d), val/accuracy", run.tags["mlflow.note.content"])
    assert named == ["1", "3", "0"]  # by accuracy


class RecordedRun:
    """Records what is logged."""

    def __init__(self, folder: Path) -> None:
        self.artifacts = folder
        self.metrics: dict[str, float] = {}
        self.tags: dict[str, str] = {}

    @property
    def folder(self) -> "RecordedRun":
        return self

    @property
    def report(self) -> Path:
        return self.artifacts / "report.html"

    def figure(self, name: str) -> Path:
        return self.artifacts / f"{name}.png"

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.metrics |= metrics

    def set_tags(self, tags: dict[str, str]) -> None:
        self.tags |= tags
