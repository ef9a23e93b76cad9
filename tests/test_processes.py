"""Ctrl-C and SIGTERM wait while the store is written to."""

import signal
from pathlib import Path

import pytest
import torch
from sqlalchemy import event
from sqlalchemy.engine import Engine

from bcc_lightning.cli.command import interrupt
from bcc_lightning.modules.checkpoint import write_checkpoint
from bcc_lightning.processes import interruption_held
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.settings import Tracking


@pytest.fixture(autouse=True)
def sigterm_interrupts(interrupt_handlers: None) -> None:
    signal.signal(signal.SIGTERM, interrupt)


@pytest.mark.slow
def test_interruption_in_a_transaction_takes_effect_behind_it(tmp_path: Path) -> None:
    # Found by sending SIGTERM at random moments: 13 of 150 runs could not be ended, since their database stayed locked.
    run = TrackedRun.create(Tracking(folder=str(tmp_path)), "run", {})

    def interrupt_committing(_: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    event.listen(Engine, "commit", interrupt_committing)
    try:
        with pytest.raises(KeyboardInterrupt):
            run.log_metrics({"val/accuracy": 0.5}, 0)
    finally:
        event.remove(Engine, "commit", interrupt_committing)
    assert run.close("KILLED") is None
    filed = run.client.get_run(run.run_id)
    assert (filed.info.status, filed.data.metrics) == ("KILLED", {"val/accuracy": 0.5})


def test_interruption_in_a_checkpoint_takes_effect_behind_it(tmp_path: Path) -> None:
    class Interrupting:
        """Something to be stored, in whose midst Ctrl-C is pressed."""

        def __reduce__(self) -> tuple[type[int], tuple[int]]:
            signal.raise_signal(signal.SIGINT)
            return int, (7,)

    with pytest.raises(KeyboardInterrupt):
        write_checkpoint({"number": Interrupting(), "weights": torch.ones(3)}, tmp_path / "last.ckpt")
    assert torch.load(tmp_path / "last.ckpt", weights_only=False)["number"] == 7
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_what_arrived_can_be_forgotten() -> None:
    with interruption_held(drop=True):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is interrupt
