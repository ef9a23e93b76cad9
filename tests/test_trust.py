"""Files of others run no code: what they name is neither imported nor called unless a person trusts its package."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from jsonargparse import Namespace

from bcc_lightning.cli.arguments import Call
from bcc_lightning.cli.command import run_command
from bcc_lightning.cli.experiment import ExperimentCLI
from bcc_lightning.engine.rebuild import build_data, data_config
from bcc_lightning.errors import UserError
from bcc_lightning.fit import main
from bcc_lightning.tracking.run_files import RunFolder
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.trust import Function, function_named, refuse_functions, trust_flags, trusting, without_functions
from tests.miniature import PAINTED, runs_in

BASE = ["--exp", "an2dl_cnn", *PAINTED, "--data.image_size", "32"]

STRANGER = """
from pathlib import Path
from typing import Any, Callable, Optional
from lightning import Callback
from torch import nn
from torch.nn.functional import relu
from bcc_lightning.datamodules import SyntheticSmear
from bcc_lightning.modules import PlainCNN

Path("IMPORTED").touch()

class Net(PlainCNN):
    pass

class Cells(SyntheticSmear):
    pass

class Defaults(Callback):
    def __init__(self, one: Callable = relu, other: Optional[Callable[..., nn.Module]] = nn.ReLU) -> None:
        self.one, self.other = one, other

class Greeter(Callback):
    def __init__(self, greet: Optional[Callable] = None) -> None:
        self.greet = greet

def called(*arguments: Any, **named: Any) -> None:
    Path("CALLED").touch()
"""

SHELL = {"class_path": "os.system", "init_args": {"command": "touch CALLED"}}


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module of somebody else in the folder that programs are started in."""
    (tmp_path / "stranger.py").write_text(STRANGER)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("stranger", None)


