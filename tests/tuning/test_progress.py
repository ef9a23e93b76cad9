"""What a search shows of itself while it runs."""

import io
import math
from collections.abc import Sequence
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from rich.console import Console

from bcc_lightning.tuning.progress import Counts, Standing, best_trials
from bcc_lightning.tuning.study import DIED, ENDING, FAILED, REASON, RETRY_OF
from tests.tuning.searches import stub_plan


def trial(number: int, state: TrialState, reports: tuple[float, ...] = (), **attributes: object) -> FrozenTrial:
    made = create_trial(
        state=state,
        value=reports[-1] if state == TrialState.COMPLETE else None,
        params={"model.lr": 0.01 * (number + 1)},
        distributions={"model.lr": FloatDistribution(0, 1)},
        intermediate_values=dict(enumerate(reports)),
        user_attrs=attributes,
    )
    made.number = number
    return made


TRIALS = [
    trial(0, TrialState.COMPLETE, (0.5, 0.7, 0.8)),
    trial(1, TrialState.COMPLETE, (0.6, 0.9)),
    trial(2, TrialState.PRUNED, (0.1,), **{REASON: "pruned after epoch 0"}),
    trial(3, TrialState.FAIL, **{ENDING: FAILED, REASON: "exit code 1: no memory"}),
    trial(4, TrialState.FAIL, **{ENDING: DIED, REASON: "its worker is gone"}),
    trial(5, TrialState.RUNNING, (0.65,), **{RETRY_OF: 4}),
    trial(6, TrialState.RUNNING),
]


def study_of(trials: list[FrozenTrial], directions: Sequence[str] = ("maximize",)) -> optuna.Study:
    study = optuna.create_study(directions=directions)
    study.add_trials(trials)
    return study


@pytest.mark.parametrize(
    ("directions", "values", "best"),
    [
        (["maximize"], [(0.5,), (0.9,), (0.9,), (0.7,)], [1]),  # the earlier of two that are equal
        (["minimize"], [(0.5,), (0.2,), (0.2,), (0.7,)], [1]),
        (["maximize", "minimize"], [(0.5, 10.0), (0.9, 30.0), (0.8, 40.0), (0.7, 20.0), (0.7, 20.0)], [1, 3, 4, 0]),
        (["minimize", "minimize"], [(0.5, 10.0), (0.1, 30.0), (0.2, 40.0), (0.3, 20.0)], [1, 3, 0]),
        (["maximize"], [], []),
    ],
)
def test_the_best_trials(directions: list[str], values: list[tuple[float, ...]], best: list[int]) -> None:
    study = study_of([create_trial(values=each) for each in values], directions)
    assert [trial.number for trial in best_trials(study)] == best


def test_a_repeated_trial_counts_once() -> None:
    counts = Counts.of(TRIALS, 10)
    assert counts == Counts(complete=2, pruned=1, failed=1, repeated=1, running=2, total=10)
    assert str(counts) == "4 of 10 trials: 2 complete, 1 pruned, 1 failed, 1 repeated; 2 running"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_the_table_shows_the_best_and_what_runs(tmp_path: Path) -> None:
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=140, color_system=None)
    with Standing(study_of(TRIALS), stub_plan(tmp_path, trials=10, epochs=2), math.inf, console) as standing:
        standing.show(TRIALS)
    shown = terminal.getvalue()
    assert "study stub: 4 of 10 trials" in shown
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if "│" in line]
    assert rows[:3] == [["1 (best)", "", "0.9000", "lr 0.02"], ["5", "0", "0.6500", "lr 0.06"], ["6", "", "", "lr 0.07"]]


def test_without_a_terminal_each_end_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str], clock: list[float]) -> None:
    standing = Standing(study_of([]), stub_plan(tmp_path, trials=10, epochs=2), math.inf, Console(file=io.StringIO()))
    standing.show(TRIALS[:1])
    assert "time left unknown" in capsys.readouterr().out
    clock[0] = 60.0
    standing.show(TRIALS)
    output = capsys.readouterr().out
    # 4 trials and half of a fifth are done, 3.5 of these in the last minute: 5.5 / 3.5 = 1.6 minutes for the others.
    assert output.count("about 2 minutes left") == 4
    ends = [line for line in output.splitlines() if line.startswith("trial ")]
    assert ends == [
        "trial 1, val/accuracy 0.9000 (model.lr 0.02)",
        "trial 2 pruned: pruned after epoch 0",
        "trial 3 failed: exit code 1: no memory",
        "trial 4 died: its worker is gone",
    ]


def test_time_left_is_no_longer_than_the_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str], clock: list[float]) -> None:
    standing = Standing(study_of([]), stub_plan(tmp_path, trials=10_000, epochs=2), 360.0, Console(file=io.StringIO()))
    standing.show([])
    clock[0] = 60.0
    standing.show(TRIALS[:1])
    assert "about 5 minutes left" in capsys.readouterr().out
