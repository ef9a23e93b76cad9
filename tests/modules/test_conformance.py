"""What every classifier promises, over all of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

import bcc_lightning.modules
from bcc_lightning.modules import (
    CellClassifier,
    EfficientSwin,
    Ensemble,
    InceptionXception,
    PlainCNN,
    SupConClassifier,
    TransferClassifier,
    UNetClassifier,
)
from bcc_lightning.modules.checkpoint import describe_classifier
from bcc_lightning.testing import ClassifierTests


def two_that_vote(**arguments: Any) -> Ensemble:
    """Two members of different architectures."""
    members = [PlainCNN(**arguments), UNetClassifier(channels=[4, 8], **arguments)]
    return Ensemble(members=[describe_classifier(member) for member in members], **arguments)


@dataclass(frozen=True)
class Case:
    """A classifier of which a small one stands for all."""

    kind: Callable[..., CellClassifier]
    arguments: dict[str, Any] = field(default_factory=dict)
    max_epochs: int = 1
    trains: bool = True
    image_size: int = 32


SMALL = "test_resnet"
"""timm's network for tests, of 0.5 million parameters."""

CASES = {
    "PlainCNN": Case(PlainCNN),
    "PlainCNN, flattened": Case(
        PlainCNN, {"blocks": cast(Any, {"channels": [4, 8]}), "head": cast(Any, {"pooling": "flatten", "hidden": [6]})}
    ),
    "UNetClassifier": Case(UNetClassifier, {"channels": [4, 8]}),
    "TransferClassifier": Case(TransferClassifier, {"backbone": SMALL}),
    "TransferClassifier, small stem": Case(
        TransferClassifier, {"backbone": "resnet18", "small_stem": True, "input_order": "bgr"}
    ),
    "TransferClassifier, head": Case(
        TransferClassifier, {"backbone": SMALL, "head": cast(Any, {"batch_norm": "before", "pooling": "avg"})}
    ),
    "TransferClassifier, frozen": Case(TransferClassifier, {"backbone": SMALL, "frozen": "backbone"}),
    "SupConClassifier": Case(SupConClassifier, {"backbone": SMALL, "contrastive_epochs": 1}, max_epochs=2),
    "InceptionXception": Case(InceptionXception, {"inception": "resnet18", "xception": "resnet18"}),
    "EfficientSwin": Case(EfficientSwin, {"cnn": "test_efficientnet"}, image_size=64),
    "Ensemble": Case(two_that_vote, trains=False),
}


def test_every_classifier_is_held_to_what_all_promise() -> None:
    assert {name.partition(",")[0] for name in CASES} == set(bcc_lightning.modules.__all__) - {"CellClassifier"}


class TestClassifiers(ClassifierTests):
    """Each architecture."""

    @pytest.fixture(autouse=True, params=CASES.values(), ids=list(CASES))
    def case(self, request: pytest.FixtureRequest) -> None:
        self.one: Case = request.param
        self.image_size, self.max_epochs, self.trains = self.one.image_size, self.one.max_epochs, self.one.trains

    def make(self, **arguments: Any) -> CellClassifier:
        return self.one.kind(**(self.one.arguments | arguments))
