"""Checkpoints of others: they build known classes only, and what does not fit is one clear error."""

import io
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bcc_lightning.errors import UserError
from bcc_lightning.modules import PlainCNN
from bcc_lightning.modules.checkpoint import find_class, load_classifier, save_classifier
from bcc_lightning.trust import trusting
from tests.modules.tiny import TinyClassifier

MODULES = "bcc_lightning.modules"
PACKAGES = {"transfer": f"{MODULES}.transfer_classifier.TransferClassifier", "ensemble": f"{MODULES}.ensemble.Ensemble"}
COMMON = {"class_names": ["a", "b"], "image_size": 32}


class Payload:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch CALLED",)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A checkpoint of a small network."""
    file = tmp_path_factory.mktemp("good") / "best.ckpt"
    save_classifier(PlainCNN(**COMMON), file)
    return file.read_bytes()


def altered(good: bytes, alter: Callable[[dict[str, Any]], Any]) -> str:
    """Write a checkpoint that somebody has changed, and give the error with which it is refused."""
    content = torch.load(io.BytesIO(good), weights_only=True)
    alter(content)
    torch.save(content, "sent.ckpt")
    with pytest.raises(UserError) as refused:
        load_classifier("sent.ckpt")
    assert str(refused.value).startswith("sent.ckpt")
    assert len(str(refused.value)) < 800
    return str(refused.value)


def test_an_unaltered_checkpoint(good: bytes) -> None:
    Path("best.ckpt").write_bytes(good)
    assert type(load_classifier("best.ckpt")) is PlainCNN


@pytest.mark.parametrize(
    "name", ["newcomer.Net", "os.system", "system", f"{MODULES}.base.CellClassifier", f"{MODULES}.PlainCNN", ""]
)
def test_a_class_that_is_not_known_is_not_imported(
    good: bytes, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    Path("newcomer.py").write_text("open('IMPORTED', 'w')\n")
    message = altered(good, lambda content: content.update(module_class=name))
    assert f"class '{name}' is not one of the known modules (" in message
    assert "add --trust PACKAGE on the command line, or import it in Python before loading" in message
    assert not Path("IMPORTED").exists()


def hyper(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["hyper_parameters"].update(changes)


def rebuilt(kind: str, **arguments: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content.update(module_class=PACKAGES[kind], hyper_parameters={**COMMON, **arguments})


@pytest.mark.parametrize(
    ("alter", "expected"),
    [
        (hyper(colour=1), "unexpected keyword argument 'colour'"),
        (hyper(image_size="x"), "--model.image_size is 'x', it must be a whole number"),
        (hyper(class_names=[]), "--model.class_names is [], it must be two names or more"),
        (hyper(class_names="blast"), "it must be a list, each entry a text"),
        (hyper(head={"colour": 1}), "--model.head has no colour; it takes batch_norm"),
        (hyper(head=3), "PlainCNN cannot be built"),
        (hyper(blocks=None), "PlainCNN cannot be built"),
        (hyper(blocks={"channels": [10**9]}), "PlainCNN cannot be built"),
        (hyper(class_names=["a", "b", "c"]), "size mismatch"),
        (hyper(loss="focl"), "did you mean focal?"),
        (hyper(lr=float("nan")), "--model.lr is nan"),
        (lambda content: content["hyper_parameters"].pop("class_names"), "missing 1 required positional argument"),
        (lambda content: content["hyper_parameters"].update({3: 4}), "PlainCNN cannot be built"),
        (lambda content: content.update(module_class=3), "it lacks 'module_class'"),
        (lambda content: content.pop("hyper_parameters"), "it lacks 'hyper_parameters'"),
        (lambda content: content.update(state_dict=[1]), "it lacks 'state_dict'"),
        (lambda content: content.update(state_dict={"a": "b"}), "Missing key(s)"),
        (
            rebuilt("transfer", backbone="resnet18", variant={"checkpoint_path": "x.pth"}),
            "variant does not accept checkpoint_path",
        ),
        (
            rebuilt("transfer", backbone="resnet18", variant={"pretrained_cfg": {"url": "x"}}),
            "variant does not accept pretrained_cfg",
        ),
        (rebuilt("transfer", backbone="hf-hub:stranger/net"), "backbone 'hf-hub:stranger/net' is from hf-hub"),
        (rebuilt("transfer", backbone="local-dir:/tmp"), "backbone 'local-dir:/tmp' is from local-dir"),
        (rebuilt("ensemble", members=["/etc/passwd"]), "/etc/passwd is not a checkpoint of this project"),
        (rebuilt("ensemble", members=[None]), "--model.members is [None]"),
        (rebuilt("ensemble", members=[{}]), "described by class_path and init_args, not by {}"),
        (
            rebuilt("ensemble", members=[{"class_path": "os.system", "init_args": {}}]),
            "class 'os.system' is not one of the known",
        ),
    ],
)
def test_what_does_not_fit(good: bytes, alter: Callable[[dict[str, Any]], Any], expected: str) -> None:
    assert expected in altered(good, alter)


def hostile_archive() -> bytes:
    stream = io.BytesIO()
    torch.save({"state_dict": Payload()}, stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [hostile_archive(), pickle.dumps(Payload(), 2), b"", b"hello", bytes(range(256)) * 4, b"PK\x03\x04" + bytes(100), None],
)
def test_damaged_and_hostile_files(good: bytes, content: bytes | None) -> None:
    Path("sent.ckpt").write_bytes(good[:5000] if content is None else content)
    with pytest.raises(UserError, match=r"sent\.ckpt is not a checkpoint of this project, or damaged") as refused:
        load_classifier("sent.ckpt")
    assert "weights_only" not in str(refused.value)  # torch would advise to switch the protection off
    assert not Path("CALLED").exists()


def test_a_list_is_no_checkpoint() -> None:
    torch.save([1], "sent.ckpt")
    with pytest.raises(UserError, match="it holds a list"):
        load_classifier("sent.ckpt")


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "stranger").mkdir()
    (tmp_path / "stranger" / "__init__.py").touch()
    (tmp_path / "stranger" / "nets.py").write_text("from bcc_lightning.modules import PlainCNN\nclass Net(PlainCNN): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("stranger.nets", "stranger"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("stranger")
def test_a_trusted_package_is_imported() -> None:
    with pytest.raises(UserError, match=r"class 'stranger\.nets\.Net'"):
        find_class("stranger.nets.Net")
    with trusting(["stranger"]):
        assert find_class("stranger.nets.Net").__name__ == "Net"
        with pytest.raises(UserError, match=r"class 'stranger\.nothing\.Net'"):
            find_class("stranger.nothing.Net")


def test_a_class_that_is_defined_already() -> None:
    module = TinyClassifier()
    save_classifier(module, Path("tiny.ckpt"))
    assert type(load_classifier("tiny.ckpt")) is TinyClassifier
