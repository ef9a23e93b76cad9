"""The file with the best parameters says what the trial ran, and nothing that goes without saying."""

from pathlib import Path

import pytest
import yaml
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, create_trial

from bcc_lightning.tuning.plan import Plan
from bcc_lightning.tuning.searched_experiment import build_untrained, write_tuned
from bcc_lightning.tuning.space import Value, flags

ARGV = ["--data.root", "/cells", "--trainer.max_epochs", "7"]

SEARCHED: dict[str, Value] = {
    "model.lr": 0.002,
    "model.label_smoothing": 0.0,  # the default, but searched
    "data.augment": "light",
    "trainer.gradient_clip_val": 1.0,
}


def best_trial(parameters: dict[str, Value]) -> FrozenTrial:
    distributions: dict[str, BaseDistribution] = {name: CategoricalDistribution([value]) for name, value in parameters.items()}
    return create_trial(value=0.9, params=parameters, distributions=distributions)


@pytest.mark.slow
@pytest.mark.parametrize("experiment", ["raabin_cnn", "an2dl_vgg16", "resnet18_28"])
def test_the_file_gives_what_the_trial_ran(tmp_path: Path, experiment: str) -> None:
    file = tmp_path / "tuned.yaml"
    plan = Plan("study", experiment, [], {})
    write_tuned(plan, best_trial(SEARCHED), [experiment], ARGV, file)
    wanted, given = build_untrained([experiment], [*ARGV, *flags(SEARCHED)]), build_untrained([str(file)], [])
    assert {**given.resolved_config(), "exp": None} == {**wanted.resolved_config(), "exp": None}


def test_the_file_reads_like_one_written_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "tuned.yaml"
    write_tuned(Plan("study", "raabin_cnn", [], {}), best_trial(SEARCHED), ["raabin_cnn"], ARGV, file)
    content = yaml.safe_load(file.read_text())
    own = yaml.safe_load((Path(__file__).parents[2] / "experiments" / "raabin_cnn.yaml").read_text())
    model, data = own["model"]["init_args"], own["data"]["init_args"]
    assert content["model"]["init_args"] == {**model, "lr": 0.002, "label_smoothing": 0.0}
    assert content["data"]["init_args"] == {**data, "root": "/cells", "augment": "light"}
    assert content["trainer"] == {"max_epochs": 7, "gradient_clip_val": 1.0}
