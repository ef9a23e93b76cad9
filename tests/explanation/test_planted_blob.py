"""The planted blob: where only a known patch decides, the map must have its maximum inside that patch.

The classifier is built, not trained: every pixel outside the patch is masked, and the logit reads the declared layer at the patch
alone, through a linear filter. A transposed, shuffled or wrongly reshaped activation moves the maximum elsewhere.
"""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bcc_lightning.architectures.cam_target import CamTarget
from bcc_lightning.architectures.head import AVERAGE, LINEAR
from bcc_lightning.explanation.methods import grad_cam, stretch
from bcc_lightning.modules import (
    CellClassifier,
    EfficientSwin,
    InceptionXception,
    PlainCNN,
    SupConClassifier,
    TransferClassifier,
    UNetClassifier,
)

SIDE = 4
"""Places a side."""

PLACES = [(row, column) for row in range(SIDE) for column in range(SIDE)]

OWN: dict[str, type[CellClassifier]] = {
    "hybrid": EfficientSwin,
    "InceptionXception": InceptionXception,
    "PlainCNN": PlainCNN,
    "UNet": UNetClassifier,
    "SupCon": SupConClassifier,
}
SIZES = {"inception_v3": 96, "InceptionXception": 96, "UNet": 32}
"""Sides in pixels where 64 will not do: Inception takes 75 and more, and the map of the U-Net is as wide as the image."""


def build(name: str) -> CellClassifier:
    torch.manual_seed(0)
    size = SIZES.get(name, 64)
    arguments: dict[str, Any] = {"class_names": ["empty", "blob"], "image_size": size, "pretrained": False, "precision": "32"}
    head = AVERAGE if name.startswith("vgg") else LINEAR  # without the wide layers, which cost seconds and change no map
    module = OWN[name](**arguments) if name in OWN else TransferClassifier(backbone=name, head=head, **arguments)
    return module.eval()


def planted(seed: int, size: int = 64) -> Tensor:
    """Draw one pale noisy image per place, with a dark blob there and masked elsewhere: (16, 3, size, size)."""
    rng = np.random.default_rng(seed)
    blob = size // SIDE
    images = np.full((len(PLACES), size, size, 3), 0.85, np.float32)
    for image, (row, column) in zip(images, PLACES, strict=True):
        rows, columns = (slice(place * blob, (place + 1) * blob) for place in (row, column))
        image[rows, columns] = np.array([0.3, 0.15, 0.45]) + rng.normal(0, 0.05, (blob, blob, 3))
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def blob_cells(side: int) -> Tensor:
    """Mark, for each place, the cells of a map whose centres lie inside its blob: (16, side, side) bool."""
    place = ((torch.arange(side) + 0.5) * SIDE / side).long()
    return torch.stack([(place == row)[:, None] & (place == column)[None, :] for row, column in PLACES])


class PatchReader(nn.Module):
    """Reads each target layer at one place through a filter; the answer depends on nothing else."""

    def __init__(self, network: nn.Module, targets: list[CamTarget], filters: list[Tensor]) -> None:
        super().__init__()
        self.network, self.targets, self.filters = network, targets, filters

    def activations(self, images: Tensor) -> list[Tensor]:
        seen: dict[str, Tensor] = {}
        hooks = [
            t.layer.register_forward_hook(lambda _m, _i, out, t=t: seen.update({t.name: t.as_nchw(out)})) for t in self.targets
        ]
        self.network(images)
        for hook in hooks:
            hook.remove()
        return [seen[target.name] for target in self.targets]

    def forward(self, images: Tensor) -> Tensor:
        read = [patch_mean(a) @ f for a, f in zip(self.activations(images), self.filters, strict=True)]
        return torch.stack([torch.zeros(len(images)), torch.stack(read).sum(dim=0)], dim=1)


def patch_mean(maps: Tensor) -> Tensor:
    """Average each map (16, C, H, W) over the cells of its patch: (16, C)."""
    inside_blob = blob_cells(maps.shape[-1]).unsqueeze(1).float()
    return (maps * inside_blob).sum(dim=(2, 3)) / inside_blob.sum(dim=(2, 3))


def cell_filters(network: nn.Module, targets: list[CamTarget], size: int = 64) -> list[Tensor]:
    """Fit, on other noise, a linear filter that tells the blob's cell from the other cells of its image (ridge regression)."""
    reader = PatchReader(network, targets, [])
    with torch.no_grad():
        seen = [reader.activations(planted(seed, size)) for seed in (1, 3, 4)]
    return [fit_filter(torch.cat(maps)) for maps in zip(*seen, strict=True)]


def fit_filter(maps: Tensor) -> Tensor:
    """Fit one layer's filter: (48, C, H, W) to (C,)."""
    channels, side = maps.shape[1:3]
    cells = maps.permute(0, 2, 3, 1).reshape(-1, channels).double()
    is_blob = blob_cells(side).repeat(3, 1, 1).flatten().double()
    seen = cells.abs().sum(dim=1) > 0  # cells that a network without padding has lost are filled with zeros
    cells, is_blob = cells[seen], is_blob[seen]
    centred = cells - cells.mean(dim=0)
    ridge = 1e-3 * centred.square().mean() * torch.eye(channels, dtype=torch.float64)
    return torch.linalg.solve(centred.T @ centred / len(cells) + ridge, centred.T @ is_blob / len(cells)).float()


def inside(maps: np.ndarray[Any, Any]) -> int:
    """Count maps whose maximum lies inside the blob."""
    peaks = [np.unravel_index(m.argmax(), m.shape) for m in maps]
    blob = maps.shape[-1] // SIDE
    return sum((y // blob, x // blob) == place for (y, x), place in zip(peaks, PLACES, strict=True))


@pytest.mark.parametrize(
    "name",
    [
        "swin_tiny_patch4_window7_224",
        "efficientnet_b0",
        "tf_efficientnetv2_b2",
        "resnet18",
        "resnetv2_50",
        "mobilenetv2_100",
        "vgg11",
        "densenet121",
        "inception_v3",
        "legacy_xception",
        *OWN,
    ],
)
def test_maximum_lies_inside_the_only_patch_that_counts(name: str) -> None:
    module = build(name)
    targets = module.cam_targets()
    reader = PatchReader(module.network, targets, cell_filters(module.network, targets, module.image_size))
    blob = torch.ones(len(PLACES), dtype=torch.int64)
    maps = [grad_cam(reader, target, planted(2, module.image_size), blob) for target in targets]
    for target, values in zip(targets, maps, strict=True):
        assert inside(values) == len(PLACES), target.name
    assert inside(stretch(np.mean(maps, axis=0))) == len(PLACES)


def test_a_transposed_activation_is_found_out() -> None:
    module = build("swin_tiny_patch4_window7_224")
    (right,) = module.cam_targets()
    reader = PatchReader(module.network, [right], cell_filters(module.network, [right]))

    class Transposed(CamTarget):
        def as_nchw(self, activation: Tensor) -> Tensor:
            return super().as_nchw(activation).transpose(2, 3)

    wrong = Transposed(right.name, right.layer, right.channels, right.side, right.channels_last)
    assert inside(grad_cam(reader, wrong, planted(seed=2), torch.ones(16, dtype=torch.int64))) == 4  # those on the diagonal
