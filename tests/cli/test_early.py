"""What is misspelt is said before anything heavy is imported, and what is accepted is what the classes take."""

import inspect
import subprocess
import sys
from dataclasses import fields
from types import ModuleType

import lightning
import pytest

import bcc_lightning.datamodules
import bcc_lightning.modules
from bcc_lightning.__main__ import experiments, main
from bcc_lightning.cli.accepted import accepted
from bcc_lightning.cli.early import chosen_classes, refuse_misspelt
from bcc_lightning.cli.experiment_files import experiment_names
from bcc_lightning.cli.help import TRAINER, help_text
from bcc_lightning.errors import UserError
from bcc_lightning.modules.recipe import Selection
from bcc_lightning.tracking.settings import Tracking

HEAVY = {"torch", "lightning", "numpy", "pandas", "mlflow", "timm", "albumentations", "sklearn", "matplotlib", "optuna", "cv2"}


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


@pytest.mark.parametrize("argv", [["--exp", "eficientswin"], ["--exp", "house", "--data.imagesize", "28"], ["--help"]])
def test_nothing_heavy_is_imported_for_it(argv: list[str]) -> None:
    program = (
        "import sys, contextlib, io\nfrom bcc_lightning.fit import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):\n"
        f"    main({argv!r})\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not HEAVY & set(found.stdout.split())


def test_commands_and_experiments_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    out = capsys.readouterr().out
    assert all(f"\n  {name} " in out for name in ("fit", "predict", *experiment_names()))
    assert all(purpose for purpose in experiments().values())
