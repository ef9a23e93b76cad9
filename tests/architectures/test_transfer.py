"""Every backbone of the sources with its head: parameters, input statistics, smallest image, map, freezing."""

from typing import Any

import pytest
import timm
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.transforms.v2.functional import normalize

from bcc_lightning.architectures.backbone import Backbone
from bcc_lightning.architectures.blocks import freeze, hold_statistics
from bcc_lightning.architectures.head import AVERAGE, Head
from bcc_lightning.architectures.image_input import smallest_input
from bcc_lightning.architectures.transfer import TransferNet
from bcc_lightning.errors import UserError

# Without a classifier and without running statistics, from timm's or Keras' published totals:
# VGG16 138,357,544 less its three wide layers; Keras' Inception-v3 21,802,784 and Xception 20,861,480 less 17,216 and 54,528
# running statistics; ResNet-50 25,557,032, DenseNet-201 20,013,928, DenseNet-121 7,978,856 and MobileNetV2 3,504,872 less 1000
# classes of 2048, 1920, 1024 and 1280 features; EfficientNets and EfficientNetV2s likewise.
PARAMETERS = {
    "vgg16": 14_714_688,
    "resnet50": 25_557_032 - 2_049_000,
    "resnet18": 11_689_512 - 513_000,
    "densenet201": 20_013_928 - 1_921_000,
    "densenet121": 7_978_856 - 1_025_000,
    "mobilenetv2_100": 3_504_872 - 1_281_000,
    "inception_v3": 21_802_784 - 17_216,
    "legacy_xception": 20_861_480 - 54_528,
    "efficientnet_b0": 5_288_548 - 1_281_000,
    "efficientnet_b1": 7_794_184 - 1_281_000,
    "efficientnet_b2": 9_109_994 - 1_409_000,
    "efficientnet_b3": 12_233_232 - 1_537_000,
    "tf_efficientnetv2_b2": 10_096_086 - 1_409_000,
    "tf_efficientnetv2_m": 54_139_356 - 1_281_000,
}
HALF = {"inception_v3", "legacy_xception", "tf_efficientnetv2_m", "efficientnet_b1"}
"""Backbones whose weights were trained on pixels in [-1, 1] and not with ImageNet's statistics."""


def build(name: str, image_size: int, **arguments: Any) -> Backbone:
    torch.manual_seed(0)
    return Backbone(name, image_size, pretrained=False, precision="32", **arguments).eval()


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("name", "expected"), PARAMETERS.items())
def test_parameters_of_unpooled_backbones(name: str, expected: int) -> None:
    with torch.device("meta"):
        assert count_parameters(Backbone(name, 96, pretrained=False, pooled=False)) == expected


@pytest.mark.parametrize("name", PARAMETERS)
def test_input_statistics_are_timms(name: str) -> None:
    """Torchvision's normalisation with the figures of timm's own `default_cfg`; pixels come as RGB in [0, 1]."""
    cfg = timm.get_pretrained_cfg(name)
    assert cfg is not None
    with torch.device("meta"):
        given = Backbone(name, 96, pretrained=False).normalise
    assert given.order == "rgb"
    assert (tuple(cfg.mean) == (0.5, 0.5, 0.5)) == (name in HALF)
    images = torch.rand(2, 3, 96, 96)
    fresh = type(given)(tuple(cfg.mean), tuple(cfg.std))  # type: ignore[arg-type]
    torch.testing.assert_close(fresh(images), normalize(images, list(cfg.mean), list(cfg.std)))


@pytest.mark.parametrize("name", [n for n in PARAMETERS if n != "tf_efficientnetv2_m"])
def test_the_smallest_image_gives_a_map_and_less_is_refused(name: str) -> None:
    size = smallest_input(name)
    with torch.no_grad():
        features = build(name, size, pooled=False)(torch.rand(2, 3, size, size))
    assert features.shape[0] == 2
    assert min(features.shape[2:]) >= 1
    with pytest.raises(UserError, match=rf"image_size {size - 1} is too small for {name}.*--data.image_size {size}"):
        build(name, size - 1)


