"""Search spaces: what is drawn, what is refused, and what an experiment says to them."""

from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial

from bcc_lightning.cli.experiment_files import experiment_names, find_space, space_files
from bcc_lightning.errors import UserError
from bcc_lightning.files import read_mapping
from bcc_lightning.tuning.searched_experiment import build_untrained, check_space, own_values, value_of
from bcc_lightning.tuning.space import Entry, extremes, flags, nearest, read_space

LR = {"type": "float", "low": "1e-5", "high": 1e-2, "log": True}  # YAML 1.1 takes 1e-5 for a text

CONDITIONAL = {
    "model.optimizer": {"type": "categorical", "choices": ["adamw", "sgd"]},
    "when": [
        {"if": {"model.optimizer": "sgd"}, "then": {"model.momentum": {"type": "float", "low": 0.8, "high": 0.9}}},
        {
            "if": {"model.optimizer": ["adamw", "sgd"]},
            "then": {"trainer.max_epochs": {"type": "int", "low": 1, "high": 9, "step": 4}},
        },
    ],
}


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_conditional_entry_is_drawn_where_its_condition_holds(optimizer: str) -> None:
    given = {"model.optimizer": optimizer, "model.momentum": 0.85, "trainer.max_epochs": 5}
    drawn = read_space(CONDITIONAL, "file").suggest(FixedTrial(given))
    expected = ["model.optimizer", *(["model.momentum"] if optimizer == "sgd" else []), "trainer.max_epochs"]
    assert list(drawn) == expected
    assert drawn["trainer.max_epochs"] == 5


def test_values_are_worded_as_the_command_line_takes_them() -> None:
    drawn = {"model.lr": 1e-05, "data.augment": "light", "model.weights": None, "model.pretrained": True, "a": "[32, 64]"}
    assert " ".join(flags(drawn)) == (
        "--model.lr 1e-05 --data.augment light --model.weights null --model.pretrained true --a [32, 64]"
    )


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"type": "floot", "low": 1, "high": 2}, "whose type is float, int or categorical"),
        ({"type": "float", "low": 2, "high": 1}, "low is 2 and high is 1; low must be below high"),
        ({"type": "float", "low": 1, "high": 1}, "low must be below high"),
        ({"type": "float", "low": 0, "high": 1, "log": True}, r"low: 0, .*`low > 0` must hold for `log=True`"),
        ({"type": "int", "low": 0, "high": 9, "log": True}, r"low: 0, .*`low >= 1` must hold for `log=True`"),
        ({"type": "float", "low": 1, "high": 2, "log": "yes"}, "log is yes, it must be true or false"),
        ({"type": "float", "low": "much", "high": 1}, "low is 'much', it must be a number"),
        ({"type": "int", "low": 0.5, "high": 3}, "low is 0.5, it must be a whole number"),
        ({"type": "float", "low": 0, "high": 1, "step": 0}, r"step: 0}, .*`step > 0` must hold"),
        ({"type": "int", "low": 0, "high": 9, "step": 0}, r"step: 0}, .*`step > 0` must hold"),
        ({"type": "float", "low": 1, "high": 2, "step": 0.1, "log": True}, "`step` is not supported when `log` is true"),
        ({"type": "float", "low": 0}, r"has low; type float takes high, log, low, step"),
        ({"type": "float", "low": 0, "high": 1, "base": 2}, "type float takes high, log, low, step"),
        ({"type": "categorical", "choices": []}, "at least one value"),
        (7, "is 7, it must be a mapping"),
    ],
)
def test_an_impossible_entry_is_refused(entry: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"file: model.lr.*{message}"):
        read_space({"model.lr": entry}, "file")


def test_a_seed_draws_what_optuna_draws_from_the_same_ranges() -> None:
    content = {
        "a": {"type": "float", "low": 0, "high": 1},
        "b": LR,
        "c": {"type": "float", "low": 0, "high": 1, "step": 0.25},
        "d": {"type": "int", "low": 1, "high": 99},
        "e": {"type": "int", "low": 1, "high": 99, "log": True},
        "f": {"type": "int", "low": 32, "high": 128, "step": 32},
        "g": {"type": "categorical", "choices": ["x", 1, True, None, [8, 8]]},
    }
    space = read_space(content, "file")
    own, theirs = (optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=7)) for _ in range(2))
    for _ in range(5):
        trial = theirs.ask()
        assert space.suggest(own.ask()) == {
            "a": trial.suggest_float("a", 0, 1),
            "b": trial.suggest_float("b", 1e-5, 1e-2, log=True),
            "c": trial.suggest_float("c", 0, 1, step=0.25),
            "d": trial.suggest_int("d", 1, 99),
            "e": trial.suggest_int("e", 1, 99, log=True),
            "f": trial.suggest_int("f", 32, 128, step=32),
            "g": trial.suggest_categorical("g", ["x", 1, True, None, "[8, 8]"]),
        }
    assert [trial.distributions for trial in own.trials] == [trial.distributions for trial in theirs.trials]


