"""What the parser's errors become: they are read from jsonargparse's wording, which another version may change."""

from pathlib import Path

import pytest

from bcc_lightning.cli.arguments import Call
from bcc_lightning.cli.experiment import ExperimentCLI
from bcc_lightning.errors import UserError
from tests.miniature import PAINTED

PRINT_CONFIG = "is not known; `--print_config` lists the keys that are"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--model.lrr", "1"], f"key 'model.lrr' {PRINT_CONFIG}"),
        (["--model.head.hiden", "[8]"], f"key 'model.head.hiden' {PRINT_CONFIG}"),
        (["--data.batch_sise", "3"], f"key 'data.batch_sise' {PRINT_CONFIG}"),
        (["--tracking.urii", "x"], f"key 'tracking.urii' {PRINT_CONFIG}"),
        (["--nonsense", "1"], f"key 'nonsense' {PRINT_CONFIG}"),
        (["--model.lr", "many"], "key 'model.lr' takes float, not 'many'"),
        (["--model.head", "3"], "key 'model.head' takes a mapping, not '3'"),
        (["--model.head.hidden", "x"], "key 'model.head.hidden' takes list, not 'x'"),
        (
            ["--model.optimizer", "adamm"],
            "key 'model.optimizer' takes one of 'adam', 'adamw', 'sgd', 'rmsprop', 'lion', not 'adamm'",
        ),
        (["--trainer.max_epochs", "x"], "key 'trainer.max_epochs' takes int, not 'x'"),
        (["--selection.mode", "up"], "key 'selection.mode' takes one of 'max', 'min', not 'up'"),
        (
            ["--data", "BloodMNST"],
            "data: class 'BloodMNST' is not known; did you mean BloodMNIST? There are: AN2DL, BloodMNIST, CellFolder,",
        ),
        (["--data", "torch.nn.Linear"], "key 'data' takes a CellDataModule, which torch.nn.Linear is not. There are: AN2DL,"),
        (
            ["--model", "torch.nn.Linear"],
            "key 'model' takes a CellClassifier, which torch.nn.Linear is not. There are: EfficientSwin,",
        ),
        (["--data", "torch.nothere.Thing"], "key 'data': class 'torch.nothere.Thing' does not exist (module 'torch' has no"),
        (["--data", "os.path"], "key 'data' names os.path; only classes of bcc_lightning, lightning, timm, torch, torchmetrics"),
        (["--trainer.callbacks", "[{class_path: nosuch.Thing}]"], "add --trust nosuch on the command line"),
    ],
)
def test_flags(flags: list[str], expected: str) -> None:
    with pytest.raises(UserError) as raised:
        ExperimentCLI(Call.read(["--exp", "an2dl_cnn", *PAINTED, *flags]).arguments)
    assert str(raised.value).startswith("command line: ")
    assert expected in str(raised.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model: {init_args: {lr: many}}", "key 'model.lr' takes float, not 'many'"),
        ("model: {init_args: {lrr: 1}}", f"key 'model.lrr' {PRINT_CONFIG}"),
        ("trainr: {max_epochs: 1}", f"key 'trainr.max_epochs' {PRINT_CONFIG}"),
        ("trust: mypkg", "key 'trust' cannot be set in a file: whom to trust is said on the command line"),
    ],
)
def test_files(text: str, expected: str) -> None:
    Path("mine.yaml").write_text(text)
    with pytest.raises(UserError) as raised:
        ExperimentCLI(Call.read(["--exp", "an2dl_cnn", "--exp", "mine.yaml"]).arguments)
    assert str(raised.value).startswith("mine.yaml: ")
    assert expected in str(raised.value)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--exp"], "--exp needs a value"),
        (["--exp", "quickstart", "--folds", "many"], "command line: key 'folds' takes int, not 'many'"),
        (["--exp", "quickstart", "--folds", "1"], "--folds is 1, it must be a whole number from 2"),
        (["--exp", "quickstart", "--repeats", "2"], "--repeats needs --folds K"),
        (["--resume", "last", "--exp", "quickstart"], "--exp quickstart cannot be combined with --resume"),
        (["--resume", "last", "--folds", "3"], "--folds 3 cannot be combined with --resume"),
    ],
)
def test_options_of_a_call(argv: list[str], expected: str) -> None:
    with pytest.raises(UserError) as raised:
        Call.read(argv)
    assert expected in str(raised.value)


def test_a_call_is_read_once_into_typed_options() -> None:
    argv = [
        "--exp",
        "a",
        "--data.root",
        "x y",
        "--exp=b",
        "--folds=5",
        "--tracking.folder",
        "here",
        "--model.lr=1e-3",
        "--summary",
        "s",
    ]
    call = Call.read(argv)
    assert (call.exp, call.folds, call.repeats, call.summary, call.resume) == (["a", "b"], 5, None, "s", None)
    assert call.tracking.folder == "here"
    assert call.flags == ["--data.root", "x y", "--tracking.folder", "here", "--model.lr=1e-3"]
