"""What is misspelt is said before anything heavy is imported, and what is accepted is what the classes take."""

import ast
import inspect
from dataclasses import fields
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import Literal, get_args, get_origin

import lightning
import pytest
import torch
from lightning.pytorch.accelerators import AcceleratorRegistry

import bcc_lightning.datamodules
import bcc_lightning.modules
from bcc_lightning.__main__ import commands, experiments, main, with_needs
from bcc_lightning.argument_types import annotations
from bcc_lightning.cli.accepted import accepted
from bcc_lightning.cli.arguments import Call
from bcc_lightning.cli.data_sets import separate_data
from bcc_lightning.cli.early import CHOICES, chosen_classes, refuse_missing_data, refuse_misspelt
from bcc_lightning.cli.experiment import ExperimentCLI
from bcc_lightning.cli.experiment_files import experiment_names
from bcc_lightning.cli.help import TRAINER, help_text
from bcc_lightning.cli.needs import needs
from bcc_lightning.cli.values import types_of
from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.metrics import Predictions, validation_metrics
from bcc_lightning.files import read_mapping
from bcc_lightning.modules.recipe import Selection
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.transforms.recipes import PIPELINES


def constructor(kind: type) -> set[str]:
    """The arguments of a class and of its bases, where it passes arguments on."""
    found: set[str] = set()
    for one in kind.__mro__:
        if one.__module__.startswith("bcc_lightning") and "__init__" in vars(one):
            parameters = inspect.signature(one.__init__).parameters.values()  # type: ignore[misc]
            found |= {p.name for p in parameters if p.kind is not p.VAR_KEYWORD and p.name != "self"}
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                break
    return found


@pytest.mark.parametrize(("group", "package"), [("data", bcc_lightning.datamodules), ("model", bcc_lightning.modules)])
def test_what_is_read_from_the_source_is_what_the_classes_take(group: str, package: ModuleType) -> None:
    known = accepted()[group]
    assert set(known.classes) == set(package.__all__) - {"CellDataModule", "CellClassifier"}
    for name, arguments in known.classes.items():
        assert set(arguments) == constructor(getattr(package, name)), name
        assert all(one.purpose for one in arguments.values()), f"{name} does not say what its arguments are for"


def test_the_other_groups_are_read_as_they_are() -> None:
    groups = accepted()
    assert set(groups["selection"].arguments("")) == {one.name for one in fields(Selection)}
    assert set(groups["tracking"].arguments("")) == {one.name for one in fields(Tracking)}
    trainer = set(inspect.signature(lightning.Trainer.__init__).parameters) - {"self"}
    assert set(groups["trainer"].arguments("")) == trainer
    assert set(TRAINER) <= trainer


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--exp", "eficientswin"], "experiment 'eficientswin' does not exist; did you mean efficientswin"),
        (["--exp", "house", "--data.imagesize", "28"], "key 'data.imagesize' is not known; did you mean data.image_size?"),
        (["--exp", "house", "--data.imagesize=28"], "key 'data.imagesize' is not known; did you mean data.image_size?"),
        (
            ["--exp", "house", "--data", "CelFolder"],
            "data: class 'CelFolder' is not known; did you mean CellFolder? There are: AN2DL",
        ),
        (["--exp", "house", "--model", "TransferClasifier"], "did you mean TransferClassifier?"),
        (["--exp", "house", "--modl.lr", "1"], "key 'modl.lr' is not known; did you mean model.lr?"),
        (["--exp", "house", "--model.init_args.lrr", "1"], "key 'model.init_args.lrr' is not known; did you mean model.lr?"),
        (["--exp", "house", "--trainer.max_epoch", "1"], "did you mean trainer.max_epochs?"),
        (["--exp", "house", "--selection.patient", "1"], "did you mean selection.patience?"),
        (["--exp", "house", "--data", "PBC", "--data.table", "x"], "key 'data.table' is not known; `--print_config`"),
        (["--exp", "house", "--zzz", "1"], "key 'zzz' is not known; `--print_config`"),
    ],
)
def test_what_is_misspelt(argv: list[str], message: str) -> None:
    with pytest.raises(UserError) as error:
        refuse_misspelt(argv)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "argv",
    [
        ["--exp", "house", "--data", "CellTable", "--data.table", "x.csv", "--data.augment.name", "light"],
        ["--exp=[house]", "--data.test_on+", "lab", "--model.head.dropout", "0.1", "--trainer.logger", "x"],
        ["--exp", "house", "--data", "mine.Own", "--data.anything", "1", "--trust", "mine"],
        ["--config", "own.yaml", "--data.anything", "1"],
        ["--resume", "last", "--tracking.folder", "x", "--traceback"],
        ["--exp", "house", "--model.class_path", "UNetClassifier", "--data.dict_kwargs.x", "1"],
    ],
)
def test_what_is_left_to_the_parser(argv: list[str]) -> None:
    refuse_misspelt(argv)


