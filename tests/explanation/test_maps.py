"""Maps over the image: right by hand, right for each architecture, each image's own, and harmless to the module."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bcc_lightning.architectures.cam_target import CamTarget
from bcc_lightning.explanation.maps import CHUNK, Explanations, explain_images
from bcc_lightning.explanation.methods import Maps, grad_cam, stretch, vanilla_gradient
from bcc_lightning.modules import CellClassifier, EfficientSwin, TransferClassifier

SWIN = "swin_tiny_patch4_window7_224"
EFFICIENTNET = "efficientnet_b0"
ARCHITECTURES = [SWIN, EFFICIENTNET, "EfficientSwin"]
CLASSES = ["without", "with"]


def build(architecture: str, image_size: int = 64, seed: int = 0) -> CellClassifier:
    """Build a module with random weights, the same for the same seed."""
    torch.manual_seed(seed)
    common: dict[str, Any] = {"class_names": CLASSES, "image_size": image_size, "pretrained": False, "precision": "32"}
    if architecture == "EfficientSwin":
        return EfficientSwin(**common)
    return TransferClassifier(backbone=architecture, **common)


class PlainNet(nn.Module):
    """Convolutions, mean over the map, linear layer: the network of Zhou et al. 2016, whose CAM can be had by hand."""

    def __init__(self, channels_last: bool) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 5, stride=4, padding=2), nn.ReLU(), nn.Conv2d(8, 12, 3, padding=1))
        self.order = Transposed() if channels_last else nn.Identity()
        self.mean_over = (1, 2) if channels_last else (2, 3)
        self.head = nn.Linear(12, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Classify (B, 3, S, S)."""
        logits: Tensor = self.head(self.order(self.features(images)).mean(dim=self.mean_over))
        return logits


class Transposed(nn.Module):
    """(B, C, H, W) to (B, H, W, C), as transformers have it."""

    def forward(self, activation: Tensor) -> Tensor:
        """Change the order."""
        return activation.permute(0, 2, 3, 1)


