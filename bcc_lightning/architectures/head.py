"""The head between a backbone and the logits: pooling, hidden layers, dropout, one linear layer.

The heads of the sources differ only in these parts, so that one class with typed options covers all.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Literal

from torch import Tensor, nn

from bcc_lightning.argument_types import built_from, check_types
from bcc_lightning.errors import UserError

KERAS_MOMENTUM, KERAS_EPSILON = 0.01, 1e-3
"""Keras' batch normalisation, whose momentum of 0.99 is 0.01 in torch. All sources use Keras here."""

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


@dataclass(frozen=True)
class Head:
    """A classifier head, in the order in which features pass through it.

    Attributes:
        batch_norm: ``before`` normalises the input of the head, before pooling; ``after`` normalises each hidden layer after its
            activation.
        pooling: ``backbone`` leaves pooling to the backbone; ``avg`` averages its last map over all places; ``flatten`` keeps
            every place, so that the size of the first layer depends on the image size.
        input_dropout: share of the pooled features that is dropped, in [0, 1).
        hidden: units of the hidden layers.
        activation: activation of the hidden layers.
        dropout: share of the last layer's inputs that is dropped, in [0, 1).
        norm_momentum: share of each batch in the running statistics; the default is Keras'.
        norm_epsilon: added to the variance; likewise.

    Raises:
        UserError: a dropout is outside [0, 1), a layer has no units, or ``after`` is given without a hidden layer.
    """

    batch_norm: Literal["none", "before", "after"] = "none"
    pooling: Literal["backbone", "avg", "flatten"] = "backbone"
    input_dropout: float = 0.0
    hidden: list[int] = field(default_factory=list)
    activation: Literal["relu", "gelu", "silu", "tanh"] = "relu"
    dropout: float = 0.0
    norm_momentum: float = KERAS_MOMENTUM
    norm_epsilon: float = KERAS_EPSILON

    def __post_init__(self) -> None:
        check_types("model.head", Head, vars(self))
        for name, share in (("input_dropout", self.input_dropout), ("dropout", self.dropout)):
            if not 0 <= share < 1:
                raise UserError(f"--model.head.{name} is {share}, it must be at least 0 and below 1, usually 0.3 to 0.5")
        if any(units < 1 for units in self.hidden):
            raise UserError(f"--model.head.hidden is {self.hidden}, each layer must have 1 unit or more")
        if self.batch_norm == "after" and not self.hidden:
            raise UserError("--model.head.batch_norm after needs a hidden layer; give its units with --model.head.hidden")


LINEAR = Head()
"""One linear layer on the features that the backbone pools."""

AVERAGE = Head(pooling="avg")
"""One linear layer on the mean of the backbone's last map."""


def as_head(head: Head | Mapping[str, Any]) -> Head:
    """Build a head from the entries of a checkpoint or configuration.

    Raises:
        UserError: an entry is unknown or out of range.
    """
    return head if isinstance(head, Head) else built_from(Head, head, "--model.head")


def head_arguments(head: Head | Mapping[str, Any]) -> dict[str, Any]:
    """Return a head as a plain dict: a checkpoint that held the class could not be read without running code."""
    return asdict(as_head(head))


class ClassifierHead(nn.Module):
    """The layers of a `Head`.

    Args:
        head: description of the layers.
        num_features: features of the backbone, or channels of its last map.
        num_classes: number of classes C; 0 leaves out the last linear layer and returns its inputs.
        side: side of the map, needed for ``flatten`` only.
    """

    def __init__(self, head: Head, num_features: int, num_classes: int, side: int = 1) -> None:
        super().__init__()
        self.norm = self._norm(head, num_features) if head.batch_norm == "before" else nn.Identity()
        self.pool = pooling(head)
        widths = [num_features * (side**2 if head.pooling == "flatten" else 1), *head.hidden]
        layers: list[nn.Module] = [nn.Dropout(head.input_dropout)] if head.input_dropout else []
        for inputs, units in pairwise(widths):
            layers += [nn.Linear(inputs, units), ACTIVATIONS[head.activation]()]
            if head.batch_norm == "after":
                layers.append(nn.BatchNorm1d(units, head.norm_epsilon, head.norm_momentum))
        self.hidden = nn.Sequential(*layers, *([nn.Dropout(head.dropout)] if head.dropout else []))
        self.classifier = nn.Linear(widths[-1], num_classes) if num_classes else nn.Identity()
        self.num_features = widths[-1]

    def forward(self, features: Tensor) -> Tensor:
        """Classify features.

        Args:
            features: (B, F) float32, or the map (B, C, H, W) if the head pools.

        Returns:
            Logits (B, num_classes), float32; the inputs of the last layer if there are no classes.
        """
        logits: Tensor = self.classifier(self.hidden(self.pool(self.norm(features))))
        return logits

    @staticmethod
    def _norm(head: Head, num_features: int) -> nn.Module:
        kind = nn.BatchNorm1d if head.pooling == "backbone" else nn.BatchNorm2d
        return kind(num_features, head.norm_epsilon, head.norm_momentum)


def pooling(head: Head) -> nn.Module:
    """Build the pooling of a head: (B, C, H, W) to (B, F), or the identity if the backbone pools."""
    if head.pooling == "avg":
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Flatten() if head.pooling == "flatten" else nn.Identity()
