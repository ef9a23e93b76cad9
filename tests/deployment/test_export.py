"""Files that others run: they answer as the network does, for images of any size, and say what they are."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import bcc_lightning as bcc
from bcc_lightning.datasets.framing import fit_square
from bcc_lightning.deployment.export import Parity, compare, export, known_cells, onnx_runner, quantise, write_onnx
from bcc_lightning.deployment.standalone import Standalone, resize_weights
from bcc_lightning.errors import UserError
from bcc_lightning.modules import CellClassifier
from bcc_lightning.modules.checkpoint import save_classifier
from bcc_lightning.prediction.classifier import TrainedClassifier
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.tracking.trained_networks import find_network, of_file

SIZES = [(32, 32), (40, 40), (64, 64), (131, 97), (20, 24)]


def smooth_images(height: int, width: int, number: int = 2) -> np.ndarray[Any, Any]:
    """Draw images without sharp edges, as cells are."""
    noise = np.random.default_rng(height).integers(256, size=(number, height, width, 3), dtype=np.uint8)
    return np.stack([cv2.GaussianBlur(image, (7, 7), 3) for image in noise])


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_images_are_resized_as_opencv_does(height: int, width: int) -> None:
    """Enlarging, OpenCV computes with eleven bits, so that a pixel in ten may differ by one."""
    classifier = TrainedClassifier(bcc.PlainCNN(class_names=["a", "b"], image_size=32))
    standalone, images = Standalone(classifier), smooth_images(height, width)
    found = standalone.resize(standalone.central_square(torch.from_numpy(images)).float(), 32).numpy()
    expected = np.stack([fit_square(image, 32) for image in images]).astype(np.float32)
    assert np.abs(found - expected).max() <= (1 if height < 32 else 0)


def test_weights_of_a_pixel_sum_to_one() -> None:
    for square in (7, 32, 45, 64, 100):
        assert resize_weights(square, 32).sum(dim=1).numpy() == pytest.approx(np.ones(32), abs=1e-5)


def answers_alike(module: CellClassifier, folder: Path, kind: str, run: Callable[[Path], Callable[[Any], Any]]) -> None:
    save_classifier(module, folder / "best.ckpt")
    network = of_file(folder / "best.ckpt")
    done = export(network, folder / f"model.{kind}", kind)  # type: ignore[arg-type]
    assert done.parity == Parity()
    assert done.fault == "not measured: the run's test cells are not on this machine"
    classifier, answer = TrainedClassifier.of(network), run(done.file)
    for height, width in SIZES[:4]:
        images = smooth_images(height, width)
        expected = classifier.predict(images)[classifier.class_names].to_numpy()
        assert answer(images) == pytest.approx(expected, abs=2e-3)
        assert np.array_equal(np.asarray(answer(images)).argmax(axis=1), expected.argmax(axis=1))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_a_file_answers_as_the_network_with_its_views(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("onnxscript", reason="the extra `export` is missing")
    torch.manual_seed(0)
    module = bcc.PlainCNN(class_names=["a", "b", "ü"], image_size=32, test_time="flips").eval()

    def run(file: Path) -> Callable[[Any], Any]:
        if kind == "pt2":
            program = torch.export.load(file).module()
            return lambda images: program(torch.from_numpy(images)).numpy()
        import onnxruntime

        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        assert json.loads(session.get_modelmeta().custom_metadata_map["class_names"]) == ["a", "b", "ü"]
        return lambda images: session.run(None, {"images": images})[0]

    answers_alike(module, tmp_path, kind, run)


@pytest.mark.slow
def test_the_script_of_the_docs_needs_no_torch(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="the extra `export` is missing")
    document = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    script = document.partition("```python\nimport json\n")[2].partition("```")[0]
    assert len([line for line in script.splitlines() if line]) <= 10
    save_classifier(bcc.PlainCNN(class_names=["a", "b"], image_size=32), tmp_path / "best.ckpt")
    export(of_file(tmp_path / "best.ckpt"), tmp_path / "model.onnx")
    cv2.imwrite(str(tmp_path / "cell.png"), smooth_images(40, 50, 1)[0])
    (tmp_path / "script.py").write_text("import json\n" + script)
    (tmp_path / "torch.py").write_text("raise ImportError")
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] in {"a", "b"}


@pytest.mark.slow
@pytest.mark.xdist_group("painted_folder")
def test_a_file_is_compared_with_the_runs_own_test_cells(painted_folder: Path) -> None:
    """The network itself stands for the file."""
    network = find_network(Tracking(folder=str(painted_folder / "mlruns")), "efficientnet_b0")
    classifier, cells = TrainedClassifier.of(network), known_cells(network)
    assert cells is not None
    filed = network.predictions()
    right = filed[[f"class_{number}" for number in range(8)]].idxmax(axis=1) == filed["label"]
    found = compare(lambda images: classifier.classify(images).numpy(), classifier, cells)
    assert found == Parity(37, 1.0, 0.0, right.mean(), right.mean())
    turned = compare(lambda images: np.roll(classifier.classify(images).numpy(), 1, axis=1), classifier, cells)
    assert turned.equal == 0.0
    assert turned.network_accuracy == right.mean()
    assert len(cells.validation) == 24


@pytest.mark.slow
def test_int8_is_smaller_and_answers_nearly_alike(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="the extra `export` is missing")
    torch.manual_seed(0)
    classifier = TrainedClassifier(bcc.PlainCNN(class_names=["a", "b", "c"], image_size=32).eval())
    plain, images = tmp_path / "plain.onnx", smooth_images(32, 32, 24)
    write_onnx(Standalone(classifier).eval(), plain)
    quantised = quantise(plain, images)
    assert quantised.stat().st_size < 0.6 * plain.stat().st_size
    expected = classifier.predict(images)[classifier.class_names].to_numpy()
    found = onnx_runner(quantised)(images)
    assert found == pytest.approx(expected, abs=0.05)
    assert not np.array_equal(found, onnx_runner(plain)(images))


def test_what_does_not_go_together(tmp_path: Path) -> None:
    save_classifier(bcc.PlainCNN(class_names=["a", "b"], image_size=32), tmp_path / "best.ckpt")
    with pytest.raises(UserError, match="--precision int8 goes with --format onnx only"):
        export(of_file(tmp_path / "best.ckpt"), tmp_path / "model.pt2", "pt2", "int8")


@pytest.mark.slow
def test_stains_are_normalised_in_the_file_as_in_the_network(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="the extra `export` is missing")
    import onnxruntime

    torch.manual_seed(0)
    common = {"class_names": ["a", "b", "c"], "image_size": 32, "backbone": "resnet18", "pretrained": False}

    def run(file: Path) -> Callable[[Any], Any]:
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        return lambda images: session.run(None, {"images": images})[0]

    answers_alike(bcc.TransferClassifier(**common, stain="reinhard").eval(), tmp_path, "onnx", run)
    save_classifier(bcc.TransferClassifier(**common, stain="macenko"), tmp_path / "macenko.ckpt")
    with pytest.raises(UserError, match=r"cannot be exported: --model\.stain macenko"):
        export(of_file(tmp_path / "macenko.ckpt"), tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("parity", "precision", "fault"),
    [
        (Parity(1000, 0.999, 1e-5, 0.98, 0.98), "fp32", None),
        (Parity(1000, 0.998, 1e-2, 0.98, 0.98), "fp32", "only 99.80 % of the test cells"),
        (Parity(1000, 0.99, 1e-1, 0.9795, 0.98), "int8", None),
        (Parity(1000, 0.99, 1e-1, 0.97, 0.98), "int8", "int8 loses 1.00 points of accuracy"),
        (Parity(), "fp32", "not measured"),
    ],
)
def test_a_file_that_answers_otherwise_is_not_passed_off(parity: Parity, precision: Any, fault: str | None) -> None:
    found = parity.fault(precision)
    assert found is None if fault is None else fault in (found or "")
