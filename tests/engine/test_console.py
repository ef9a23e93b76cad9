"""What is printed of a run that did not finish."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bcc_lightning.engine.console import print_unfinished
from bcc_lightning.tracking.run_files import RunFolder, Summary
from bcc_lightning.tracking.settings import Tracking


@pytest.mark.parametrize(
    ("tracking", "flags"),
    [
        (Tracking(), ""),
        (Tracking(folder="my runs"), " --tracking.folder 'my runs'"),
        (Tracking(uri="http://ward:secret@localhost:5000"), " --tracking.uri http://ward@localhost:5000"),
    ],
)
def test_the_command_that_resumes_a_run_names_its_store(
    tracking: Tracking, flags: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("UV", raising=False)
    folder = RunFolder(tmp_path / "0123456789")
    folder.create()
    folder.last_checkpoint.parent.mkdir(parents=True, exist_ok=True)
    folder.last_checkpoint.touch()
    run = cast(Any, SimpleNamespace(run_id="0123456789", folder=folder, tracking=tracking))
    print_unfinished(run, Summary("0123456789", "traveller", "KILLED"), None)
    assert f"Resume it with: python -m bcc_lightning.fit --resume 0123456789{flags}\n" in capsys.readouterr().out
