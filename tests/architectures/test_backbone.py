"""Backbones: their size, what they are fed with, how they are cut for an image size, and in which precision they run."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import timm
import torch
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity
from torchvision.transforms.v2.functional import normalize

from bcc_lightning.architectures import acceleration
from bcc_lightning.architectures.acceleration import Precision
from bcc_lightning.architectures.backbone import Backbone
from bcc_lightning.architectures.efficient_swin import EfficientSwinNet
from bcc_lightning.architectures.image_input import swin_window
from bcc_lightning.errors import UserError

SWIN = "swin_tiny_patch4_window7_224"
EFFICIENTNET = "efficientnet_b0"
INCEPTION = "inception_v3"

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def build(name: str, image_size: int = 64, precision: Precision = "auto") -> Backbone:
    """Build a backbone with random weights, the same at every call."""
    torch.manual_seed(0)
    return Backbone(name, image_size, pretrained=False, precision=precision).eval()


def noise(count: int, size: int) -> Tensor:
    """Draw images in [0, 1]."""
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))


@contextmanager
def inputs_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what a module receives."""
    received: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, arguments: received.append(arguments[0].detach().clone()))
    yield received
    handle.remove()


def received_by_timm(backbone: Backbone, images: Tensor) -> Tensor:
    """Run a backbone and return what its timm network got."""
    with inputs_of(backbone.network) as received, torch.no_grad():
        backbone(images)
    return received[0]


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_efficient_swin_has_the_parameters_of_its_parts() -> None:
    # Swin-T without its head       27,519,354   28,288,354 of Liu et al. less 768 * 1000 + 1000
    # EfficientNet-B0 without it     4,007,548    5,288,548 of Tan and Le less 1280 * 1000 + 1000
    # linear layer                      16,392   (768 + 1280) * 8 weights + 8 biases
    # together                      31,543,294
    with torch.device("meta"):  # sizes only, no memory
        branches = [Backbone(name, 224, pretrained=False) for name in (SWIN, EFFICIENTNET)]
        network = EfficientSwinNet(*branches, num_classes=8)
    assert [count_parameters(branch) for branch in branches] == [27_519_354, 4_007_548]
    assert count_parameters(network.head) == 2048 * 8 + 8
    assert count_parameters(network) == 31_543_294


@pytest.mark.parametrize("name", [SWIN, EFFICIENTNET, INCEPTION])
def test_each_backbone_normalises_as_its_weights_were_trained(name: str) -> None:
    """Torchvision's normalisation with timm's published figures is the independent answer."""
    cfg = timm.get_pretrained_cfg(name)
    assert cfg is not None
    images = noise(2, 96)
    expected = normalize(images, list(cfg.mean), list(cfg.std))
    torch.testing.assert_close(received_by_timm(build(name, 96), images), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "imagenet"), [(SWIN, True), (EFFICIENTNET, True), (INCEPTION, False)])
def test_only_inception_leaves_imagenets_statistics(name: str, imagenet: bool) -> None:
    """One normalisation for all would pass two of three: Inception was trained with 0.5 and 0.5."""
    images = noise(2, 96)
    with_imagenet = normalize(images, list(IMAGENET_MEAN), list(IMAGENET_STD))
    assert torch.allclose(received_by_timm(build(name, 96), images), with_imagenet, rtol=1e-5, atol=1e-6) == imagenet


def test_mean_and_std_override_the_backbones_own() -> None:
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 0.125)
    backbone = Backbone(EFFICIENTNET, 64, pretrained=False, mean=mean, std=std).eval()
    images = noise(2, 64)
    torch.testing.assert_close(received_by_timm(backbone, images), normalize(images, list(mean), list(std)), rtol=1e-5, atol=1e-6)


