"""``python -m bcc_lightning.tune`` from its arguments to the filed search."""

import os
import signal
from pathlib import Path

import pandas as pd
import pytest
import yaml
from mlflow.entities import Run
from optuna.trial import FrozenTrial, TrialState

from bcc_lightning.engine.searching import default_pruner, file_of_parameters, schedules
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.tracking.trained_networks import find_network
from bcc_lightning.tune import main
from bcc_lightning.tuning.options import Options
from bcc_lightning.tuning.plan import Plan
from bcc_lightning.tuning.progress import Standing
from bcc_lightning.tuning.space import read_space
from bcc_lightning.tuning.storage import Storage
from bcc_lightning.tuning.study import INTERRUPTED, OpenStudy
from tests.miniature import PAINTED, QUICK, artifacts_of, runs_in
from tests.tuning.searches import stub_search, trials_last

pytestmark = pytest.mark.slow


def family(folder: Path) -> tuple[Run, list[Run]]:
    runs = runs_in(folder)
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(children) == len(runs) - 1
    return parent, sorted(children, key=lambda run: str(run.info.run_name))


def test_a_search_of_real_trainings(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    flags = [*PAINTED, *QUICK, "--model.head.hidden", "[8]", "--trainer.max_epochs", "1", "--tracking.register", "tuned"]
    assert main(["--exp", "pbc_cnn", "--space", "standard", "--trials", "1", "--confirm", "1", "--", *flags]) == 0
    parent, (confirmation, *trials) = family(tmp_path / "mlruns")
    assert [run.info.run_name for run in (confirmation, *trials)] == ["confirmation, seed 1", "trial 0"]
    assert {run.info.status for run in (parent, confirmation, *trials)} == {"FINISHED"}
    assert [run.data.tags["trial.state"] for run in trials] == ["complete"]
    assert trials[0].data.params["model.lr"] == "0.001"  # the experiment's own
    assert not any(name.startswith("test/") for run in trials for name in run.data.metrics)
    assert "test/accuracy" in confirmation.data.metrics
    assert [len(run.outputs.model_outputs) for run in (confirmation, *trials)] == [1, 0]
    assert find_network(Tracking(), "models:/tuned/1").run_id == confirmation.info.run_id
    assert confirmation.data.params["seed_everything"] == "1"
    best = max(run.data.metrics["val/accuracy"] for run in trials)
    assert parent.data.metrics["best/val/accuracy"] == pytest.approx(best)
    assert parent.data.metrics["confirmed/test/accuracy"] == pytest.approx(confirmation.data.metrics["test/accuracy"])

    chosen = next(run for run in trials if run.data.metrics["val/accuracy"] == best)
    tuned = yaml.safe_load((tmp_path / "mlruns" / "tuned" / "pbc_cnn_tuned.yaml").read_text())
    for name in ("lr", "weight_decay", "label_smoothing", "optimizer"):
        assert str(tuned["model"]["init_args"][name]) == chosen.data.params[f"model.{name}"]
        assert confirmation.data.params[f"model.{name}"] == chosen.data.params[f"model.{name}"]
    assert tuned["data"]["class_path"] == "SyntheticSmear"
    assert {"trials.csv", "space.yaml", "pbc_cnn_tuned.yaml"} <= artifacts_of(parent)
    table = pd.read_csv(Path(str(parent.info.artifact_uri).removeprefix("file://")) / "trials.csv")
    lasted = pd.Timedelta(table["duration"][0]).total_seconds()
    assert 0 < table["user_attrs_start_seconds"][0] < lasted - table["user_attrs_training_seconds"][0] + 1
    assert "confirmed: test accuracy" in capfd.readouterr().out
    assert list((tmp_path / "mlruns" / "active").glob("*")) == []


def test_the_best_parameters_of_an_earlier_search_are_kept(tmp_path: Path) -> None:
    plan, tracking, folder = Plan("again", "lite/cnn", [], {}), Tracking(folder=str(tmp_path)), tmp_path / "tuned"
    names = ["lite_cnn_tuned.yaml", "lite_cnn_tuned-2.yaml", "lite_cnn_tuned-3.yaml"]
    folder.mkdir()
    assert file_of_parameters(Options(["lite/cnn"]), plan, tracking) == folder / names[0]
    (folder / names[0]).touch()
    assert file_of_parameters(Options(["lite/cnn"]), plan, tracking) == folder / names[1]
    (folder / "lite_cnn_tuned-2_1.yaml").touch()  # the first of several, of a search with two metrics
    assert file_of_parameters(Options(["lite/cnn"]), plan, tracking) == folder / names[2]
    assert file_of_parameters(Options(["lite/cnn"], out="mine.yaml"), plan, tracking) == Path("mine.yaml")


@pytest.mark.usefixtures("stub_trials")
def test_a_stopped_search_goes_on_in_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def press_ctrl_c(self: Standing, trials: list[FrozenTrial]) -> None:
        if any("run" in trial.user_attrs for trial in trials):
            signal.raise_signal(signal.SIGINT)

    trials_last(60, tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Standing, "show", press_ctrl_c)
        assert main(stub_search("--trials", "2")) == 130
    (stopped,) = runs_in(tmp_path / "mlruns")
    assert stopped.info.status == "KILLED"
    search = OpenStudy.load(Storage(f"sqlite:///{tmp_path}/mlruns/studies.db"), "pbc_cnn")
    assert [trial.user_attrs["ending"] for trial in search.trials()] == [INTERRUPTED]

    trials_last(0, tmp_path)
    assert main(stub_search("--trials", "3")) == 0
    (finished,) = runs_in(tmp_path / "mlruns")
    assert (finished.info.run_id, finished.info.status) == (stopped.info.run_id, "FINISHED")
    complete = [trial for trial in search.trials() if trial.state == TrialState.COMPLETE]
    assert len(complete) == 3
    assert finished.data.metrics["best/val/accuracy"] == max(trial.values[0] for trial in complete)


@pytest.mark.usefixtures("stub_trials")
def test_workers_go_on_alone_and_are_looked_after_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trials_last(1, tmp_path)
    assert main(stub_search("--trials", "2", "--detach")) == 0
    (left,) = runs_in(tmp_path / "mlruns")
    assert left.info.status == "RUNNING"
    assert main(stub_search("--trials", "2")) == 0
    (finished,) = runs_in(tmp_path / "mlruns")
    assert (finished.info.run_id, finished.info.status) == (left.info.run_id, "FINISHED")
    search = OpenStudy.load(Storage(f"sqlite:///{tmp_path}/mlruns/studies.db"), "pbc_cnn")
    assert [trial.state for trial in search.trials()] == [TrialState.COMPLETE] * 2
    assert main(stub_search("--executor", "in_process", "--detach")) == 2
    assert "--detach needs workers that outlive this process" in capsys.readouterr().err


@pytest.mark.usefixtures("stub_trials")
def test_two_metrics_give_a_front(tmp_path: Path) -> None:
    # The stub's time falls as its accuracy rises, so that one trial surpasses all others in both.
    assert main(stub_search("--trials", "4", "--metric", "val/accuracy,seconds", "--sampler", "nsga2", "--workers", "2")) == 0
    (run,) = runs_in(tmp_path / "mlruns")
    search = OpenStudy.load(Storage(f"sqlite:///{tmp_path}/mlruns/studies.db"), "pbc_cnn")
    assert [direction.name for direction in search.study.directions] == ["MAXIMIZE", "MINIMIZE"]
    best = max(search.trials(), key=lambda trial: trial.values[0])
    assert f"best: trial {best.number}" in run.data.tags["mlflow.note.content"]
    assert {"figures/pareto_front.png", "figures/history_seconds.png"} <= artifacts_of(run)


@pytest.mark.usefixtures("stub_trials")
def test_pruned_and_failed_trials_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("space.yaml").write_text(yaml.safe_dump({"model.lr": {"type": "categorical", "choices": [0.05, 0.3, 0.6]}}))
    options = ["--trials", "14", "--sampler", "random", "--executor", "in_process"]
    assert main([*stub_search(*options), "--trainer.max_epochs", "3"]) == 0
    output = capsys.readouterr().out
    search = OpenStudy.load(Storage(f"sqlite:///{tmp_path}/mlruns/studies.db"), "pbc_cnn")
    states = [trial.state.name for trial in search.trials()]
    counts = [states.count(name) for name in ("COMPLETE", "PRUNED", "FAIL")]
    assert all(count > 0 for count in counts)
    assert "14 of 14 trials: {} complete, {} pruned, {} failed".format(*counts) in output
    assert "failed: exit code 1: x is too small" in output
    assert "pruned: pruned after epoch" in output
    (run,) = runs_in(tmp_path / "mlruns")
    assert {f"figures/{name}.png" for name in ("course", "history", "importance", "parallel_coordinates")} <= artifacts_of(run)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--trials", "0"], "--trials is 0, it must be 1 or more"),
        (["--metric", "test/accuracy"], "the test set is not used in a search"),
        (["--metric", "val/accuracy,test/accuracy"], "the test set is not used in a search"),
        (["--metric", "val/accuracy", "--direction", "up"], "--direction is 'up', it must be maximize or minimize"),
        (["--metric", "val/accuracy,seconds", "--pruner", "median"], "two metrics stops no trial early"),
        (["--storage", "mysql://host/base"], "it must be a SQLite URL"),
        (["--storage", "postgresql://me:geheim@host/base"], "the environment variable PGPASSWORD"),
        (["--storage", "postgresql://host/base?user=me&password=geheim"], "the environment variable PGPASSWORD"),
        (["--space", "nothing"], "--space 'nothing' does not exist"),
        (["--sampler", "luck"], "luck"),
        (["--model.lr", "1"], "flags of the experiment go after --"),
    ],
)
def test_mistakes_are_told_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["--exp", "pbc_cnn", *options, "--", *PAINTED, *QUICK]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "geheim" not in error
    assert not (tmp_path / "mlruns" / "mlflow.db").exists()
    assert "BCC_TRIAL_CHANNEL" not in os.environ


