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
from bcc_lightning.explain.maps import grad_cam, stretch
from bcc_lightning.modules import CellClassifier, EfficientSwin, TransferClassifier

SIZE, BLOB = 64, 16
PLACES = [(top, left) for top in range(0, SIZE, BLOB) for left in range(0, SIZE, BLOB)]


def build(name: str) -> CellClassifier:
    torch.manual_seed(0)
    arguments: dict[str, Any] = {"class_names": ["empty", "blob"], "image_size": SIZE, "pretrained": False, "precision": "32"}
    module = EfficientSwin(**arguments) if name == "hybrid" else TransferClassifier(backbone=name, **arguments)
    return module.eval()


def planted(seed: int) -> Tensor:
    """Draw one pale noisy image per place, with a dark blob there and masked elsewhere: (16, 3, SIZE, SIZE)."""
    rng = np.random.default_rng(seed)
    images = np.full((len(PLACES), SIZE, SIZE, 3), 0.85, np.float32)
    for image, (top, left) in zip(images, PLACES, strict=True):
        image[top : top + BLOB, left : left + BLOB] = np.array([0.3, 0.15, 0.45]) + rng.normal(0, 0.05, (BLOB, BLOB, 3))
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


class PatchReader(nn.Module):
    """Reads each target layer at one place through a filter; the answer depends on nothing else."""

    def __init__(self, network: nn.Module, targets: list[CamTarget], filters: list[Tensor]) -> None:
        super().__init__()
        self.network, self.targets, self.filters = network, targets, filters
        self.places: list[tuple[int, int]] = []

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
        read = [patch_mean(a, self.places) @ f for a, f in zip(self.activations(images), self.filters, strict=True)]
        return torch.stack([torch.zeros(len(images)), torch.stack(read).sum(dim=0)], dim=1)


def patch_mean(maps: Tensor, places: list[tuple[int, int]]) -> Tensor:
    """Average each map (N, C, H, W) over the cells of its patch: (N, C)."""
    cells = maps.shape[-1] * BLOB // SIZE
    corners = [(top * maps.shape[-1] // SIZE, left * maps.shape[-1] // SIZE) for top, left in places]
    return torch.stack([m[:, y : y + cells, x : x + cells].mean(dim=(1, 2)) for m, (y, x) in zip(maps, corners, strict=True)])


def cell_filters(network: nn.Module, targets: list[CamTarget]) -> list[Tensor]:
    """Fit, on other noise, a linear filter that tells the blob's cell from the other cells of its image (ridge regression)."""
    with torch.no_grad():
        maps = PatchReader(network, targets, []).activations(torch.cat([planted(seed) for seed in (1, 3, 4)]))
    filters = []
    for values, target in zip(maps, targets, strict=True):
        cells = values.permute(0, 2, 3, 1).reshape(-1, target.channels).double()
        is_blob = torch.stack([torch.kron(place, torch.ones(target.side // 4, target.side // 4)) for place in one_hot_places()])
        is_blob = is_blob.repeat(3, 1, 1).flatten().double()
        centred = cells - cells.mean(dim=0)
        ridge = 1e-3 * centred.square().mean() * torch.eye(target.channels, dtype=torch.float64)
        filters.append(torch.linalg.solve(centred.T @ centred / len(cells) + ridge, centred.T @ is_blob / len(cells)).float())
    return filters


def one_hot_places() -> Tensor:
    """Mark each place on a 4x4 grid: (16, 4, 4)."""
    return torch.eye(len(PLACES)).view(len(PLACES), 4, 4)


def inside(maps: np.ndarray[Any, Any]) -> int:
    """Count maps whose maximum lies inside the blob."""
    peaks = [np.unravel_index(m.argmax(), m.shape) for m in maps]
    return sum(top <= y < top + BLOB and left <= x < left + BLOB for (y, x), (top, left) in zip(peaks, PLACES, strict=True))


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "efficientnet_b0", "hybrid"])
def test_maximum_lies_inside_the_only_patch_that_counts(name: str) -> None:
    module = build(name)
    targets = module.cam_targets()
    reader = PatchReader(module.network, targets, cell_filters(module.network, targets))
    reader.places = PLACES
    blob = torch.ones(len(PLACES), dtype=torch.int64)
    maps = [grad_cam(reader, target, planted(seed=2), blob) for target in targets]
    for target, values in zip(targets, maps, strict=True):
        assert inside(values) == len(PLACES), target.name
    assert inside(stretch(np.mean(maps, axis=0))) == len(PLACES)


def test_a_transposed_activation_is_found_out() -> None:
    module = build("swin_tiny_patch4_window7_224")
    (right,) = module.cam_targets()
    reader = PatchReader(module.network, [right], cell_filters(module.network, [right]))
    reader.places = PLACES

    class Transposed(CamTarget):
        def as_nchw(self, activation: Tensor) -> Tensor:
            return super().as_nchw(activation).transpose(2, 3)

    wrong = Transposed(right.name, right.layer, right.channels, right.side, right.channels_last)
    assert inside(grad_cam(reader, wrong, planted(seed=2), torch.ones(16, dtype=torch.int64))) == 4  # those on the diagonal