def refusal(content: dict[str, Any], *flags: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Start an experiment with a file that was sent, expect that nothing happens, and give the message."""
    Path("sent.yaml").write_text(yaml.safe_dump(content))
    assert main([*BASE, "--exp", "sent.yaml", *flags]) == 2
    assert runs_in(Path("mlruns")) == []
    assert not Path("CALLED").exists()
    assert not Path("IMPORTED").exists()
    message = capsys.readouterr().err
    assert message.startswith("error: sent.yaml: ")
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"trainer": {"callbacks": [{"class_path": "stranger.Greeter"}]}}, "'trainer.callbacks' names stranger.Greeter"),
        ({"trainer": {"callbacks": {"class_path": "stranger.Greeter"}}}, "'trainer.callbacks' names stranger.Greeter"),
        ({"trainer": {"plugins": [{"class_path": "stranger.Greeter"}]}}, "'trainer.plugins' names stranger.Greeter"),
        ({"trainer": {"logger": {"class_path": "stranger.Greeter"}}}, "'trainer.logger' names stranger.Greeter"),
        ({"trainer": {"strategy": {"class_path": "stranger.Greeter"}}}, "'trainer.strategy' names stranger.Greeter"),
        ({"trainer": {"profiler": {"class_path": "stranger.Greeter"}}}, "'trainer.profiler' names stranger.Greeter"),
        ({"data": {"class_path": "stranger.Cells"}}, "'data' names stranger.Cells"),
        ({"model": {"class_path": "stranger.Net"}}, "'model' names stranger.Net"),
        ({"stages": [{"class_path": "stranger.Net"}]}, "'stages' names stranger.Net"),
        ({"model": {"init_args": {"blocks": {"class_path": "stranger.Net"}}}}, "'model' names stranger.Net"),
    ],
)
def test_a_module_in_the_working_folder_is_not_imported(
    stranger: Path, capsys: pytest.CaptureFixture[str], content: dict[str, Any], expected: str
) -> None:
    message = refusal(content, capsys=capsys)
    assert expected in message
    assert "only classes of bcc_lightning, lightning, timm, torch, torchmetrics can be named" in message
    assert "add --trust stranger on the command line" in message


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("os.system", "names os.system"),
        ("subprocess.Popen", "names subprocess.Popen"),
        ("builtins.eval", "names builtins.eval"),
        ("lightning.pytorch.cli.os.system", "names posix.system"),  # by way of a package that may be named
        ("torch.hub.load", "takes a Callback, which torch.hub.load is not"),
        ("torch.nn.ReLU", "takes a Callback, which torch.nn.ReLU is not"),
        ("torch.no_such_module.X", "class 'torch.no_such_module.X' does not exist"),
    ],
)
def test_only_classes_of_the_right_kind_are_built(capsys: pytest.CaptureFixture[str], path: str, expected: str) -> None:
    message = refusal({"trainer": {"callbacks": [{**SHELL, "class_path": path}]}}, capsys=capsys)
    assert expected in message
    assert "--trust" not in message


@pytest.mark.parametrize("function", ["os.system", "torch.hub.load", SHELL, {"class_path": "torch.nn.ReLU"}])
def test_arguments_that_take_functions_are_not_filled_from_files(capsys: pytest.CaptureFixture[str], function: object) -> None:
    callback = {"class_path": "LambdaCallback", "init_args": {"setup": function}}
    message = refusal({"trainer": {"callbacks": [callback]}}, capsys=capsys)
    assert "key 'trainer.callbacks.setup' names" in message
    assert "which would call a function" in message


def test_a_function_is_no_class(stranger: Path) -> None:
    loader = Namespace(class_path="bcc_lightning.modules.checkpoint.load_classifier", init_args=Namespace(file="x.ckpt"))
    with pytest.raises(UserError, match="load_classifier, which would call a function"):
        refuse_functions(Namespace(model=[{"deep": loader}]))
    with pytest.raises(UserError, match="load_classifier"):
        build_data({"class_path": "bcc_lightning.modules.checkpoint.load_classifier", "init_args": {"file": "x.ckpt"}})


def test_arguments_of_any_type_are_left_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    message = refusal({"data": {"class_path": "SyntheticSmear", "init_args": {"augment": SHELL}}}, capsys=capsys)
    assert "names os.system" in message


@pytest.mark.parametrize("value", ["stranger", ["stranger"]])
def test_trust_is_not_said_in_a_file(stranger: Path, capsys: pytest.CaptureFixture[str], value: object) -> None:
    assert "whom to trust is said on the command line" in refusal({"trust": value}, capsys=capsys)


def test_yaml_tags_build_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Path("sent.yaml").write_text("seed_everything: !!python/object/apply:os.system ['touch CALLED']\n")
    assert main([*BASE, "--exp", "sent.yaml"]) == 2
    assert main([*BASE, "--config", "sent.yaml"]) == 2
    assert not Path("CALLED").exists()
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.usefixtures("stranger")
def test_a_configuration_by_any_way(capsys: pytest.CaptureFixture[str]) -> None:
    """By ``--config``, as the configuration of an interrupted run, and as that of a finished one."""
    Path("sent.yaml").write_text(yaml.safe_dump({"model": {"class_path": "stranger.Net"}}))
    assert main([*BASE, "--config", "sent.yaml"]) == 2
    folder = RunFolder(Tracking().work / "sent")
    folder.create()
    folder.config.write_text(Path("sent.yaml").read_text())
    assert main(["--resume", "sent"]) == 2
    error = capsys.readouterr().err
    assert error.count("'model' names stranger.Net") == 2
    assert error.count("--trust stranger") == 2
    with pytest.raises(UserError, match=r"names stranger\.Cells.*--trust stranger"):
        build_data({"class_path": "stranger.Cells", "init_args": {}})
    assert not Path("IMPORTED").exists()


def test_a_damaged_state_is_one_clear_error(capsys: pytest.CaptureFixture[str]) -> None:
    folder = RunFolder(Tracking().work / "sent")
    folder.create()
    folder.config.write_text("seed_everything: 0\n")
    folder.last_checkpoint.write_bytes(b"hello")
    assert main(["--resume", "sent"]) == 2
    assert "last.ckpt is not a checkpoint of this project, or damaged" in capsys.readouterr().err


def test_trusted_packages_give_modules_data_callbacks_and_functions(stranger: Path) -> None:
    callback = {"class_path": "stranger.Greeter", "init_args": {"greet": "stranger.called"}}
    content = {
        "model": {"class_path": "stranger.Net"},
        "data": {"class_path": "stranger.Cells", "init_args": {"train_cells": 16, "val_cells": 16, "test_cells": 16}},
        "trainer": {"callbacks": [callback]},
    }
    Path("mine.yaml").write_text(yaml.safe_dump(content))
    built: list[ExperimentCLI] = []

    def body(argv: list[str]) -> None:
        built.append(ExperimentCLI(Call.read(argv).arguments))
        assert trust_flags() == ["--trust", "stranger"]

    assert run_command(body, ["--exp", "an2dl_cnn", "--exp", "mine.yaml", "--data.image_size", "32", "--trust", "stranger"]) == 0
    (cli,) = built
    assert [type(cli.model).__name__, type(cli.datamodule).__name__] == ["Net", "Cells"]
    assert cli.config_init["trainer"]["callbacks"][0].greet is sys.modules["stranger"].called
    assert trust_flags() == []
    with pytest.raises(UserError, match="names stranger"):  # trust ends with the command
        ExperimentCLI(["--config", "mine.yaml"])


@pytest.mark.usefixtures("stranger")
def test_functions_that_are_defaults_stay_functions() -> None:
    Path("mine.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks": [{"class_path": "stranger.Defaults"}]}}))
    with trusting(["stranger"]):
        first = ExperimentCLI(Call(["an2dl_cnn", "mine.yaml"], flags=[*PAINTED, "--data.image_size", "32"]).arguments)
        Path("again.yaml").write_text(yaml.safe_dump(first.resolved_config()))
        again = ExperimentCLI(["--config", "again.yaml"])
    for cli in (first, again):
        (callback,) = cli.config_init["trainer"]["callbacks"]
        assert callback.one is torch.nn.functional.relu
        assert callback.other is torch.nn.ReLU


@pytest.mark.parametrize("package", ["os", "subprocess", "no_such_package", "my package", "jsonargparse.typing ", ""])
def test_what_cannot_be_trusted(capsys: pytest.CaptureFixture[str], package: str) -> None:
    assert main([*BASE, "--trust", package]) == 2
    assert "--trust" in capsys.readouterr().err


def test_functions_in_annotations() -> None:
    nested = bool | list[Callable[..., int]] | dict[str, Callable] | None
    assert without_functions(nested) == bool | list[Function] | dict[str, Function] | None
    assert without_functions(Callable) is Function
    assert without_functions(int | None) == int | None
    with pytest.raises(ValueError, match=r"Calling 'os\.system' is not allowed"):
        function_named("os.system")


@pytest.mark.parametrize("config", [{}, {"data": None}, {"data": {"class_path": "PBC"}}, {"data": {"init_args": {}}, "x": 1}])
def test_a_configuration_without_data(config: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"lacks data\.class_path"):
        data_config(config)


def test_trusting_ends_with_an_error(stranger: Path) -> None:
    with pytest.raises(UserError, match="stop"), trusting(["stranger"]):
        raise UserError("stop")
    assert trust_flags() == []