def test_a_password_of_the_tracking_store_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--exp", "pbc_cnn", "--", *PAINTED, *QUICK, "--tracking.uri", "http://me:geheim@host:5000"]) == 2
    error = capsys.readouterr().err
    assert "--tracking.uri holds a password" in error
    assert "MLFLOW_TRACKING_URI" in error
    assert "geheim" not in error


@pytest.mark.parametrize(
    ("metrics", "folds", "searched", "pruner"),
    [
        (["val/accuracy"], None, ["constant", "cosine"], "median"),
        (["val/accuracy"], None, ["constant", "one_cycle"], "none"),
        (["val/accuracy"], 5, ["constant", "one_cycle"], "median"),  # between folds, when the schedule has come to its end
        (["val/accuracy", "seconds"], None, ["cosine"], "none"),
    ],
)
def test_a_schedule_that_is_worst_in_the_middle_is_not_judged_there(
    metrics: list[str], folds: int | None, searched: list[str], pruner: str
) -> None:
    space = read_space({"model.schedule": {"type": "categorical", "choices": searched}}, "space")
    assert schedules(space, {}) == set(searched)
    assert default_pruner(metrics, folds, schedules(space, {})) == pruner
    of_the_experiment = {"model": {"init_args": {"schedule": searched[-1]}}}
    assert schedules(read_space({"model.lr": {"type": "float", "low": 0.1, "high": 1.0}}, "space"), of_the_experiment) == {
        searched[-1]
    }
