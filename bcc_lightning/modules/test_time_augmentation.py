"""Test-time augmentation: a cell has no top and no left side, so predictions are averaged over positions of its image."""

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from bcc_lightning.argument_types import check_choice
from bcc_lightning.transforms.square import lay

TestTime = Literal["none", "flips", "dihedral", "zooms"]

EIGHT = (0, 4, 1, 7, 2, 6, 3, 5)

WAYS: dict[TestTime, tuple[int, ...]] = {"none": (0,), "flips": (0, 4, 2, 6), "dihedral": EIGHT, "zooms": EIGHT}
"""Ways in which each choice lays an image, see `lay`: each turn, followed by its mirror image.

These sets of ways are groups, so a mirrored or turned image gives the same mean.
"""

ZOOMS = (0.8, 1.0, 1.25)
"""Factors by which ``zooms`` enlarges an image."""

VIEWS: dict[TestTime, tuple[tuple[float, int], ...]] = {
    name: tuple((zoom, way) for zoom in (ZOOMS if name == "zooms" else (1.0,)) for way in ways) for name, ways in WAYS.items()
}
"""Zooms and ways of each choice."""


def views(images: Tensor, test_time: TestTime) -> Iterator[Tensor]:
    """Yield the views of images; pixels are interpolated by zooms alone.

    Args:
        images: (B, 3, S, S).
        test_time: ``flips`` yields the image, its mirror images and the half turn, ``dihedral`` all four quarter turns and
            their mirror images, ``zooms`` these at three magnifications.
    """
    check_choice("model.test_time", test_time, TestTime)
    shown = {zoom: images if zoom == 1 else zoomed(images, zoom) for zoom, _ in VIEWS[test_time]}
    for zoom, way in VIEWS[test_time]:
        yield lay(shown[zoom], way)


def zoomed(images: Tensor, zoom: float) -> Tensor:
    """Enlarge images (B, 3, S, S) uint8 about their centres; what enters at the border mirrors what is inside."""
    theta = torch.tensor([[[1 / zoom, 0, 0], [0, 1 / zoom, 0]]], device=images.device).expand(len(images), 2, 3)
    grid = affine_grid(theta, list(images.shape), align_corners=False)
    moved = grid_sample(images.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return moved.round().clamp(0, 255).to(torch.uint8)


def mean_log_probability(classify: Callable[[Tensor], Tensor], images: Tensor, test_time: TestTime) -> Tensor:
    """Average the probabilities of all views.

    Args:
        classify: images to logits (B, C).
        images: (B, 3, S, S).
        test_time: see `views`.

    Returns:
        (B, C) float32, logarithms of the mean probabilities, whose softmax is the mean; with ``none`` the logits.
    """
    check_choice("model.test_time", test_time, TestTime)
    if test_time == "none":
        return classify(images)
    # A flip of the image changes the order of the views. In double precision this does not change the result.
    mean = sum(classify(view).softmax(dim=1).double() for view in views(images, test_time)) / len(VIEWS[test_time])
    assert isinstance(mean, Tensor)  # noqa: S101 - tells the type checker that there was a view
    return mean.clamp_min(torch.finfo(torch.float32).tiny).log().float()


def describe_views(test_time: TestTime) -> str | None:
    """Describe how the test cells were evaluated, or return None where each was evaluated in one position only."""
    check_choice("model.test_time", test_time, TestTime)
    return None if test_time == "none" else f"{test_time}, {len(VIEWS[test_time])} views"
