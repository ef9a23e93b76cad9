"""A trial's process beside its worker, where a whole job is told to stop."""

import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from bcc_lightning.tuning.channel import Greeting
from bcc_lightning.tuning.trial_process import TrialProcess
from bcc_lightning.tuning.worker import was_stopped

SIGNAL_ITSELF = "import os, signal; os.kill(os.getpid(), signal.SIGUSR2); print('goes on')"


def test_the_signal_for_a_worker_does_not_reach_its_trial(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with TrialProcess([sys.executable, "-c", SIGNAL_ITSELF], {}, Greeting("study", 0, "val/accuracy"), log) as trial:
        assert trial.wait() == 0
    assert log.read_text() == "goes on\n"
    assert signal.SIGUSR2 not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.parametrize(
    ("last", "stopped"),
    [
        (None, True),
        ({"status": "KILLED", "pruned": False}, True),
        ({"status": "KILLED", "pruned": True}, False),
        ({"status": "FINISHED", "pruned": False}, False),
        ({"status": "FAILED", "pruned": False}, False),
    ],
)
def test_what_was_cut_short_is_told_from_what_ended_by_itself(last: dict[str, Any] | None, stopped: bool) -> None:
    assert was_stopped(last) is stopped
