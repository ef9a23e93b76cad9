"""Heads: the layers of each source, in its order; what is refused; what a checkpoint holds."""

from typing import Any

import pytest
import torch
from torch import nn

from bcc_lightning.architectures.head import ClassifierHead, Head, as_head, head_arguments
from bcc_lightning.errors import UserError


def layers(head: Head, features: int = 1280, classes: int = 8) -> list[str]:
    """Name the layers that features pass through."""
    leaves = (m for m in ClassifierHead(head, features, classes).modules() if not list(m.children()))
    return [type(m).__name__ for m in leaves if not isinstance(m, nn.Identity | nn.Sequential)]


def parameters(head: Head, features: int, classes: int, side: int = 1) -> int:
    return sum(p.numel() for p in ClassifierHead(head, features, classes, side).parameters())


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (Head(), ["Linear"]),
        # BloodCellCNN: batch normalisation, pooling, dropout, dense
        (
            Head(batch_norm="before", pooling="avg", dropout=0.3),
            ["BatchNorm2d", "AdaptiveAvgPool2d", "Flatten", "Dropout", "Linear"],
        ),
        # Decoding Cellular Complexity
        (Head(pooling="avg", hidden=[512]), ["AdaptiveAvgPool2d", "Flatten", "Linear", "ReLU", "Linear"]),
        (
            Head(pooling="avg", hidden=[1024], dropout=0.5),
            ["AdaptiveAvgPool2d", "Flatten", "Linear", "ReLU", "Dropout", "Linear"],
        ),
        (Head(input_dropout=0.5, hidden=[512], dropout=0.5), ["Dropout", "Linear", "ReLU", "Dropout", "Linear"]),
        # WBC CNN vs MobileNetV2
        (
            Head(pooling="avg", hidden=[16], batch_norm="after"),
            ["AdaptiveAvgPool2d", "Flatten", "Linear", "ReLU", "BatchNorm1d", "Linear"],
        ),
    ],
)
def test_layers_of_the_sources_heads(head: Head, expected: list[str]) -> None:
    assert layers(head) == expected


@pytest.mark.parametrize(
    ("head", "features", "classes", "expected"),
    [
        (Head(pooling="avg", hidden=[16], batch_norm="after"), 1280, 5, 1280 * 16 + 16 + 2 * 16 + 16 * 5 + 5),  # 20,613
        (Head(pooling="avg", hidden=[512]), 2048, 8, 2048 * 512 + 512 + 512 * 8 + 8),
        (Head(batch_norm="before", pooling="avg", dropout=0.3), 1536, 8, 2 * 1536 + 1536 * 8 + 8),
        (Head(pooling="flatten", hidden=[4]), 3, 2, 3 * 49 * 4 + 4 + 4 * 2 + 2),
    ],
)
def test_parameters(head: Head, features: int, classes: int, expected: int) -> None:
    assert parameters(head, features, classes, side=7) == expected


def test_without_classes_the_last_layers_inputs_come_out() -> None:
    head = ClassifierHead(Head(hidden=[6, 5]), 4, 0)
    assert head.num_features == 5
    assert head(torch.zeros(2, 4)).shape == (2, 5)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"dropout": 1.0}, "head.dropout is 1.0"),
        ({"input_dropout": -0.1}, "head.input_dropout is -0.1"),
        ({"hidden": [512, 0]}, "head.hidden"),
        ({"batch_norm": "after"}, "--model.head.hidden"),
    ],
)
def test_impossible_heads_are_refused(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        Head(**arguments)


def test_a_head_survives_as_a_plain_dict() -> None:
    head = Head(pooling="avg", hidden=[512, 64], dropout=0.25)
    plain = head_arguments(head)
    assert type(plain) is dict
    assert as_head(plain) == head
    assert head_arguments(plain) == plain
