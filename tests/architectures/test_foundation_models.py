"""Files of blood-cell foundation models, in each layout in which they exist, give the network that they were made from."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

import bcc_lightning as bcc
from bcc_lightning.architectures.backbone import Backbone
from bcc_lightning.architectures.contamination import contamination
from bcc_lightning.errors import UserError

SMALL, GIANT = "vit_small_patch14_dinov2", "vit_giant_patch14_dinov2"
NARROW: dict[str, Any] = {"depth": 2, "embed_dim": 32, "num_heads": 2}
SIDE = 56


def original(name: str, side: int = SIDE) -> Any:
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=0, img_size=side, **NARROW).eval()


def published(network: Any, name: str) -> dict[str, Tensor]:
    """Lay weights out as DINOv2's own code does."""
    state = dict(network.state_dict())
    if name == GIANT:  # SwiGLU has other names there
        state = {key.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3"): value for key, value in state.items()}
    return {**state, "mask_token": torch.zeros(1, NARROW["embed_dim"])}


def write(layout: str, network: Any, name: str, folder: Path) -> Path:
    file = folder / f"weights.{'safetensors' if layout == 'timm' else 'pth'}"
    if layout == "timm":
        save_file({key: value.contiguous() for key, value in network.state_dict().items()}, file)
    elif layout == "dinov2":
        torch.save(published(network, name), file)
    else:
        teacher = {f"backbone.{key}": value for key, value in published(network, name).items()}
        heads = {"dino_head.mlp.0.weight": torch.zeros(4, 4), "ibot_head.last_layer.weight": torch.zeros(4, 4)}
        torch.save({"teacher": {**teacher, **heads}, "student": {}, "iteration": 1}, file)
    return file


@pytest.mark.parametrize("name", [SMALL, GIANT])
@pytest.mark.parametrize("layout", ["dinobloom", "dinov2", "timm"])
def test_each_layout_gives_the_same_features(layout: str, name: str, tmp_path: Path) -> None:
    network = original(name)
    file = write(layout, network, name, tmp_path)
    backbone = Backbone(name, SIDE, weights=str(file), precision="32", **NARROW).eval()
    images = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    mean, std = (torch.tensor(network.pretrained_cfg[part]).view(1, 3, 1, 1) for part in ("mean", "std"))
    with torch.inference_mode():
        torch.testing.assert_close(backbone(images), network((images - mean) / std), rtol=1e-5, atol=1e-5)
    assert str(backbone.origin).startswith(f"{file.name}, sha256 ")


def test_a_position_table_for_another_size_is_resampled_as_timm_does(tmp_path: Path) -> None:
    file = write("dinobloom", original(SMALL), SMALL, tmp_path)
    backbone = Backbone(SMALL, 84, weights=str(file), **NARROW)
    own = timm.create_model(SMALL, num_classes=0, img_size=84, **NARROW)
    expected = timm.models.vision_transformer.checkpoint_filter_fn(published(original(SMALL), SMALL), own)
    torch.testing.assert_close(backbone.network.pos_embed, expected["pos_embed"])
    assert backbone.network.pos_embed.shape[1] == 1 + 6 * 6


def test_weights_of_another_model_of_the_family_are_refused(tmp_path: Path) -> None:
    network = timm.create_model(SMALL, num_classes=0, img_size=SIDE, depth=2, embed_dim=48, num_heads=2)
    with pytest.raises(UserError, match="belong to another architecture"):
        Backbone(SMALL, SIDE, weights=str(write("dinobloom", network, SMALL, tmp_path)), **NARROW)


@pytest.mark.parametrize("content", ["half", "code", "empty", "text"])
def test_files_that_are_no_weights(content: str, tmp_path: Path) -> None:
    file = tmp_path / ("weights.safetensors" if content == "empty" else "weights.pth")
    whole = write("dinobloom", original(SMALL), SMALL, tmp_path / "." if content != "half" else tmp_path).read_bytes()
    if content == "code":
        torch.save({"teacher": {"backbone.x": Path}}, file)
    else:
        file.write_bytes({"half": whole[: len(whole) // 2], "empty": b"", "text": b"<html>"}[content])
    with pytest.raises(UserError, match="cannot be read as a state dict"):
        Backbone(SMALL, SIDE, weights=str(file), **NARROW)


def test_a_file_that_is_not_here_says_where_it_is_published() -> None:
    with pytest.raises(
        UserError,
        match=r"DinoBloom-S.pth does not exist; it is published at https://zenodo.org/records/10908163, SHA-256 c2f7990b",
    ):
        bcc.TransferClassifier(class_names=["a", "b"], image_size=SIDE, backbone=SMALL, weights="DinoBloom-S.pth")


def test_a_size_that_is_no_whole_number_of_patches() -> None:
    with pytest.raises(UserError, match=r"it must be a multiple of 14; use --data.image_size 98"):
        Backbone(SMALL, 96, pretrained=False)


def test_grad_cam_reads_the_tokens_of_the_image() -> None:
    module = bcc.TransferClassifier(class_names=["a", "b"], image_size=SIDE, backbone=SMALL, pretrained=False, variant=NARROW)
    (target,) = module.cam_targets()
    assert (target.side, target.channels, target.prefix_tokens) == (4, 32, 1)
    tokens = torch.arange(17.0).repeat(1, 32, 1).permute(0, 2, 1)
    assert target.as_nchw(tokens)[0, 5].tolist() == (torch.arange(16.0) + 1).view(4, 4).tolist()


@pytest.mark.parametrize(
    ("weights", "data", "named"),
    [
        ("DinoBloom-S.pth, sha256 0", "bccd_crops", "BCCD"),
        ("dinobloom_b.safetensors", "/cells/Raabin-WBC", "Raabin-WBC"),
        ("DinoBloom-L.pth", "/data/segmentation_wbc/Dataset1", "segmentation_wbc"),
        ("DinoBloom-S.pth", "/cells/pbc", None),
        ("timm/vit_small_patch14_dinov2.lvd142m", "bccd_crops", None),
    ],
)
def test_sets_that_weights_were_trained_on(weights: str, data: str, named: str | None) -> None:
    found = contamination([weights], ["own", data])
    assert [named in sentence for sentence in found] == ([True] if named else [])
