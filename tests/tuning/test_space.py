"""Search spaces: what is drawn, what is refused, and what an experiment says to them."""

from typing import Any

import pytest
from optuna.trial import FixedTrial

from bcc_lightning.cli.arguments import experiment_names
from bcc_lightning.errors import UserError
from bcc_lightning.files import read_mapping
from bcc_lightning.tuning.searched_experiment import build_untrained, check_space, find_space, own_values, space_files, value_of
from bcc_lightning.tuning.space import Choice, Range, flags, read_space

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
        ({"type": "float", "low": 0, "high": 1, "log": True}, "low is 0, with log it must be above 0"),
        ({"type": "float", "low": "much", "high": 1}, "low is 'much', it must be a number"),
        ({"type": "int", "low": 0.5, "high": 3}, "low is 0.5, it must be a whole number"),
        ({"type": "float", "low": 0, "high": 1, "step": 0}, "step is 0, it must be above 0"),
        ({"type": "float", "low": 0}, r"has low; type float takes high, log, low, step"),
        ({"type": "float", "low": 0, "high": 1, "base": 2}, "type float takes high, log, low, step"),
        ({"type": "categorical", "choices": []}, "at least one value"),
        (7, "is 7, it must be a mapping"),
    ],
)
def test_an_impossible_entry_is_refused(entry: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"file: model.lr.*{message}"):
        read_space({"model.lr": entry}, "file")


def test_a_condition_on_what_is_not_drawn_is_refused() -> None:
    with pytest.raises(UserError, match=r"when asks for model\.optimiser; drawn before are: model\.lr"):
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
    assert value_of(config, "model.nothing") is None


@pytest.mark.parametrize(
    ("entry", "value", "nearest"),
    [
        (Range(0.0, 1.0), 2, 1.0),
        (Range(1, 9, step=4, whole=True), 6, 5),
        (Range(1, 9, whole=True), "many", None),
        (Choice(("a", 1)), 1, 1),
        (Choice((True,)), 1, None),
        (Choice(("[1, 2]",)), [1, 2], "[1, 2]"),
    ],
)
def test_nearest_value(entry: Range | Choice, value: object, nearest: object) -> None:
    assert entry.nearest(value) == nearest


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
    with pytest.raises(UserError, match=r"--space 'nothing' does not exist; .*standard"):
        find_space("nothing", "swin_tiny")


def test_an_ensemble_cannot_be_searched() -> None:
    with pytest.raises(UserError, match=r"no finished run|ensemble"):
        build_untrained(["an2dl_ensemble"], [])