@pytest.mark.parametrize("name", ["vgg16", "resnet18", "densenet121", "mobilenetv2_100", "legacy_xception", "efficientnet_b0"])
def test_the_heads_mean_is_timms_own_pooling(name: str) -> None:
    """For VGG16 timm's wide layers stand between; the mean of its last map is Keras' GlobalAveragePooling2D."""
    images = torch.rand(2, 3, 64, 64)
    maps = build(name, 64, pooled=False)
    reference = build(name, 64)
    with torch.no_grad():
        pooled = AVERAGE_POOL(maps(images))
        expected = AVERAGE_POOL(reference.network.forward_features(reference.normalise(images)))
        if name != "vgg16":
            torch.testing.assert_close(expected, reference(images))
    assert maps.num_features == pooled.shape[1]
    torch.testing.assert_close(pooled, expected)


AVERAGE_POOL = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_swins_map_is_turned_for_the_head() -> None:
    """Swin's maps lie as (B, H, W, C)."""
    name = "swin_tiny_patch4_window7_224"
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        maps = build(name, 64, pooled=False)(images)
        torch.testing.assert_close(maps.mean(dim=(2, 3)), build(name, 64)(images), rtol=1e-4, atol=1e-5)


def test_tokens_are_no_map() -> None:
    backbone = build("vit_tiny_patch16_224", 224, pooled=False)
    with pytest.raises(UserError, match=r"--model.head.pooling backbone"), torch.no_grad():
        backbone(torch.zeros(1, 3, 224, 224))


def test_raabin_mobilenet_trains_20_6_thousand_of_2_28_million() -> None:
    # trained: 1280 * 16 + 16 and 2 * 16 and 16 * 5 + 5 = 20,613; Keras counts 34,112 + 32 running statistics besides
    head = Head(pooling="avg", hidden=[16], batch_norm="after")
    network = TransferNet(build("mobilenetv2_100", 32, pooled=False), 5, head)
    freeze(network.backbone)
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == 20_613
    statistics = sum(2 * m.num_features for m in network.modules() if isinstance(m, _BatchNorm))
    assert count_parameters(network) + statistics == 2_257_984 + 20_613 + 32


def test_efficientnet_v2_m_has_its_53_16_million() -> None:
    # Keras' 53,150,388 without a top, running statistics included, and 1280 * 8 + 8
    with torch.device("meta"):
        network = TransferNet(Backbone("tf_efficientnetv2_m", 96, pretrained=False, pooled=False), 8, AVERAGE)
    statistics = sum(2 * m.num_features for m in network.modules() if isinstance(m, _BatchNorm))
    assert count_parameters(network) + statistics == 53_150_388 + 10_248


def test_medmnists_resnet18_has_its_11_17_million() -> None:
    # torchvision's 11,689,512, less 1000 classes, less a 7x7 and plus a 3x3 convolution of 3 to 64 channels, plus 8 classes
    network = TransferNet(build("resnet18", 28, small_stem=True), 8)
    assert count_parameters(network) == 11_689_512 - 513_000 - 64 * 3 * (49 - 9) + 512 * 8 + 8 == 11_172_936


def test_a_small_stem_keeps_the_size() -> None:
    """28 pixels reach the first block as 28 places, and the four stages have 28, 14, 7 and 4."""
    backbone = build("resnet18", 28, small_stem=True)
    with torch.no_grad():
        maps = backbone.network.forward_intermediates(torch.zeros(1, 3, 28, 28), intermediates_only=True)
    assert [m.shape[2] for m in maps][-4:] == [28, 14, 7, 4]
    target = backbone.cam_target("resnet18")
    assert (target.side, target.channels) == (7, 256)


def test_a_small_stem_takes_less_and_only_in_resnets() -> None:
    assert build("resnet18", 9, small_stem=True)(torch.zeros(1, 3, 9, 9)).shape == (1, 512)
    with pytest.raises(UserError, match=r"--data.image_size 9"):
        build("resnet18", 8, small_stem=True)
    with pytest.raises(UserError, match="efficientnet_b0 has none"):
        build("efficientnet_b0", 32, small_stem=True)


def test_statistics_of_frozen_layers_stay() -> None:
    torch.manual_seed(1)
    frozen, free = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    network = nn.Sequential(frozen, free).train()
    freeze(frozen)
    hold_statistics(network)
    network(torch.rand(8, 3, 4, 4) + 5)
    assert torch.equal(frozen.running_mean, torch.zeros(3))  # type: ignore[arg-type]
    assert free.running_mean is not None
    assert free.running_mean.abs().max() > 0
