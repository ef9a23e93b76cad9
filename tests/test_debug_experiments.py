"""Files of `experiments/debug` stack on any experiment: a run in seconds, batches learnt by heart, seconds by step."""

import json
from pathlib import Path

import pytest
import yaml

from bcc_lightning.cli.arguments import Call
from bcc_lightning.cli.experiment import ExperimentCLI
from bcc_lightning.cli.experiment_files import configuration_files, experiment_names
from bcc_lightning.errors import UserError
from bcc_lightning.fit import main
from tests.miniature import PAINTED, QUICK, runs_in

DEBUG = ["debug/limit", "debug/overfit", "debug/profile"]

TINY = [*PAINTED, "--data.image_size", "32", "--data.num_workers", "0", "--trainer.enable_progress_bar", "false"]


def test_they_are_no_experiments_of_their_own() -> None:
    assert [name for name in configuration_files() if name.startswith("debug/")] == DEBUG
    assert not set(DEBUG) & set(experiment_names())
    with pytest.raises(UserError, match=r"debug/limit only changes an experiment; name one before it: --exp quickstart"):
        _ = Call(["debug/limit"]).arguments


@pytest.mark.parametrize("debug", DEBUG)
@pytest.mark.parametrize("name", ["an2dl_cnn", "pbc_inception_xception_frozen", "resnet18_28"])
def test_they_stack_on_experiments_of_every_kind(name: str, debug: str) -> None:
    own = yaml.safe_load(configuration_files()[debug].read_text())["trainer"]
    experiment = ExperimentCLI(Call([name, debug], flags=[*PAINTED, *QUICK, "--data.image_size", "80"]).arguments)
    assert experiment.config["trainer"]["max_epochs"] == own["max_epochs"]
    assert experiment.experiment_name == f"{name}+{debug}"


@pytest.mark.slow
@pytest.mark.usefixtures("ready_store")
def test_a_limited_run_does_everything(tmp_path: Path) -> None:
    assert main(["--exp", "an2dl_cnn", "--exp", "debug/limit", *TINY, "--data.batch_size", "4", "--summary", "out.json"]) == 0
    summary = json.loads(Path("out.json").read_text())
    folder = Path(summary["checkpoint"]).parents[1]
    assert (folder / "explain" / "gradcam.png").is_file()
    assert sum(map(sum, summary["confusion"])) == 8  # two batches of four
    assert runs_in(tmp_path / "mlruns")[0].info.status == "FINISHED"


@pytest.mark.slow
@pytest.mark.usefixtures("ready_store")
def test_batches_are_learnt_by_heart() -> None:
    flags = ["--data.batch_size", "8", "--data.train_cells", "64", "--summary", "out.json"]
    assert main(["--exp", "an2dl_cnn", "--exp", "debug/overfit", *TINY, *flags]) == 0
    assert json.loads(Path("out.json").read_text())["metrics"]["train/accuracy"] > 0.95  # chance is 0.125


@pytest.mark.slow
@pytest.mark.usefixtures("ready_store")
def test_a_profile_says_where_time_goes() -> None:
    assert main(["--exp", "an2dl_cnn", "--exp", "debug/profile", *TINY, "--trainer.limit_train_batches", "2"]) == 0
    (file,) = Path("profile").glob("fit-*.txt")
    assert "run_training_batch" in file.read_text()