def stages_of_swin(image_size: int) -> list[int]:
    """Return the patches a side of the four stages: patches of 4 pixels, halved three times, an odd last one padded."""
    stages = [image_size // 4]
    for _ in range(3):
        stages.append((stages[-1] + 1) // 2)
    return stages


@pytest.mark.parametrize(
    ("image_size", "window"),
    [
        (224, 7),  # 56, 28, 14, 7: all multiples of 7, the published window
        (64, 8),  #  16, 8, 4, 2: 7 does not divide 16; 8 divides 16 and 8, and 4 and 2 lie below it
        (96, 6),  #  24, 12, 6, 3: 7 does not divide 24, 8 does not divide 12; 6 divides 24, 12 and 6
        (32, 8),  #  8, 4, 2, 1: 7 does not divide 8; 8 does
        (28, 7),  #  7, 4, 2, 1: one window of 7, the rest lies below it
    ],
)
def test_swin_window(image_size: int, window: int) -> None:
    assert swin_window(image_size) == window


@pytest.mark.parametrize("image_size", range(32, 385, 32))
def test_swin_window_pads_no_stage(image_size: int) -> None:
    window = swin_window(image_size)
    assert [r for r in stages_of_swin(image_size) if r > window and r % window] == []


@pytest.mark.parametrize("image_size", [28, 40, 64, 96])
def test_timms_swin_pads_no_stage(image_size: int) -> None:
    """The rule is ours, the padding is timm's: each block's real map is a multiple of the window that timm gave it."""
    backbone = build(SWIN, image_size)
    blocks = [module for module in backbone.modules() if isinstance(module, SwinTransformerBlock)]
    remainders = []
    for block in blocks:
        with inputs_of(block) as received, torch.no_grad():
            backbone(noise(1, image_size))
        remainders.append([side % window for side, window in zip(received[0].shape[1:3], block.window_size, strict=True)])
    assert remainders == [[0, 0]] * 12  # Swin-T has 2 + 2 + 6 + 2 blocks


@pytest.mark.parametrize(
    ("name", "image_size", "allowed"),
    [
        (EFFICIENTNET, 27, 28),
        (SWIN, 24, 28),
        (SWIN, 30, 32),  # no multiple of Swin's patch of 4; 30 / 4 = 7.5, which Python rounds to the even 8
        (INCEPTION, 74, 75),  # five unpadded convolutions and poolings: 74 pixels leave 2, too few for the next kernel of 3
    ],
)
def test_image_sizes_that_are_refused(name: str, image_size: int, allowed: int) -> None:
    with pytest.raises(UserError) as refused:
        Backbone(name, image_size, pretrained=False)
    for part in (f"image_size {image_size} ", name, f"--data.image_size {allowed}"):
        assert part in str(refused.value)


@pytest.mark.parametrize(("name", "image_size"), [(EFFICIENTNET, 28), (SWIN, 28), (INCEPTION, 75)])
def test_the_smallest_size_named_is_taken(name: str, image_size: int) -> None:
    """A message must not send to a size that fails next; 28 pixels are BloodMNIST's own."""
    with torch.no_grad():
        features = build(name, image_size)(noise(2, image_size))
    assert features.shape == (2, {SWIN: 768, EFFICIENTNET: 1280, INCEPTION: 2048}[name])
    assert features.isfinite().all()


def dtype_inside(backbone: Backbone) -> torch.dtype:
    """Tell in which type the last linear or convolutional layer of a backbone computes; the features must be float32."""
    layer = [module for module in backbone.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
    dtypes: list[torch.dtype] = []
    handle = layer.register_forward_hook(lambda _module, _arguments, output: dtypes.append(output.dtype))
    with torch.no_grad():
        assert backbone(noise(1, backbone.image_size)).dtype == torch.float32
    handle.remove()
    return dtypes[0]


@pytest.mark.parametrize(
    ("name", "precision", "cpu_has_bf16", "expected"),
    [
        (SWIN, "auto", True, torch.bfloat16),
        (SWIN, "auto", False, torch.float32),  # emulated bfloat16 is slower than float32
        (SWIN, "32", True, torch.float32),
        (EFFICIENTNET, "auto", True, torch.float32),  # depthwise convolutions lose by bfloat16
        (EFFICIENTNET, "bf16", True, torch.bfloat16),
    ],
)
def test_precision(
    name: str, precision: Precision, cpu_has_bf16: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceleration, "cpu_has_bf16", lambda: cpu_has_bf16)
    assert dtype_inside(build(name, precision=precision)) == expected


def test_bfloat16_costs_no_visible_accuracy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bfloat16 keeps 8 bits: single values move by parts in a hundred, the direction of the features does not."""
    monkeypatch.setattr(acceleration, "cpu_has_bf16", lambda: True)
    half, full = build(SWIN), build(SWIN, precision="32")
    torch.manual_seed(2)
    head = nn.Linear(768, 8)
    images = noise(8, 64)
    with torch.no_grad():
        logits, expected = head(half(images)), head(full(images))
    assert not torch.equal(logits, expected)  # else bfloat16 was not in use and nothing was compared
    assert cosine_similarity(logits, expected, dim=1).min() > 0.999


@pytest.mark.parametrize("name", [SWIN, EFFICIENTNET, INCEPTION])
def test_convolutions_lie_in_channels_last(name: str) -> None:
    weights = [module.weight for module in build(name, 96).modules() if isinstance(module, nn.Conv2d)]
    # A 1x1 kernel and a single input channel have both layouts at once; the strides of the others tell.
    telling = [w for w in weights if w.shape[1] > 1 and w.shape[2] > 1]
    assert telling
    for weight in telling:
        _, channels, height, width = weight.shape
        assert weight.stride() == (height * width * channels, 1, width * channels, channels)


def test_images_reach_the_network_in_channels_last() -> None:
    """Weights alone do not choose the layout: mixed layouts are converted in every layer."""
    backbone = build(EFFICIENTNET)
    assert received_by_timm(backbone, noise(2, 64)).is_contiguous(memory_format=torch.channels_last)


def test_a_network_is_compiled_as_one_graph() -> None:
    backbone, images = build("test_efficientnet"), noise(2, 64)
    compiled = torch.compile(backbone, fullgraph=True, backend="eager")  # it fails where the graph would break
    torch.testing.assert_close(compiled(images), backbone(images))


@pytest.mark.parametrize(("name", "patch"), [("deit_tiny_patch16_224", 16), ("eva02_tiny_patch14_224", 14), ("test_vit", 16)])
def test_transformers_take_any_multiple_of_their_patch(name: str, patch: int) -> None:
    backbone = build(name, 3 * patch)
    assert backbone(noise(2, 3 * patch)).shape == (2, backbone.num_features)
    assert backbone.cam_target("map").side == 3


@pytest.mark.parametrize("name", ["pit_ti_224", "xcit_nano_12_p16_224", "levit_128s"])
def test_transformers_of_which_no_map_can_be_drawn_are_refused_before_they_train(name: str) -> None:
    with pytest.raises(UserError, match=f"{name} cannot be used at 224 pixels"):
        build(name, 224)
