"""Test-time augmentation: a cell has no top and no left side, so predictions are averaged over positions of its image."""

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor

from bcc_lightning.argument_types import check_choice
from bcc_lightning.transforms.square import lay

TestTime = Literal["none", "flips", "dihedral"]

VIEWS: dict[TestTime, tuple[int, ...]] = {"none": (0,), "flips": (0, 4, 2, 6), "dihedral": (0, 4, 1, 7, 2, 6, 3, 5)}
"""Ways in which each choice lays an image, see `lay`: each turn, followed by its mirror image.

Both sets of ways are groups, so a mirrored or turned image gives the same mean.
"""


def views(images: Tensor, test_time: TestTime) -> Iterator[Tensor]:
    """Yield the views of images; no pixel is interpolated.

    Args:
        images: (B, 3, S, S).
        test_time: ``flips`` yields the image, its mirror images and the half turn, ``dihedral`` all four quarter turns and
            their mirror images.
    """
    check_choice("model.test_time", test_time, TestTime)
    for way in VIEWS[test_time]:
        yield lay(images, way)


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
