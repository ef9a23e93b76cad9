"""A run in words: what its figures stand for."""

import pytest

from bcc_lightning.tracking.checklist import items
from bcc_lightning.tracking.description import Description
from bcc_lightning.tracking.run_files import Summary

SEVERAL = {"data.name": "Mixed", "data.laboratories": "north (70 training, 10 validation), south (18 test)"}


@pytest.mark.parametrize(
    ("data", "left_out", "sentence"),
    [
        ({"data.name": "PBC"}, None, "All cells come from the source of the training cells."),
        (SEVERAL, None, "All cells come from the laboratories of the training cells."),
        (SEVERAL, "south", "The test cells come from south, a laboratory whose cells were not used for training."),
    ],
)
def test_limits_say_whether_another_laboratory_was_tested(data: dict[str, str], left_out: str | None, sentence: str) -> None:
    run = Description(Summary("0" * 32, "traveller", data=data, grouped=False), {"data": {"init_args": {"leave_out": left_out}}})
    limits = " ".join(run.limits)
    assert limits.startswith(sentence)
    # Cells of one smear cannot be both in the training set and in the test set of another laboratory.
    assert ("cells of one smear may be in both" in limits) == (left_out is None)
    assert ("has not been measured" in limits) == (left_out is None)


def test_a_laboratory_that_was_left_out_is_the_external_test_of_the_checklist() -> None:
    summary = Summary("0" * 32, "traveller", classes=["a", "b"], confusion=[[3, 1], [0, 4]], tested_on="test", data=SEVERAL)
    summary.metrics |= {"test/accuracy": 7 / 8, "test/most_frequent": 1 / 2}
    summary.intervals["test/accuracy"] = (0.5, 1.0)
    left_out, joined = (Description(summary, {"data": {"init_args": {"leave_out": name}}}) for name in ("south", None))
    (external,) = (item for item in items(left_out) if item.number == 33)
    assert external.facts.startswith("The test set is from south, a laboratory not used for training: accuracy 88 %")
    assert external.is_filled
    assert not any(item.is_filled for item in items(joined) if item.number == 33)
