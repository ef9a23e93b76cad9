"""A run in words: what its figures stand for."""

import pytest

from bcc_lightning.tracking.description import Description
from bcc_lightning.tracking.run_files import Summary

SEVERAL = {"data.name": "Mixed", "data.laboratories": "north (70 training, 10 validation), south (18 test)"}


@pytest.mark.parametrize(
    ("data", "left_out", "sentence"),
    [
        ({"data.name": "PBC"}, None, "All cells come from the source of the training cells."),
        (SEVERAL, None, "All cells come from the laboratories that were trained on."),
        (SEVERAL, "south", "The test cells come from south, a laboratory that was not trained on."),
    ],
)
def test_limits_say_whether_another_laboratory_was_tested(data: dict[str, str], left_out: str | None, sentence: str) -> None:
    run = Description(Summary("0" * 32, "traveller", data=data, grouped=False), {"data": {"init_args": {"leave_out": left_out}}})
    limits = " ".join(run.limits)
    assert limits.startswith(sentence)
    # Cells of one smear cannot be both in the training set and in the test set of another laboratory.
    assert ("cells of one smear may be both" in limits) == (left_out is None)
    assert ("has not been measured" in limits) == (left_out is None)