def test_a_step_that_does_not_divide_the_range_ends_it_on_the_grid() -> None:
    with pytest.warns(UserWarning, match="not divisible by `step`"):
        space = read_space({"a": {"type": "float", "low": 0, "high": 1, "step": 0.6}}, "file")
    ((_, entry, _),) = space.entries()
    assert (extremes(entry), nearest(entry, 1.0)) == ([0.0, 0.6], 0.6)
    assert space.describe() == {"a": "0 to 0.6 in steps of 0.6"}


def test_a_condition_on_what_is_not_drawn_is_refused() -> None:
    with pytest.raises(UserError, match=r"when asks for model\.optimiser; drawn before it are: model\.lr"):
        read_space({"model.lr": LR, "when": [{"if": {"model.optimiser": "sgd"}, "then": {}}]}, "file")


def test_an_experiments_own_values_come_first_and_what_lies_outside_is_said() -> None:
    space = read_space(
        {"model.lr": LR, "model.weight_decay": LR, "data.augment": {"type": "categorical", "choices": ["light"]}}, "f"
    )
    config = {
        "model": {"class_path": "X", "init_args": {"lr": 0.001, "weight_decay": 0.0}},
        "data": {"class_path": "Y", "init_args": {"augment": "none"}},
    }
    own, remarks = own_values(space, config)
    assert own == {"model.lr": 0.001, "model.weight_decay": 1e-5}
    assert [remark.split(" is not")[0] for remark in remarks] == [
        "the experiment's own model.weight_decay 0.0",
        "the experiment's own data.augment none",
    ]
    assert remarks[0].endswith("(1e-05 to 0.01, log); the first trial uses 1e-05")
    assert remarks[1].endswith("(light); a value is drawn")
    assert value_of(config, "model.nothing") is None


def test_an_experiments_own_list_is_one_of_the_choices() -> None:
    space = read_space({"model.hidden": {"type": "categorical", "choices": [[8], [16, 16]]}}, "f")
    assert own_values(space, {"model": {"init_args": {"hidden": [16, 16]}}}) == ({"model.hidden": "[16, 16]"}, [])


@pytest.mark.parametrize(
    ("entry", "value", "expected"),
    [
        (FloatDistribution(0.0, 1.0), 2, 1.0),
        (FloatDistribution(0.0, 1.0, step=0.25), 0.3, 0.25),
        (IntDistribution(1, 9, step=4), 6, 5),
        (IntDistribution(1, 9), 20.0, 9),
        (IntDistribution(1, 9), "many", None),
        (CategoricalDistribution(("a", 1)), 1, 1),
        (CategoricalDistribution((True,)), 1, None),
        (CategoricalDistribution(("[1, 2]",)), [1, 2], "[1, 2]"),
    ],
)
def test_nearest_value(entry: Entry, value: object, expected: object) -> None:
    found = nearest(entry, value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model.learning_rate": LR}, r"key 'model\..*learning_rate' is not known"),
        ({"model.label_smoothing": {"type": "float", "low": 0, "high": 1}}, r"--model.label_smoothing is 1.0, it must be from 0"),
        ({"model.optimizer": {"type": "categorical", "choices": ["adam", "adamant"]}}, "adamant"),
        ({"data.batch_size": {"type": "int", "low": 0, "high": 64}}, "--data.batch_size is 0, it must be 1 or more"),
        (
            {**CONDITIONAL, "when": [{"if": {"model.optimizer": "sgd"}, "then": {"model.momentum": LR | {"high": 1.5}}}]},
            "--model.momentum is 1.5",
        ),
    ],
)
def test_a_space_that_the_experiment_refuses_is_refused_before_the_search(content: Any, message: str) -> None:
    flags = ["--data", "SyntheticSmear", "--data.image_size", "32"]
    with pytest.raises(UserError, match=f"file cannot be searched: .*{message}"):
        check_space(read_space(content, "file"), "file", ["pbc_cnn"], flags)


@pytest.mark.parametrize("name", sorted(space_files()))
def test_every_space_fits_an_experiment(name: str) -> None:
    experiments = {"source_cnns": "raabin_cnn", "standard": "efficientnet_b0"}
    experiment = experiments.get(name, name)
    assert experiment in experiment_names()
    file = find_space(name, experiment)
    check_space(read_space(read_mapping(file, "a space"), str(file)), str(file), [experiment], [])


def test_an_experiment_has_its_own_space_or_the_standard_one() -> None:
    assert find_space(None, "resnet18_28").stem == "resnet18_28"
    assert find_space(None, "swin_tiny").stem == "standard"
    with pytest.raises(UserError, match=r"--space 'nothing' does not exist\. .*standard"):
        find_space("nothing", "swin_tiny")


def test_an_ensemble_cannot_be_searched() -> None:
    with pytest.raises(UserError, match=r"no finished run|ensemble"):
        build_untrained(["an2dl_ensemble"], [])