def test_every_experiment_can_be_looked_up() -> None:
    for name in experiment_names():
        chosen = chosen_classes(["--exp", name])
        assert chosen["data"] in accepted()["data"].classes
        assert chosen["model"] in accepted()["model"].classes


def test_help_lists_what_people_look_for() -> None:
    text = help_text(["--help", "--exp", "efficientswin"])
    for key in ("--model.lr", "--data.augment", "--data.test_on", "--model.swin", "--trainer.max_epochs", "--selection.patience"):
        assert f"  {key} " in text
    assert "Data set: BloodMNIST." in text
    assert max(map(len, text.splitlines())) <= 160
    assert len(text.splitlines()) < 160


@pytest.mark.parametrize(("group", "package"), [("data", bcc_lightning.datamodules), ("model", bcc_lightning.modules)])
def test_the_values_that_are_read_from_the_source_are_those_of_the_annotations(group: str, package: ModuleType) -> None:
    literal = 0
    for name, arguments in accepted()[group].classes.items():
        hints = annotations(getattr(package, name))
        for one in arguments.values():
            types = types_of(ast.parse(one.annotation, mode="eval").body, one.file)
            hint = hints[one.name]
            parts = [part for part in (get_args(hint) if get_origin(hint) is UnionType else (hint,)) if part is not NoneType]
            plain = all(part in {int, float, bool} or get_origin(part) is Literal for part in parts)
            expected = [get_args(part) if get_origin(part) is Literal else part.__name__ for part in parts] if plain else None
            assert types == expected, f"{name}.{one.name}"
            literal += any(isinstance(kind, tuple) for kind in types or ())
    assert literal > 10


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.optimizer", "adamx"),
        ("model.lr", "high"),
        ("model.pretrained", "maybe"),
        ("data.resolution", "29"),
        ("data.balance", "oversampel"),
        ("data.num_workers", "two"),
        ("selection.mode", "maximum"),
        ("trainer.max_epochs", "x"),
    ],
)
def test_values_are_refused_in_the_words_of_the_parser(key: str, value: str) -> None:
    flags = [f"--{key}", value]
    with pytest.raises(UserError) as late:
        ExperimentCLI(Call.read(["--exp", "efficientnet_b0", *flags]).arguments)
    with pytest.raises(UserError) as early:
        refuse_misspelt(["--exp", "efficientnet_b0", *flags])
    assert str(early.value) == str(late.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("seed_everything", "-1", "--seed_everything is -1, it must be 0 to 4294967295"),
        ("seed_everything", "4294967296", "--seed_everything is 4294967296, it must be 0 to 4294967295"),
        ("trainer.accelerator", "gpuu", "--trainer.accelerator is 'gpuu', it must be one of auto, cpu, gpu, cuda, mps, tpu"),
        ("trainer.accelerator", "gpuu", "; did you mean gpu?"),
        ("trainer.devices", "0", "--trainer.devices is 0, it must be -1, which takes all GPUs, or 1 or more"),
        ("trainer.devices", "-2", "--trainer.devices is -2"),
        ("trainer.max_time", "abc", "--trainer.max_time is abc, it must be DD:HH:MM:SS, such as 00:01:30:00"),
        ("trainer.max_time", "01:30:00", "--trainer.max_time is 01:30:00"),
        ("trainer.max_epochs", "-2", "--trainer.max_epochs is -2, it must be -1, which sets no limit, or 0 or more"),
        ("trainer.accumulate_grad_batches", "0", "--trainer.accumulate_grad_batches is 0, it must be 1 or more"),
        ("trainer.limit_val_batches", "-0.5", "--trainer.limit_val_batches is -0.5, it must be 0 or more"),
        (
            "selection.monitor",
            "val/acuracy",
            "--selection.monitor is 'val/acuracy', it must be one of val/accuracy, val/f1_macro",
        ),
        ("selection.monitor", "val/acuracy", "; did you mean val/accuracy?"),
    ],
)
def test_values_that_lightning_would_refuse_once_a_run_is_open(key: str, value: str, message: str, tmp_path: Path) -> None:
    group, _, name = key.rpartition(".")
    (tmp_path / "mine.yaml").write_text(f"{group}: {{{name}: '{value}'}}\n" if group else f"{name}: {value}\n")
    for argv in (["--exp", "quickstart", f"--{key}", value], ["--exp", "quickstart", "--exp", str(tmp_path / "mine.yaml")]):
        with pytest.raises(UserError) as error:
            refuse_misspelt(argv)
        assert message in str(error.value)
    refuse_misspelt(["--exp", "quickstart", "--exp", str(tmp_path / "mine.yaml"), f"--{key}", VALID[key]])  # the flag wins


