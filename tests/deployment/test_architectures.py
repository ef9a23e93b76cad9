"""Every architecture can be exported: ONNX Runtime answers as the network does, for images of any size."""

from pathlib import Path

import numpy as np
import pytest
import torch

import bcc_lightning.modules
from bcc_lightning.deployment.export import onnx_runner, write_onnx
from bcc_lightning.deployment.standalone import Standalone
from bcc_lightning.modules import CellClassifier
from bcc_lightning.prediction.classifier import TrainedClassifier
from tests.deployment.test_export import smooth_images
from tests.modules.test_conformance import CASES

pytest.importorskip("onnxscript", reason="the extra `export` is missing")

pytestmark = pytest.mark.slow

EXPORTED = [
    "PlainCNN, flattened",
    "UNetClassifier",
    "TransferClassifier, small stem",
    "SupConClassifier",
    "InceptionXception",
    "EfficientSwin",
    "Ensemble",
]
"""Cases of the conformance suite, one per class; none is known that cannot be exported."""


def test_the_list_is_whole() -> None:
    classes = {name for name in bcc_lightning.modules.__all__ if getattr(bcc_lightning.modules, name) is not CellClassifier}
    assert classes == {name.partition(",")[0] for name in EXPORTED}


@pytest.mark.parametrize("name", EXPORTED)
def test_it_answers_as_the_network(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    case = CASES[name]
    data = {"class_names": ["a", "b", "c"], "image_size": case.image_size, "pretrained": False}
    module = case.kind(**data, **case.arguments).eval()
    classifier = TrainedClassifier(module)
    write_onnx(Standalone(classifier).eval(), tmp_path / "model.onnx")
    images = smooth_images(case.image_size + 9, case.image_size + 30, 3)
    expected = classifier.predict(images)[classifier.class_names].to_numpy()
    assert onnx_runner(tmp_path / "model.onnx")(images) == pytest.approx(expected, abs=2e-3)
    assert np.ptp(expected) > 1e-4
