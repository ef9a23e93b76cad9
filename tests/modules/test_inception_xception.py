"""The hybrid: its size, what its branches start from, what is frozen. Small ResNets stand in for both branches where they can."""

from pathlib import Path
from typing import Any, cast

import pytest
import timm
import torch
from torch import nn

from bcc_lightning.architectures.inception_xception import InceptionXceptionNet
from bcc_lightning.architectures.transfer import TransferNet
from bcc_lightning.errors import UserError
from bcc_lightning.modules import InceptionXception, TransferClassifier
from bcc_lightning.modules.checkpoint import load_classifier

CLASSES = {"class_names": ["a", "b", "c"], "image_size": 32, "pretrained": False, "precision": "32"}
BRANCH_HEAD = {"pooling": "avg", "hidden": [16], "dropout": 0.5}
SMALL = {"inception": "resnet18", "xception": "resnet18", "branch_head": BRANCH_HEAD, "head": {"hidden": [8], "dropout": 0.5}}


def hybrid(**arguments: Any) -> InceptionXception:
    torch.manual_seed(0)
    return InceptionXception(**(CLASSES | SMALL | arguments))


def network_of(module: InceptionXception) -> InceptionXceptionNet:
    return cast(InceptionXceptionNet, module.network)


def trained_branch(file: Path, seed: int, **head: Any) -> TransferClassifier:
    """Write a checkpoint of a branch that was trained by itself."""
    torch.manual_seed(seed)
    module = TransferClassifier(backbone="resnet18", head=cast(Any, BRANCH_HEAD | head), **cast(dict[str, Any], CLASSES)).eval()
    torch.save({"state_dict": module.state_dict()}, file)
    return module


def test_parameters_of_the_published_hybrid() -> None:
    # Inception-v3 21,785,568; Xception 20,806,952; two layers 2048 * 1024 + 1024 = 2,098,176 each
    # joint head 2048 * 512 + 512 and 512 * 8 + 8 = 1,053,192
    with torch.device("meta"):
        module = InceptionXception(class_names=list("abcdefgh"), image_size=75, pretrained=False)
    parts = [sum(p.numel() for p in part.parameters()) for part in module.network.children()]
    assert parts == [21_785_568 + 2_098_176, 20_806_952 + 2_098_176, 1_053_192]
    assert sum(parts) == 47_842_064


def test_inceptions_75_pixels_are_the_hybrids_smallest() -> None:
    with pytest.raises(UserError, match=r"--data.image_size 75"):
        hybrid(inception="inception_v3", xception="legacy_xception", image_size=74)


def test_each_branch_takes_its_checkpoint(tmp_path: Path) -> None:
    """Its features are what stood before the branch's last layer."""
    branches = [trained_branch(tmp_path / f"{name}.ckpt", seed) for seed, name in enumerate(("inception", "xception"), start=1)]
    module = hybrid(inception_weights=str(tmp_path / "inception.ckpt"), xception_weights=str(tmp_path / "xception.ckpt")).eval()
    network, pixels = network_of(module), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        for ours, alone in zip((network.inception, network.xception), branches, strict=True):
            logits = cast(TransferNet, alone.network).head.classifier(ours(pixels))
            torch.testing.assert_close(logits, alone.network(pixels))


def test_a_branch_takes_timms_file(tmp_path: Path) -> None:
    torch.manual_seed(7)
    state = timm.create_model("resnet18", pretrained=False).state_dict()
    torch.save(state, tmp_path / "resnet18.pth")
    network = network_of(hybrid(xception_weights=str(tmp_path / "resnet18.pth")))
    assert torch.equal(network.xception.backbone.network.conv1.weight, state["conv1.weight"])
    assert not torch.equal(network.inception.backbone.network.conv1.weight, state["conv1.weight"])


def test_a_branch_with_another_head_is_refused(tmp_path: Path) -> None:
    trained_branch(tmp_path / "wide.ckpt", 1, hidden=[32])
    with pytest.raises(UserError, match="of another shape"):
        hybrid(inception_weights=str(tmp_path / "wide.ckpt"))


def test_frozen_branches_neither_learn_nor_count() -> None:
    module = hybrid(frozen="branches")
    network = network_of(module)
    statistics = {key: value.clone() for key, value in network.inception.state_dict().items() if "running" in key}
    module(torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)).sum().backward()
    learning = {name for name, p in network.named_parameters() if p.grad is not None}
    assert learning == {f"head.{name}" for name, _ in network.head.named_parameters()}
    for key, before in statistics.items():
        assert torch.equal(network.inception.state_dict()[key], before)
    assert isinstance(network.inception.head.hidden[-1], nn.Dropout)  # goes on dropping, as in the source
    assert network.inception.head.hidden[-1].training


def test_a_checkpoint_is_read_back_without_the_branches_files(tmp_path: Path) -> None:
    trained_branch(tmp_path / "branch.ckpt", 1)
    module = hybrid(inception_weights=str(tmp_path / "branch.ckpt"), frozen="branches").eval()
    checkpoint = {"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams)}
    module.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, tmp_path / "best.ckpt")
    (tmp_path / "branch.ckpt").unlink()
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(load_classifier(tmp_path / "best.ckpt")(images), module(images))
