"""Mistakes a person makes: one clear error that names value, allowed values and next step; no run is opened, nothing is lost."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import LightningModule, Trainer

from bcc_lightning.callbacks.epochs import EpochSeeding
from bcc_lightning.datasets.npz import file_hash
from bcc_lightning.fit import main
from bcc_lightning.modules.checkpoint import load_classifier
from tests.miniature import PAINTED, QUICK, SMALL, miniature_arrays, runs_in, write_miniature_bloodmnist

REAL = ["--exp", "efficientnet_b0", *QUICK]

Complain = Callable[..., str]


@pytest.fixture
def complaint(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Complain:
    """Run `fit`, expect exit code 2 and no run, and give the message."""

    def run(*flags: str) -> str:
        assert main(list(flags)) == 2
        assert runs_in(tmp_path / "mlruns") == []
        message = capsys.readouterr().err
        assert message.startswith("error: ")
        assert "Traceback" not in message
        assert message.count("\n") <= 4
        return message

    return run


def experiment(folder: Path, text: str) -> str:
    file = folder / "mine.yaml"
    file.write_text(text)
    return str(file)


def test_unknown_experiment_lists_near_matches(complaint: Complain) -> None:
    message = complaint("--exp", "eficientswin")
    assert "experiment 'eficientswin' does not exist; did you mean efficientswin" in message
    assert "quickstart" in message


def test_no_experiment_lists_all(complaint: Complain) -> None:
    assert "--exp NAME; there are: " in complaint()


def test_experiment_file_that_does_not_exist(complaint: Complain) -> None:
    assert "experiment file missing.yaml does not exist" in complaint("--exp", "missing.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model: {class_path: EfficientSwin, init_args: {swim: x}}\n", "key 'model.swim' is not known"),
        ("trainer: {max_epoch: 3}\n", "key 'trainer.max_epoch' is not known"),
        ("selection: {patients: 3}\n", "key 'selection.patients' is not known"),
        ("colour: red\n", "key 'colour' is not known"),
        ("trainer: {max_epochs: many}\n", "key 'trainer.max_epochs' takes int, not 'many'"),
        ("data: {class_path: SyntheticSmear, init_args: {image_size: big}}\n", "key 'data.image_size' takes int, not 'big'"),
        (
            "model: {class_path: EfficientSwine}\n",
            "class 'EfficientSwine' is not known; did you mean EfficientSwin? There are: EfficientSwin, ",
        ),
        ("selection: {mode: most}\n", "most"),
    ],
)
def test_mistake_in_a_file_names_file_and_key(complaint: Complain, tmp_path: Path, text: str, expected: str) -> None:
    file = experiment(tmp_path, text)
    message = complaint("--exp", "quickstart", "--exp", file)
    assert file in message
    assert expected in message


def test_file_that_is_no_yaml(complaint: Complain, tmp_path: Path) -> None:
    assert "is not valid YAML" in complaint("--exp", experiment(tmp_path, "model: [unclosed\n"))
    assert "must hold keys such as model, data and trainer" in complaint("--exp", experiment(tmp_path, "just words\n"))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--data.imagesize", "3"], "command line: key 'data.imagesize' is not known"),
        (["--model.lr", "high"], "command line: key 'model.lr' takes float, not 'high'"),
        (
            ["--data", "BloodMist"],
            "class 'BloodMist' is not known; did you mean BloodMNIST? There are: AN2DL, BloodMNIST, CellFolder",
        ),
    ],
)
def test_mistake_in_a_flag(complaint: Complain, flags: list[str], expected: str) -> None:
    assert expected in complaint("--exp", "quickstart", *flags)


def test_unknown_augmentation_lists_pipelines(complaint: Complain) -> None:
    assert "--data.augment takes none, light, standard" in complaint(*SMALL, "--data.augment", "heavy")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--data.batch_size", "0"], "--data.batch_size is 0, it must be 1 or more"),
        (["--data.num_workers", "-1"], "--data.num_workers is -1, it must be 0 or more"),
        (["--data.train_cells", "0"], "--data.train_cells is 0, it must be 1 or more"),
        (["--data.difficulty", "2"], "difficulty holds 2.0; allowed are 0 to 1"),
        (["--seed_everything", "-1"], "--seed_everything is -1, it must be 0 to 4294967295"),
        (["--trainer.devices", "0"], "--trainer.devices is 0, it must be -1, which takes all GPUs, or 1 or more"),
        (["--selection.monitor", "val/acuracy"], "did you mean val/accuracy?"),
        (["--model.lr", "-1"], "--model.lr is -1.0, it must be 0 or more"),
        (["--model.backbone", "efficientnet_b00"], "timm has no backbone 'efficientnet_b00'; did you mean efficientnet_b0"),
        (["--summary", "/proc/out.json"], "--summary /proc/out.json cannot be written"),
    ],
)
def test_value_out_of_range(complaint: Complain, flags: list[str], expected: str) -> None:
    assert expected in complaint(*SMALL, *flags)


def test_missing_data_say_where_to_put_them(complaint: Complain, tmp_path: Path) -> None:
    message = complaint(*REAL, "--data.root", str(tmp_path / "cells"))
    assert f"{tmp_path}/cells/bloodmnist.npz does not exist" in message
    assert "MD5 7053d0359d879ad8a5505303e11de1dc" in message  # medmnist's published checksum of the 28-pixel file
    assert "--data.root DIR" in message
    assert "--data.download true" in message


def test_wrong_checksum_names_both(complaint: Complain, tmp_path: Path) -> None:
    file = write_miniature_bloodmnist(tmp_path) / "bloodmnist.npz"
    message = complaint(*REAL, "--data.root", str(tmp_path))
    assert file_hash(file, "md5") in message
    assert "7053d0359d879ad8a5505303e11de1dc" in message
    assert "--data.verify_checksum false" in message


def altered(folder: Path, **changes: np.ndarray[Any, Any]) -> list[str]:
    """Write a miniature BloodMNIST with other arrays, and give the flags that use it."""
    np.savez(folder / "bloodmnist.npz", **{**miniature_arrays(), **changes})  # type: ignore[arg-type]
    return [*REAL, "--data.root", str(folder), "--data.verify_checksum", "false"]


def test_truncated_npz(complaint: Complain, tmp_path: Path) -> None:
    flags = altered(tmp_path)
    file = tmp_path / "bloodmnist.npz"
    file.write_bytes(file.read_bytes()[:100_000])
    assert "bloodmnist.npz (100,000 bytes) is cut off or damaged" in complaint(*flags)


def test_pickled_objects_are_refused_and_not_run(complaint: Complain, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    flags = altered(tmp_path, val_labels=np.array([Trap()], dtype=object))
    assert "is refused because it holds pickled objects, which could run code" in complaint(*flags)
    assert not (tmp_path / "sprung").exists()


def test_labels_outside_the_classes(complaint: Complain, tmp_path: Path) -> None:
    labels = miniature_arrays()["test_labels"].copy()
    labels[5] = 8
    message = complaint(*altered(tmp_path, test_labels=labels))
    assert "(test) has 1 labels outside 0 to 7 (basophil," in message
    assert "the first is 8 at row 5" in message


def test_images_of_another_shape(complaint: Complain, tmp_path: Path) -> None:
    message = complaint(*altered(tmp_path, train_images=np.zeros((48, 28, 28), np.uint8)))
    assert "images (48, 28, 28) uint8; expected: (N, S, S, 3) uint8" in message


def test_npz_without_a_split(complaint: Complain, tmp_path: Path) -> None:
    np.savez(tmp_path / "bloodmnist.npz", train_images=np.zeros(3))
    assert "lacks train_labels, val_images" in complaint(*REAL, "--data.root", str(tmp_path), "--data.verify_checksum", "false")


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("efficientswin", "20", "image_size 20 is too small for swin_tiny_patch4_window7_224: it needs 28 or more"),
        ("efficientswin", "50", "image_size 50 is not allowed for swin_tiny_patch4_window7_224: it must be a multiple of 4"),
        ("efficientnet_b0", "16", "image_size 16 is too small for efficientnet_b0: it needs 28 or more"),
    ],
)
def test_image_size_that_the_architecture_cannot_take(complaint: Complain, name: str, size: str, expected: str) -> None:
    assert expected in complaint("--exp", name, *PAINTED, *QUICK, "--data.image_size", size)


def test_weights_neither_cached_nor_given(complaint: Complain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # the discard port: nobody listens
    message = complaint(*SMALL, "--model.pretrained", "true")
    assert "pretrained weights of 'test_efficientnet' (timm/test_efficientnet.r160_in1k) are not in the cache" in message
    assert "--model.weights FILE" in message
    assert "--model.pretrained false" in message


def test_weights_of_another_architecture_are_summed_up(complaint: Complain, tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(3), "fc.bias": torch.zeros(2)}, tmp_path / "other.pth")
    message = complaint(*SMALL, "--model.weights", str(tmp_path / "other.pth"))
    assert "other.pth belong to another architecture than EfficientNet: " in message
    assert "missing (" in message
    assert "2 unexpected (conv1.weight, fc.bias)" in message


def test_weights_file_that_does_not_exist(complaint: Complain) -> None:
    assert "weights file nowhere.pth does not exist" in complaint(*SMALL, "--model.weights", "nowhere.pth")


def test_unreachable_tracking_server_is_told_at_once(complaint: Complain, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts: list[float] = []
    connect = socket.create_connection

    def connect_and_count(address: tuple[str, int], timeout: float, **options: Any) -> socket.socket:
        attempts.append(timeout)
        return connect(address, timeout, **options)

    monkeypatch.setattr(socket, "create_connection", connect_and_count)
    message = complaint(*SMALL, "--tracking.uri", "http://127.0.0.1:9")
    assert len(attempts) == 1  # MLflow would try for minutes
    assert attempts[0] <= 5
    assert "tracking server http://127.0.0.1:9 does not answer" in message
    assert "--tracking.uri URI or MLFLOW_TRACKING_URI" in message


@pytest.mark.slow
def test_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(self: EpochSeeding, trainer: Trainer, module: LightningModule, *_: object) -> None:
        if trainer.current_epoch == 1:
            next(module.parameters()).data.fill_(float("inf"))

    monkeypatch.setattr(EpochSeeding, "on_train_batch_end", explode)
    assert main([*SMALL, "--trainer.max_epochs", "5"]) == 2
    error = capsys.readouterr().err
    assert "the training loss became nan in epoch 1" in error
    assert "--trainer.gradient_clip_val 1.0" in error
    (run,) = runs_in(tmp_path / "mlruns")
    assert run.info.status == "FAILED"
    kept = load_classifier(Path(str(run.info.artifact_uri).removeprefix("file://")) / "checkpoints" / "best.ckpt")
    assert all(torch.isfinite(parameter).all() for parameter in kept.parameters())


def test_traceback_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--exp", "nothing", "--traceback"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.slow
def test_no_finished_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--trainer.max_time", "00:00:00:00"]) == 2
    assert "no epoch was finished" in capsys.readouterr().err
