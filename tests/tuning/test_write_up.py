"""The figures that a search leaves behind."""

from pathlib import Path
from typing import Any, cast

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, create_trial

from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tuning.storage import storage_of
from bcc_lightning.tuning.study import OpenStudy
from bcc_lightning.tuning.write_up import common_parameters, draw_figures
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

    class Folder:
        def figure(self, name: str) -> Path:
            return tmp_path / f"{name}.png"

    class Run:
        folder = Folder()

    assert {file.stem for file in draw_figures(search, cast(TrackedRun, Run()))} == expected
