"""What users of a served network are told of it."""

from pathlib import Path

import pytest

from bcc_lightning.deployment.model_facts import described, model_facts
from bcc_lightning.tracking.run_files import Summary
from bcc_lightning.tracking.trained_networks import TrainedNetwork
from tests.deployment.serving import classifier

DATA = {
    "data.name": "CellFolder",
    "data.sha256": "ab" * 32,
    "data.resolution": "96 shrunk to 32",
    "data.cells": "8 train, 4 test",
}
CONFIG = {"data": {"class_path": "CellFolder", "init_args": {"root": "/home/somebody/private/pbc"}}}
METRICS = {
    **{"test/accuracy": 0.98, "test/most_frequent": 0.2, "test/ece": 0.04},
    **{"test_on/ward 7/accuracy": 0.4, "test_on/ward 7/most_frequent": 0.59, "test_on/validation/accuracy": 0.9},
}


def summary(**changes: object) -> Summary:
    intervals = {"test/accuracy": (0.97, 0.99)}
    return Summary("0123456789abcdef", "house", **{"metrics": METRICS, "intervals": intervals, "data": DATA, **changes})  # type: ignore[arg-type]


def facts_of(found: Summary | None) -> tuple[dict[str, object], str]:
    one = classifier()
    one.network = TrainedNetwork("0123", "house (01234567)", Path("best.ckpt"), CONFIG, found)
    return model_facts(one), described(one)


def test_a_run_is_described_with_its_figures_beside_the_most_frequent_class() -> None:
    facts, line = facts_of(summary())
    assert facts["figures"] == {
        **{"accuracy": 0.98, "interval": [0.97, 0.99], "most_frequent": 0.2, "calibration_error": 0.04},
        "elsewhere": [{"name": "ward 7", "accuracy": 0.4, "most_frequent": 0.59}],
    }
    assert (facts["run_id"], facts["experiment"], facts["classes"]) == ("0123456789abcdef", "house", ["red", "green", "blue"])
    data = facts["data"]
    assert isinstance(data, dict)
    assert (data["sha256"], data["cells"]) == ("ab" * 32, "8 train, 4 test")
    assert "private" not in str(facts)  # paths of this machine are not for clients
    assert line == ("house (01234567): test accuracy 98.0 % (95 % 97.0 to 99.0), always answering the most frequent class 20.0 %")


def test_what_is_not_known_is_said() -> None:
    facts, line = facts_of(None)
    assert facts["data"] is facts["figures"] is facts["run_id"] is None
    assert "Nothing is known of its training" in str(facts["limitations"])
    assert line == "house (01234567): its accuracy is not known"
    facts, _ = facts_of(summary(metrics={"test_on/validation/accuracy": 0.9}))
    assert facts["figures"] is None
    assert "It was not evaluated on a test set" in str(facts["limitations"])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "says nothing about cells of another laboratory"),
        ({"folds": [{"run_id": "1"}]}, "their vote was not tested"),
        ({"warnings": ["it answers a single class"]}, "it answers a single class"),
        ({"notes": ["few cells of basophil"]}, "few cells of basophil"),
    ],
)
def test_limitations(changes: dict[str, object], sentence: str) -> None:
    facts, _ = facts_of(summary(**changes))
    assert sentence in " ".join(facts["limitations"])  # type: ignore[arg-type]
    assert "not for diagnosis" in str(facts["intended_use"])
