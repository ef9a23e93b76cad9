"""Test-time augmentation: a cell has no up and no left, so all its exact positions are looked at and averaged."""

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor

from bcc_lightning.argument_types import check_choice

TestTime = Literal["none", "flips", "dihedral"]

VIEWS: dict[TestTime, int] = {"none": 1, "flips": 4, "dihedral": 8}
"""How many views each choice has. Both sets are groups, so a flipped or turned image gives the same mean."""


def views(images: Tensor, test_time: TestTime) -> Iterator[Tensor]:
    """Give the views of images: no pixel is interpolated.

    Args:
        images: (B, 3, S, S).
        test_time: ``flips`` gives the image, its mirror images and the half turn, ``dihedral`` all four quarter turns and
            their mirror images.
    """
    check_choice("model.test_time", test_time, TestTime)
    turns = {"none": [0], "flips": [0, 2], "dihedral": [0, 1, 2, 3]}[test_time]
    for turn in turns:
        turned = torch.rot90(images, turn, (2, 3))
        yield turned
        if test_time != "none":
            yield turned.flip(3)


def mean_log_probability(classify: Callable[[Tensor], Tensor], images: Tensor, test_time: TestTime) -> Tensor:
    """Average the probabilities of all views.

    Args:
        classify: images to logits (B, C).
        images: (B, 3, S, S).
        test_time: which views.

    Returns:
        (B, C) float32, logarithms of the mean probabilities, which a softmax turns back; with ``none`` the logits.
    """
    check_choice("model.test_time", test_time, TestTime)
    if test_time == "none":
        return classify(images)
    # In double precision the order of the views, which a flip changes, leaves no trace in the result.
    mean = sum(classify(view).softmax(dim=1).double() for view in views(images, test_time)) / VIEWS[test_time]
    assert isinstance(mean, Tensor)  # noqa: S101 - tells the type checker that there was a view
    return mean.clamp_min(torch.finfo(torch.float32).tiny).log().float()


def describe_views(test_time: TestTime) -> str | None:
    """Say what was done to the test cells, or None where each was looked at once."""
    check_choice("model.test_time", test_time, TestTime)
    return None if test_time == "none" else f"{test_time}, {VIEWS[test_time]} views"
