"""A run from outside: however it ends it is filed, and processes that do not write leave nothing."""

from pathlib import Path

import pytest
import torch

from bcc_lightning.cli.arguments import Call
from bcc_lightning.cli.experiment import ExperimentCLI
from bcc_lightning.engine.recorder import Recorder
from bcc_lightning.engine.run import Run, prepare, run_experiment
from bcc_lightning.errors import Pruned
from bcc_lightning.fit import main
from bcc_lightning.tracking.filing import ending
from tests.miniature import PAINTED, runs_in

TINY = [*PAINTED, "--data.image_size", "32", "--data.num_workers", "0", "--trainer.max_epochs", "1"]

pytestmark = pytest.mark.usefixtures("ready_store")


@pytest.mark.parametrize(
    ("error", "status", "failure"),
    [
        (None, "FINISHED", None),
        (KeyboardInterrupt(), "KILLED", "interrupted"),
        (SystemExit(1), "KILLED", "interrupted"),  # what Lightning makes of Ctrl-C
        (Pruned("pruned after epoch 3"), "KILLED", "pruned after epoch 3"),
        (ValueError("of the training"), "FAILED", "ValueError: of the training"),
    ],
)
def test_how_a_run_ends(error: BaseException | None, status: str, failure: str | None) -> None:
    assert ending(error) == (status, failure)


def test_a_run_is_named_by_what_makes_it_different() -> None:
    flags = [*TINY, "--model.lr", "0.01", "--seed_everything", "3"]
    experiment = ExperimentCLI(Call(["an2dl_cnn"], flags=flags).arguments)
    changes = "train_cells=48 val_cells=24 test_cells=37 max_epochs=1"
    assert experiment.run_name == f"an2dl_cnn SyntheticSmear 32px seed3 {changes}"
    plain = ExperimentCLI(Call(["an2dl_cnn"], flags=["--data", "SyntheticSmear", "--model.lr=0.01"]).arguments)
    assert plain.run_name == "an2dl_cnn SyntheticSmear 96px seed0 lr=0.01"


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_for_a_trainer_that_cannot_be_built_no_run_is_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--exp", "an2dl_cnn", *TINY, "--trainer.accelerator", "cuda"]) == 2
    assert "the accelerator is not available" in capsys.readouterr().err
    assert runs_in(tmp_path / "mlruns") == []


def test_processes_that_do_not_write_train_along_and_leave_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bcc_lightning.engine.run.is_first_process", lambda: False)
    assert run_experiment(Call(["an2dl_cnn"], flags=TINY)) is None
    assert runs_in(tmp_path / "mlruns") == []
    assert not (tmp_path / "mlruns" / "active").exists()


def test_the_sets_are_evaluated_under_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bcc_lightning.engine.run.is_first_process", lambda: False)
    experiment = ExperimentCLI(Call(["an2dl_cnn"], flags=TINY).arguments)
    prepare(experiment)
    with Run.open(experiment) as run:
        assert type(run.recorder) is Recorder
        run.train()
        run.sets = ["test", "validation"]
        run.test()
    data, found = experiment.datamodule, experiment.model.test_predictions
    assert list(found) == ["test", "validation"]
    assert found["test"].label.tolist() == data.splits["test"].labels.tolist()
    assert found["validation"].label.tolist() == data.splits["val"].labels.tolist()