VALID = {
    "seed_everything": "4294967295",
    "trainer.accelerator": "auto",
    "trainer.devices": "-1",
    "trainer.max_time": "00:01:30:00",
    "trainer.max_epochs": "-1",
    "trainer.accumulate_grad_batches": "1",
    "trainer.limit_val_batches": "0.5",
    "selection.monitor": "val/loss",
}


@pytest.mark.parametrize(
    "flags",
    [
        ["--seed_everything", "true"],
        ["--trainer.devices", "[0, 1]"],
        ["--trainer.devices", "auto"],
        ["--trainer.max_time", "null"],
        ["--trainer.max_time", "{hours: 2}"],
        ["--trainer.accelerator", "--traceback"],  # the parser says that the value is missing
        ["--trainer.accelerator", "mine.Accelerator"],
        ["--model", "mine.Own", "--selection.monitor", "val/own"],
    ],
)
def test_values_that_lightning_takes(flags: list[str]) -> None:
    refuse_misspelt(["--exp", "quickstart", *flags])


def test_accelerators_and_metrics_are_those_that_exist() -> None:
    known = set(AcceleratorRegistry.available_accelerators())
    assert set(get_args(CHOICES["trainer.accelerator"])) == known | {"auto", "gpu"}
    predictions = Predictions(torch.arange(2), torch.tensor([0, 1]), torch.eye(2))
    judged = {*validation_metrics(predictions), "val/loss", "train/loss", "train/accuracy"} - {"val/most_frequent"}
    assert set(get_args(CHOICES["selection.monitor"])) == judged


