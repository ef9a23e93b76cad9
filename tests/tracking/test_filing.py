"""Runs end and are filed as far as possible when the disk is full."""

import errno
import os
import signal
from pathlib import Path
from typing import Any, NoReturn

import pytest
from mlflow.entities import Run
from sqlalchemy import event
from sqlalchemy.engine import Engine

from bcc_lightning.cli.command import interrupt
from bcc_lightning.files import copy_whole
from bcc_lightning.fit import main
from bcc_lightning.tracking import filing as recording
from bcc_lightning.tracking.filing import end_failed, ending, file_run
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.run_files import RunFolder, Summary, read_summary
from bcc_lightning.tracking.settings import Tracking
from tests.full_disk import file_size_limit
from tests.miniature import SMALL, artifacts_of, runs_in

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "report.html")


@pytest.fixture
def run(ready_store: None) -> TrackedRun:
    return TrackedRun.create(Tracking(), "run", {})


def finished(run: TrackedRun) -> Summary:
    """Make the summary of a run whose training and test went well."""
    data = {"data.name": "SyntheticSmear", "data.resolution": "32 native"}
    return Summary(
        run.run_id,
        "run",
        "FINISHED",
        metrics={"test/accuracy": 0.5, "test/most_frequent": 0.5},
        intervals={"test/accuracy": (0.4, 0.6)},
        data=data,
    )


def filed() -> Run:
    (run,) = runs_in(Path("mlruns").absolute())  # MLflow keeps connections by their URI
    return run


def full(*_: Any, **__: Any) -> NoReturn:
    raise FULL


def test_report_on_a_full_disk_fails_the_run_and_files_the_rest(run: TrackedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "write_report", full)
    with pytest.raises(OSError, match="No space left"):
        file_run(run, finished(run), copy="copy.json")
    assert filed().info.status == "FAILED"
    assert filed().data.tags["failure"].startswith("OSError: [Errno 28] No space left on device")
    assert artifacts_of(filed()) == {"summary.json"}
    assert read_summary(run.folder.summary).status == read_summary(Path("copy.json")).status == "FAILED"


def test_figures_on_a_full_disk_do_not_keep_the_report_from_being_written(run: TrackedRun) -> None:
    with pytest.raises(OSError, match="No space left"):
        file_run(run, finished(run), full)
    assert filed().info.status == "FAILED"
    assert artifacts_of(filed()) == {"summary.json", "report.html"}


def test_error_of_the_training_is_not_hidden_by_one_of_the_filing(run: TrackedRun) -> None:
    summary = Summary(run.run_id, "run")
    summary.status, summary.failure = ending(ValueError("of the training"))
    waiting = file_run(run, summary, full)
    assert waiting == "Not all of it could be filed: OSError: [Errno 28] No space left on device: 'report.html'"
    assert filed().data.tags["failure"] == "ValueError: of the training"


def test_bug_in_the_filing_ends_the_run_and_shows_itself(run: TrackedRun) -> None:
    summary = finished(run)
    summary.intervals = {}
    with pytest.raises(KeyError, match="test/accuracy"):
        file_run(run, summary)
    assert filed().info.status == "FAILED"
    assert filed().data.tags["failure"] == "KeyError: 'test/accuracy'"


def test_copy_of_the_summary_that_cannot_be_written(run: TrackedRun) -> None:
    Path("folder.json").mkdir()
    waiting = file_run(run, finished(run), copy="folder.json") or ""
    assert "--summary folder.json could not be written" in waiting
    assert filed().info.status == "FINISHED"


def test_artifacts_that_do_not_fit_leave_nothing_torn(run: TrackedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    (run.folder.artifacts / "best.ckpt").write_bytes(bytes(1000))

    def full(source: Path, target: Path) -> None:
        if source.name == "best.ckpt":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        copy_whole(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("bcc_lightning.tracking.run.copy_whole", full)
        waiting = file_run(run, finished(run)) or ""
    assert "best.ckpt: No space left on device. Next step: free space" in waiting
    assert f"`--resume {run.run_id}` files it" in waiting
    assert filed().info.status == "FAILED"
    assert filed().data.tags["failure"].startswith("not filed: ")
    assert artifacts_of(filed()) == set()
    assert TrackedRun.reopen(Tracking(), run.run_id, run.claim).close("FINISHED") is None
    assert artifacts_of(filed()) == {"summary.json", "report.html", "model_card.md", "best.ckpt"}
    assert "failure" not in filed().data.tags


def test_status_that_cannot_be_written_either_is_said(run: TrackedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("log_artifacts", "set_tag", "set_terminated"):
        monkeypatch.setattr(run.client, name, full)
    assert "the run counts as RUNNING until the next one starts" in (run.close("FINISHED") or "")


def test_run_whose_folder_cannot_be_made_is_ended(ready_store: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunFolder, "create", full)
    with pytest.raises(OSError, match="No space left"):
        TrackedRun.create(Tracking(), "run", {})
    assert filed().info.status == "FAILED"


def test_interruption_while_a_run_is_opened_ends_it(ready_store: None, interrupt_handlers: None) -> None:
    signal.signal(signal.SIGTERM, interrupt)
    arrived: list[bool] = []

    def interrupt_once(_: object) -> None:
        if not arrived:
            arrived.append(True)
            signal.raise_signal(signal.SIGTERM)

    event.listen(Engine, "commit", interrupt_once)
    try:
        with pytest.raises(KeyboardInterrupt):
            TrackedRun.create(Tracking(), "run", {})
    finally:
        event.remove(Engine, "commit", interrupt_once)
    assert filed().info.status == "KILLED"


def test_run_without_figures_ends_with_its_error(run: TrackedRun) -> None:
    end_failed(run, FULL)
    assert filed().info.status == "FAILED"
    assert "No space left" in filed().data.tags["failure"]


@pytest.mark.slow
def test_disk_that_is_full_at_a_checkpoint(ready_store: None, capsys: pytest.CaptureFixture[str]) -> None:
    with file_size_limit(8_000_000):  # the network has 16 MB
        assert main([*SMALL, "--model.backbone", "efficientnet_b0", "--trainer.max_epochs", "1"]) == 2
    failed = filed()
    (folder,) = Path("mlruns/active").iterdir()
    assert "best.ckpt: File too large. Next step: " in capsys.readouterr().err
    assert failed.info.status == "FAILED"
    assert "File too large" in failed.data.tags["failure"]
    assert artifacts_of(failed) >= {"config.yaml", "summary.json", "report.html", "figures/samples.png"}
    assert not [file for file in Path("mlruns").rglob(".*") if file.name != ".store.lock"]
    assert main(["--resume", folder.name]) == 0
    assert filed().info.status == "FINISHED"
