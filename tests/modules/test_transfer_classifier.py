"""Frozen backbones, their statistics, and wide layers that are left out."""

from pathlib import Path
from typing import Any, cast

import pytest
import timm
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from bcc_lightning.architectures.transfer import TransferNet
from bcc_lightning.errors import UserError
from bcc_lightning.modules import CellClassifier, TransferClassifier


def classifier(backbone: str = "resnet18", **arguments: Any) -> TransferClassifier:
    torch.manual_seed(0)
    data = {"class_names": ["a", "b", "c"], "image_size": 32, "pretrained": False, "precision": "32"}
    return TransferClassifier(backbone=backbone, **(data | arguments))


def images() -> torch.Tensor:
    return torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def statistics(module: CellClassifier) -> torch.Tensor:
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm)]
    return torch.cat([cast(torch.Tensor, m.running_mean) for m in norms])


@pytest.mark.parametrize(("frozen_batch_norm", "moves"), [(True, False), (False, True)])
def test_a_frozen_backbone_learns_nothing_and_its_statistics_move_on_request_only(frozen_batch_norm: bool, moves: bool) -> None:
    module = classifier(frozen="backbone", frozen_batch_norm=frozen_batch_norm)
    before = statistics(module)
    module(images()).sum().backward()
    network = cast(TransferNet, module.network)
    assert all(p.grad is None for p in network.backbone.parameters())
    assert all(p.grad is not None for p in network.head.parameters())
    assert torch.equal(statistics(module), before) != moves


def test_statistics_stay_after_validation_has_changed_the_mode() -> None:
    module = classifier(frozen="backbone")
    before = statistics(module)
    module.eval()
    module.train()
    module(images())
    assert torch.equal(statistics(module), before)
    assert module.training


def test_a_trained_backbone_moves_its_statistics() -> None:
    module = classifier()
    before = statistics(module)
    module(images())
    assert not torch.equal(statistics(module), before)


def test_a_variant_is_the_network_that_timm_makes_of_the_arguments() -> None:
    """ResNet-18 with a 3x3 stem and half the channels, by hand: each convolution without bias, each norm with two weights."""
    narrow = classifier(small_stem=True, variant={"channels": [32, 64, 128, 256]}, class_names=list("abcdefgh"))
    stem = 9 * 3 * 64 + 2 * 64
    stages = [
        9 * before * width + 3 * 9 * width * width + before * width + 5 * 2 * width  # the first block also has a 1x1 shortcut
        for before, width in ((64, 32), (32, 64), (64, 128), (128, 256))
    ]
    assert sum(p.numel() for p in narrow.network.parameters()) == stem + sum(stages) + 256 * 8 + 8 == 2_809_352


def test_a_variant_that_timm_refuses_is_named() -> None:
    with pytest.raises(UserError, match=r"timm cannot build resnet18 with chanels=.*chanels"):
        classifier(variant={"chanels": [32, 64, 128, 256]})


def test_vgg_without_its_wide_layers_takes_timms_file(tmp_path: Path) -> None:
    torch.manual_seed(3)
    with torch.device("meta"):
        keys = timm.create_model("vgg11", pretrained=False).state_dict()
    state = {key: torch.zeros(1).expand(value.shape) for key, value in keys.items()}
    state["features.0.weight"] = torch.randn(64, 3, 3, 3)
    torch.save(state, tmp_path / "vgg11.pth")
    module = classifier("vgg11", head={"pooling": "avg"}, weights=str(tmp_path / "vgg11.pth"))
    network = cast(TransferNet, module.network)
    assert torch.equal(network.backbone.network.features[0].weight, state["features.0.weight"])
