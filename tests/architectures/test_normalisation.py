"""Other normalisation layers: the right kind of layer, the same gains, and statistics that stay."""

import pytest
import timm
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bcc_lightning import TransferClassifier
from bcc_lightning.architectures.normalisation import change_norm
from bcc_lightning.errors import UserError

IMAGES = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18", "mobilenetv2_100", "densenet121"])
def test_each_image_is_normalised_by_itself(name: str) -> None:
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=0)
    before = {key: value.clone() for key, value in network.named_parameters()}
    change_norm(network, "group", name)
    assert not [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
    assert {key: value.shape for key, value in network.named_parameters()} == {key: v.shape for key, v in before.items()}
    assert all(torch.equal(value, before[key]) for key, value in network.named_parameters())
    network.train()
    alone, together = network(IMAGES[:1]), network(IMAGES)
    assert torch.allclose(alone, together[:1], atol=1e-4)


def test_group_normalisation_is_what_torch_computes() -> None:
    network = nn.Sequential(nn.Conv2d(3, 24, 3), nn.BatchNorm2d(24))
    change_norm(network, "group", "two layers")
    features = network[0](IMAGES)
    grouped = features.reshape(4, 3, 8, -1)  # three groups of eight channels
    mean, variance = grouped.mean((2, 3), keepdim=True), grouped.var((2, 3), unbiased=False, keepdim=True)
    expected = ((grouped - mean) / (variance + 1e-5).sqrt()).reshape(features.shape)
    assert torch.allclose(network(IMAGES), expected, atol=1e-5)


def test_frozen_statistics_stay_while_gains_are_trained() -> None:
    module = TransferClassifier(
        class_names=["a", "b"], image_size=64, backbone="resnet18", pretrained=False, norm="frozen"
    ).train()
    layers = [layer for layer in module.network.backbone.modules() if isinstance(layer, _BatchNorm)]  # type: ignore[union-attr]
    before = [layer.running_mean.clone() for layer in layers if layer.running_mean is not None]
    module(torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)).sum().backward()
    assert all(torch.equal(one, layer.running_mean) for one, layer in zip(before, layers, strict=True))  # type: ignore[arg-type]
    assert all(layer.weight.requires_grad and layer.weight.grad is not None for layer in layers)


def test_networks_without_batch_normalisation() -> None:
    vit = {"backbone": "vit_tiny_patch16_224", "variant": {"depth": 1}, "pretrained": False}
    with pytest.raises(UserError, match=r"--model.norm group: vit_tiny_patch16_224 has no batch normalisation"):
        TransferClassifier(class_names=["a", "b"], image_size=32, norm="group", **vit)
