"""What is recorded of a trial's end, by what it said and how its process ended."""

import math
from pathlib import Path
from typing import Any

import pytest

from bcc_lightning.tuning.study import FAILED, OUT_OF_MEMORY
from bcc_lightning.tuning.trial_process import TrialEnd, read_end
from tests.tuning.searches import stub_plan


def said(status: str, failure: str | None = None, **figures: float) -> dict[str, Any]:
    return {"status": status, "failure": failure, "figures": {name.replace("_", "/"): value for name, value in figures.items()}}


@pytest.mark.parametrize(
    ("last", "exit_code", "last_words", "end"),
    [
        (said("FINISHED", val_accuracy=0.9, val_loss=0.3), 0, "", TrialEnd([0.9])),
        (said("FINISHED", val_accuracy=0.9), 2, "The tracking server could not be reached", TrialEnd([0.9])),
        (said("FINISHED", val_loss=0.3), 0, "", TrialEnd(None, FAILED, "there is no val/accuracy; there are: val/loss")),
        (said("FINISHED", val_accuracy=math.nan), 0, "", TrialEnd(None, FAILED, "not finite: val/accuracy is nan")),
        (said("FAILED", "NonFiniteLossError: loss is nan"), 2, "", TrialEnd(None, FAILED, "NonFiniteLossError: loss is nan")),
        (said("FAILED", "OutOfMemoryError: CUDA"), 1, "", TrialEnd(None, OUT_OF_MEMORY, "OutOfMemoryError: CUDA")),
        (None, 1, "RuntimeError: [enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried", OUT_OF_MEMORY),
        (None, 2, "no such folder", TrialEnd(None, FAILED, "exit code 2: no such folder")),
        (None, -11, "", TrialEnd(None, FAILED, "killed by SIGSEGV")),
        (None, -9, "", TrialEnd(None, FAILED, "killed by SIGKILL (the system does that when memory runs out)")),
    ],
)
def test_the_end_of_a_trial(
    tmp_path: Path, last: dict[str, Any] | None, exit_code: int, last_words: str, end: TrialEnd | str
) -> None:
    found = read_end(stub_plan(tmp_path), last, exit_code, last_words)
    assert found == end if isinstance(end, TrialEnd) else found.ending == end