@pytest.mark.parametrize("name", experiment_names())
def test_experiments_hold_no_value_that_lightning_would_refuse(name: str) -> None:
    refuse_misspelt(["--exp", name])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--exp", "pbc_vgg16", "--data.root", "x"], "x does not exist.\nNext step: place the data set there"),
        (["--exp", "an2dl_cnn"], "data/an2dl/training_set.npz does not exist.\nNext step: place the challenge's"),
        (["--exp", "densenet121_native"], "data/bloodmnist/bloodmnist_224.npz does not exist"),
        (["--exp", "house", "--data", "CellTable", "--data.table", "cells.csv"], "cells.csv does not exist; name a .csv"),
        (["--exp", "quickstart", "--data.split_file", "split.csv"], "split file split.csv does not exist; every run saves one"),
    ],
)
def test_data_that_are_not_there(flags: list[str], message: str) -> None:
    with pytest.raises(UserError) as error:
        refuse_missing_data(flags)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "flags",
    [
        ["--exp", "quickstart"],
        ["--exp", "house", "--data.download", "true"],
        ["--exp", "house", "--data", "SyntheticSmear"],
        ["--exp", "house", "--data", "mine.Own"],
        ["--exp", "house", "--print_config"],
        ["--exp", "house", "--config", "further.yaml"],
    ],
)
def test_data_that_are_not_needed_or_not_known(flags: list[str]) -> None:
    refuse_missing_data(flags)


def test_flags_of_the_data_set_are_separated() -> None:
    argv = [
        "--out",
        "o",
        "--data",
        "PBC",
        "--data.root=x",
        "--data.bits",
        "-1",
        "--few_shot",
        "true",
        "--data.reread",
        "--run",
        "a",
    ]
    flags, others = separate_data(argv)
    assert flags == ["--data", "PBC", "--data.root=x", "--data.bits", "-1", "--data.reread"]
    assert others == ["--out", "o", "--few_shot", "true", "--run", "a"]


def test_everything_that_can_be_named_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    lines = capsys.readouterr().out.splitlines()
    listed = [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "]
    classes = [name for group in ("data", "model") for name in accepted()[group].classes]
    alone = [name for name in experiment_names() if not name.startswith(("lite/", "as_published/"))]
    assert sorted(listed) == sorted([*commands(), *classes, *PIPELINES, *alone, "lite/NAME", "as_published/NAME"])
    of_families = "".join(lines[[line.startswith("  lite/NAME") for line in lines].index(True) :])
    assert all(name.rpartition("/")[2] in of_families for name in experiment_names() if name not in alone)
    assert max(map(len, lines)) <= 100
    assert all(purpose for purpose in experiments().values())


def test_a_space_instead_of_a_dot_runs_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--exp", "hous"]) == 2
    assert "did you mean house?" in capsys.readouterr().err
    assert main(["fitt", "--exp", "house"]) == 2
    assert "there is no command fitt; did you mean fit?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argument", "meant"),
    [
        ("epochs", "trainer.max_epochs"),
        ("model.learning_rate", "model.lr"),
        ("lr", "model.lr"),
        ("trainer.max_epoch", "trainer.max_epochs"),
    ],
)
def test_what_other_programs_call_otherwise(argument: str, meant: str) -> None:
    with pytest.raises(UserError, match=f"key '{argument}' is not known; did you mean {meant}\\?"):
        refuse_misspelt(["--exp", "house", f"--{argument}", "3"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("house", "28 px, 36 epochs, weights: random"),
        ("an2dl_ensemble", "96 px, weights: finished runs"),
        ("an2dl_vgg16", "96 px, 200 epochs, weights: ImageNet, from the hub"),  # two stages of 100
        ("lite/efficientswin", "96 px, 35 epochs, weights: ImageNet, from a package"),
        ("dinobloom_small_probe", "224 px, 10 epochs, weights: DinoBloom-S.pth, which you bring"),
        ("pbc_cnn", "128 px, 10 epochs, weights: random"),
    ],
)
def test_what_an_experiment_needs(name: str, expected: str) -> None:
    assert needs(read_mapping(experiment_names()[name], "")) == expected


def test_a_file_that_tells_nothing_is_listed_all_the_same(empty_folder: Path) -> None:
    (empty_folder / "experiments").mkdir()
    (empty_folder / "experiments" / "mine.yaml").write_text("# Mine.\nmodel: 3\n")
    assert with_needs("mine", "Mine") == "Mine"