class Plain(CellClassifier):
    """`PlainNet` as a module."""

    channels_last = False

    def build_network(self) -> nn.Module:
        """Build the network."""
        return PlainNet(self.channels_last)

    def cam_targets(self) -> list[CamTarget]:
        """One map from the last convolution."""
        order = self.network.get_submodule("order")
        return [CamTarget("plain", order, channels=12, side=self.image_size // 4, channels_last=self.channels_last)]


class PlainChannelsLast(Plain):
    """The same, its activation in the order of a transformer."""

    channels_last = True


def plain(kind: type[Plain] = Plain) -> Plain:
    torch.manual_seed(5)
    return kind(class_names=["a", "b", "c"], image_size=32, pretrained=False).eval()


def random_images(count: int, size: int, seed: int = 0) -> Tensor:
    """Draw (N, 3, S, S) uint8 images of soft spots, no two alike."""
    coarse = torch.randint(0, 256, (count, 3, 8, 8), generator=torch.Generator().manual_seed(seed)).float()
    return nn.functional.interpolate(coarse, (size, size), mode="bilinear").to(torch.uint8)


def zeros(count: int) -> Tensor:
    return torch.zeros(count, dtype=torch.long)


def explain(module: CellClassifier, images: Tensor) -> dict[str, Maps]:
    """Explain images and name all their maps, one (N, S, S) per branch, combined and saliency."""
    explanations = explain_images(module, images, zeros(len(images)))
    return {**explanations.branches, "combined": explanations.combined, "saliency": explanations.saliency}


def assert_same_maps(given: dict[str, Maps], expected: dict[str, Maps], rows: slice | list[int] = slice(None)) -> None:
    """Compare maps; sums over batches of another size round differently, stretched maps by parts in a thousand."""
    assert given.keys() == expected.keys()
    for name, maps in given.items():
        np.testing.assert_allclose(maps, expected[name][rows], atol=2e-3, err_msg=name)


# ---- by hand


def cam_by_hand(network: PlainNet, pixels: Tensor, classes: Tensor) -> Maps:
    """Weigh the channels with the class's row of the linear layer (Zhou et al. 2016, equation 2), then draw as grad-cam does.

    The gradient of a logit with respect to each cell of channel k is weight k over the number of cells: Grad-CAM's mean over the
    map gives the same weights up to a factor, which stretching takes away. Negative evidence is cut off.
    """
    with torch.no_grad():
        activation = network.features(pixels)
        cams = torch.einsum("nk,nkhw->nhw", network.head.weight[classes], activation).relu().numpy()
    drawn = [cv2.resize(cam - cam.min(), pixels.shape[-2:], interpolation=cv2.INTER_LINEAR) for cam in cams]
    return np.stack([(cam - cam.min()) / (cam - cam.min()).max() for cam in drawn])


@pytest.mark.parametrize("kind", [Plain, PlainChannelsLast])
def test_grad_cam_is_zhous_cam_where_a_linear_layer_follows_the_mean(kind: type[Plain]) -> None:
    module = plain(kind)
    network = module.network
    assert isinstance(network, PlainNet)
    pixels, classes = torch.rand(6, 3, 32, 32), torch.tensor([0, 1, 2, 0, 1, 2])
    maps = grad_cam(network, module.cam_targets()[0], pixels, classes)
    assert maps.shape == (6, 32, 32)
    np.testing.assert_allclose(maps, cam_by_hand(network, pixels, classes), atol=1e-4)


def test_saliency_is_the_gradient_of_cross_entropy() -> None:
    """With logits W x the gradient is W^T (softmax - one-hot)."""
    torch.manual_seed(1)
    linear = nn.Linear(3 * 8 * 8, 4, bias=False)
    pixels, labels = torch.rand(5, 3, 8, 8), torch.tensor([0, 1, 2, 3, 0])
    with torch.no_grad():
        error = linear(pixels.flatten(1)).softmax(dim=1) - nn.functional.one_hot(labels, 4)
        size = (error @ linear.weight).view(5, 3, 8, 8).abs().amax(dim=1)
    expected = (size / size.amax(dim=(1, 2), keepdim=True)).numpy()
    np.testing.assert_allclose(vanilla_gradient(nn.Sequential(nn.Flatten(), linear), pixels, labels), expected, rtol=1e-4)


def test_stretch() -> None:
    """Each map by its own largest value; nothing divides by zero."""
    maps = np.asarray([[[0, 1], [2, 4]], [[0, 0], [0, 0]], [[10, 5], [0, 0]]], np.float32)
    expected = np.asarray([[[0, 0.25], [0.5, 1]], [[0, 0], [0, 0]], [[1, 0.5], [0, 0]]], np.float32)
    np.testing.assert_array_equal(stretch(maps), expected)


def test_combined_is_the_mean_of_the_branches_stretched_to_one() -> None:
    first = np.asarray([[[1, 0], [0, 0]], [[0, 0], [0, 0]]], np.float32)
    second = np.asarray([[[0.5, 1], [0, 0]], [[0, 0], [0, 0]]], np.float32)
    explanations = Explanations(np.zeros((2, 2, 2, 3), np.float32), {"a": first, "b": second}, first)
    # means 0.75, 0.5, 0, 0; the largest becomes 1
    np.testing.assert_allclose(explanations.combined, [[[1, 2 / 3], [0, 0]], [[0, 0], [0, 0]]], rtol=1e-6)


# ---- the declared activation


@contextmanager
def output_of(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what a layer gives."""
    given: list[Tensor] = []
    handle = layer.register_forward_hook(lambda _module, _arguments, output: given.append(output.detach()))
    yield given
    handle.remove()


@pytest.mark.parametrize(
    ("name", "image_size"),
    [
        *((name, image_size) for name in (SWIN, EFFICIENTNET) for image_size in (28, 32, 64, 96, 224)),
        ("resnet18", 32),
        ("resnet18", 75),  # odd: no stride divides it
        ("inception_v3", 96),  # unpadded convolutions: its maps are smaller than size over stride
        ("inception_v3", 224),
    ],
)
def test_the_declared_activation_is_timms_feature_map(name: str, image_size: int) -> None:
    """Timm's own ``forward_intermediates`` knows each stage's order and gives (B, C, H, W)."""
    module = build(name, image_size).eval()
    (target,) = module.cam_targets()
    backbone: Any = module.network.get_submodule("backbone")
    pixels = torch.rand(2, 3, image_size, image_size)
    with output_of(target.layer) as given, torch.no_grad():
        module.network(pixels)
        maps = backbone.network.forward_intermediates(backbone.normalise(pixels), intermediates_only=True, output_fmt="NCHW")
    whole = target.as_nchw(given[0])
    side, edge = whole.shape[-1] - target.lost, target.lost // 2  # without the cells that are put back
    found = whole[:, :, edge : edge + side, edge : edge + side]
    assert any(m.shape == found.shape and torch.allclose(m, found, atol=1e-4) for m in maps)


def declared(channels_last: bool) -> CamTarget:
    """Declare 12 channels on 4 x 4 cells."""
    return CamTarget("swin", nn.Identity(), channels=12, side=4, channels_last=channels_last)


@pytest.mark.parametrize(
    ("shape", "channels_last"),
    [
        ((2, 16, 12), True),  # (B, N, C): tokens in a row
        ((2, 17, 12), True),  # with a class token
        ((2, 16, 12), False),
        ((2, 12, 16), False),
        ((2, 12, 4, 4), True),  # (B, C, H, W) where (B, H, W, C) was declared
        ((2, 4, 4, 12), False),  # and the other way round
        ((2, 4, 12, 4), True),
        ((2, 4, 12, 4), False),
        ((2, 12, 2, 2), False),  # a deeper stage
        ((2, 4, 4, 24), True),  # a wider one
        ((2, 12), False),
    ],
)
def test_an_activation_of_another_shape_is_refused(shape: tuple[int, ...], channels_last: bool) -> None:
    with pytest.raises(ValueError, match="swin") as refused:
        declared(channels_last).as_nchw(torch.zeros(shape))
    assert str(shape) in str(refused.value)


@pytest.mark.parametrize("channels_last", [False, True])
def test_as_nchw_keeps_each_value_in_its_place(channels_last: bool) -> None:
    """Value 100 c + 10 y + x of channel c, row y, column x; half precision comes out as float32."""
    c, y, x = np.mgrid[0:12, 0:4, 0:4]
    expected = torch.from_numpy(100 * c + 10 * y + x)[None].float()
    given = expected.permute(0, 2, 3, 1) if channels_last else expected
    seen = declared(channels_last).as_nchw(given.to(torch.float64))
    assert seen.dtype == torch.float32
    assert torch.equal(seen, expected)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_wrong_declaration_stops_the_explanation(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read in the wrong order an activation still gives a map of the right size: silence would be the bug."""
    module = build(architecture)
    targets = [replace(target, channels_last=not target.channels_last) for target in module.cam_targets()]
    monkeypatch.setattr(module, "cam_targets", lambda: targets)
    with pytest.raises(ValueError, match="correct the declaration"):
        explain_images(module, random_images(1, 64), zeros(1))


def square_places(size: int) -> list[tuple[int, int]]:
    """List the upper left corners of squares a quarter of the side wide, an eighth of the side apart."""
    starts = range(0, size - size // 4 + 1, size // 8)
    return [(top, left) for top in starts for left in starts]


def change_of(module: CellClassifier, target: CamTarget, size: int) -> Maps:
    """Lay a dark square on a pale image and tell how much each cell of the declared activation changes, for each place."""
    pale = 0.85 + 0.05 * torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(2))
    images = pale.repeat(len(square_places(size)), 1, 1, 1)
    for image, (top, left) in zip(images, square_places(size), strict=True):
        image[:, top : top + size // 4, left : left + size // 4] = torch.tensor([0.3, 0.15, 0.45]).view(3, 1, 1)
    with output_of(target.layer) as given, torch.no_grad():
        module.network(torch.cat([pale, images]))
    activation = target.as_nchw(given[0])
    change = (activation[1:] - activation[:1]).norm(dim=1).numpy()
    return np.stack([cv2.resize(cells, (size, size)) for cells in change])


def share_inside(maps: Maps, places: list[tuple[int, int]], side: int, margin: int) -> float:
    """Return the share of maps whose maximum lies inside the square, enlarged by a margin; chance gives about a quarter."""
    peaks = [np.argwhere(m == m.max()).mean(axis=0) for m in maps]  # at the edge of a map its maximum is a plateau
    offsets = np.array(peaks) - np.array(places)
    return float(np.mean(((offsets >= -margin) & (offsets < side + margin)).all(axis=1)))


@pytest.mark.parametrize("image_size", [28, 32, 64, 96])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_declared_layer_knows_where_the_image_changed(architecture: str, image_size: int) -> None:
    """Even with random weights: what a layer does not know, no map drawn from it can tell, however well it is read.

    Deep layers with few cells fail: a kernel of 5 on a map of 4 mixes all places.
    """
    module = build(architecture, image_size).eval()
    for target in module.cam_targets():
        maps = change_of(module, target, image_size)
        assert share_inside(maps, square_places(image_size), image_size // 4, margin=image_size // 8) >= 0.9, target.name


# ---- each image its own map


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_maps_of_an_image_depend_on_that_image_only(architecture: str) -> None:
    """Explained alone or beside others; the original drew one and the same map into all panels."""
    module = build(architecture)
    images = random_images(3, 64)
    together = explain(module, images)
    for row in range(3):
        assert_same_maps(explain(module, images[row : row + 1]), together, [row])
    for name, maps in together.items():
        distances = [np.abs(maps[i] - maps[j]).max() for i, j in ((0, 1), (0, 2), (1, 2))]
        assert min(distances) > 0.1, name


def test_maps_follow_the_order_of_the_images() -> None:
    """More images than are explained at once, the last chunk incomplete."""
    module = plain()
    images = random_images(2 * CHUNK + 3, 32)
    forwards, backwards = explain(module, images), explain(module, images.flip(0))
    assert_same_maps(backwards, {name: maps[::-1] for name, maps in forwards.items()})
    assert len(forwards["plain"]) == 2 * CHUNK + 3


def test_pixels_are_what_the_network_saw() -> None:
    """A cell of 16 pixels is enlarged to the network's 32; maps come at that size."""
    module = plain()
    images = random_images(2, 16)
    explanations = explain_images(module, images, zeros(2))
    np.testing.assert_allclose(explanations.pixels, module.prepare(images).permute(0, 2, 3, 1).numpy())
    assert explanations.branches["plain"].shape == explanations.saliency.shape == (2, 32, 32)


def test_grad_cam_explains_the_prediction_and_saliency_the_truth() -> None:
    module = plain()
    images = random_images(4, 32)
    with torch.no_grad():
        predicted = module(images).argmax(dim=1)
    pixels = module.prepare(images)
    truth = (predicted + 1) % 3
    explanations = explain_images(module, images, truth)
    np.testing.assert_allclose(
        explanations.branches["plain"], grad_cam(module.network, module.cam_targets()[0], pixels, predicted)
    )
    np.testing.assert_allclose(explanations.saliency, vanilla_gradient(module.network, pixels, truth))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_maps_lie_between_0_and_1(architecture: str) -> None:
    for name, maps in explain(build(architecture), random_images(3, 64)).items():
        assert maps.dtype == np.float32, name
        assert maps.min() >= 0, name
        np.testing.assert_allclose(maps.max(axis=(1, 2)), 1, err_msg=name)


# ---- harmless


def state_of(module: nn.Module) -> dict[str, Any]:
    """Note all that an explanation could disturb."""
    return {
        "training": {name: m.training for name, m in module.named_modules()},
        "requires_grad": {name: p.requires_grad for name, p in module.named_parameters()},
        "gradients": {name: p.grad for name, p in module.named_parameters() if p.grad is not None},
        "hooks": sum(len(m._forward_hooks) + len(m._backward_hooks) for m in module.modules()),
    }


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_module_is_left_as_it_was(architecture: str, training: bool) -> None:
    module = build(architecture).train(training)
    before, values = state_of(module), {key: value.clone() for key, value in module.state_dict().items()}
    explain_images(module, random_images(2, 64), zeros(2))
    assert state_of(module) == before
    for key, value in module.state_dict().items():  # running statistics of batch normalisation are among them
        assert torch.equal(value, values[key]), key


def test_a_part_in_evaluation_mode_stays_in_it() -> None:
    """Fine-tuning freezes the statistics of a backbone by keeping it in evaluation mode while the head trains."""
    module = build(EFFICIENTNET).train()
    module.network.get_submodule("backbone").eval()
    before = state_of(module)
    explain_images(module, random_images(1, 64), zeros(1))
    assert state_of(module) == before


def test_a_module_is_left_as_it_was_when_the_explanation_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    module = build(EFFICIENTNET).train()
    before = state_of(module)
    targets = [replace(target, channels=7) for target in module.cam_targets()]
    monkeypatch.setattr(module, "cam_targets", lambda: targets)
    with pytest.raises(ValueError, match="was declared"):
        explain_images(module, random_images(1, 64), zeros(1))
    assert state_of(module) == before


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_frozen_module_gets_the_same_maps(architecture: str) -> None:
    """Without a gradient on the input nothing would flow, and grad-cam would draw nothing."""
    module = build(architecture)
    images = random_images(2, 64)
    expected = explain(module, images)
    module.requires_grad_(False)
    assert_same_maps(explain(module, images), expected)
    assert not any(parameter.requires_grad for parameter in module.parameters())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_maps_where_the_trainer_has_switched_gradients_off(architecture: str, mode: type[Any]) -> None:
    """Callbacks run inside ``trainer.test``, which wraps all in inference mode; its tensors carry no gradient."""
    module = build(architecture)
    images = random_images(2, 64)
    expected = explain(module, images)
    with mode():
        assert_same_maps(explain(module, images.clone()), expected)
