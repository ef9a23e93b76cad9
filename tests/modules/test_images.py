"""What a network is given from Python: whole numbers from 0 to 255, or an error that says what to do."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bcc_lightning.modules import Ensemble, PlainCNN
from bcc_lightning.modules.base import CellClassifier
from bcc_lightning.modules.checkpoint import describe_classifier

COMMON: dict[str, Any] = {"class_names": ["a", "b"], "image_size": 32}


@pytest.fixture(scope="module", params=["one network", "an ensemble"])
def module(request: pytest.FixtureRequest) -> CellClassifier:
    network = PlainCNN(**COMMON).eval()
    if request.param == "one network":
        return network
    return Ensemble(members=[describe_classifier(network), describe_classifier(PlainCNN(**COMMON))], **COMMON)


@pytest.fixture
def images() -> Tensor:
    return torch.randint(0, 256, (2, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("method", ["__call__", "prepare", "forward_views"])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.int64, torch.int8, torch.bool])
def test_numbers_other_than_uint8(module: CellClassifier, images: Tensor, method: str, kind: torch.dtype) -> None:
    with pytest.raises(TypeError, match=rf"images are {kind}, they must be a torch tensor of uint8 \(B, 3, H, H\)"):
        getattr(module, method)((images / 255).to(kind))


@pytest.mark.parametrize("shape", [(3, 40, 40), (2, 40, 40, 3), (2, 1, 40, 40), (2, 4, 40, 40), (2, 3, 40, 32), (2, 3, 40)])
def test_other_shapes(module: CellClassifier, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"images have the shape \(.*\), it must be \(B, 3, H, H\)"):
        module(torch.zeros(shape, dtype=torch.uint8))


def test_what_is_no_tensor(module: CellClassifier) -> None:
    with pytest.raises(TypeError, match="images are ndarray"):
        module(np.zeros((2, 3, 40, 40), np.uint8))


def test_pixels_are_divided_by_255_once(module: CellClassifier, images: Tensor) -> None:
    pixels = module.prepare(images)
    assert pixels.dtype == torch.float32
    if isinstance(module, Ensemble):  # its members bring images to their own sizes
        torch.testing.assert_close(pixels, torch.from_numpy(images.numpy() / np.float32(255)))
    assert module(images).shape == (2, 2)
    assert module(images[:0]).shape == (0, 2)
