"""One process trains a run: by a lock among all processes of a host, by signs of life between hosts."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from bcc_lightning.errors import UserError
from bcc_lightning.tracking import claim
from bcc_lightning.tracking.claim import Claim, is_trained
from bcc_lightning.tracking.run_files import RunFolder
from tests.tracking.holder import end, hold

pytestmark = pytest.mark.slow

ELSEWHERE = {"boot": "another start", "host": "ward-7", "process": 17, "token": "theirs"}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """The folder of a run."""
    folder = RunFolder(tmp_path / "4711")
    folder.create()
    return folder


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for signs of life for a moment only."""
    monkeypatch.setattr(claim, "GRACE_SECONDS", 1.0)
    monkeypatch.setattr(claim, "PATIENCE_SECONDS", 0.1)


def test_a_second_process_is_refused_and_told_where_the_first_is(folder: RunFolder) -> None:
    process = hold(folder.path)
    try:
        assert is_trained(folder)
        with pytest.raises(UserError, match=rf"run 4711 is being trained by process {process.pid} on "):
            Claim(folder)
    finally:
        end(process)
    assert not is_trained(folder)
    Claim(folder).release()  # a killed process holds nothing, and is not waited for
    assert not folder.alive.exists()


def test_the_same_process_is_refused_too(folder: RunFolder) -> None:
    first = Claim(folder)
    with pytest.raises(UserError, match=f"process {os.getpid()} on"):
        Claim(folder)
    first.release()
    Claim(folder).release()


def test_a_process_that_loads_data_does_not_hold_it_for_its_dead_parent(folder: RunFolder) -> None:
    process = hold(folder.path, "fork")
    end(process)
    child = process.child  # type: ignore[attr-defined]
    try:
        os.kill(child, 0)  # it lives on
        assert not is_trained(folder)
        Claim(folder).release()
    finally:
        os.kill(child, signal.SIGKILL)


def test_drivers_of_one_search_share_it(folder: RunFolder) -> None:
    process = hold(folder.path, "shared")
    try:
        second = Claim(folder, shared=True)
        with pytest.raises(UserError, match="is being trained"):
            Claim(folder)
        second.release()
        assert is_trained(folder)
    finally:
        end(process)
    assert not is_trained(folder)


@pytest.mark.usefixtures("impatient")
def test_a_process_on_another_host_that_shows_itself_is_left_alone(folder: RunFolder) -> None:
    folder.alive.write_text(json.dumps(ELSEWHERE))
    folder.lock.touch()
    over = threading.Event()

    def live() -> None:
        while not over.wait(0.05):
            os.utime(folder.alive)

    thread = threading.Thread(target=live)
    thread.start()
    try:
        assert is_trained(folder)
        with pytest.raises(UserError, match="run 4711 is being trained by process 17 on ward-7"):
            Claim(folder)
    finally:
        over.set()
        thread.join()
    assert json.loads(folder.alive.read_text()) == ELSEWHERE


@pytest.mark.usefixtures("impatient")
def test_a_process_on_another_host_that_is_silent_is_replaced(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    folder.alive.write_text(json.dumps(ELSEWHERE))
    Claim(folder).release()
    assert "was last trained by process 17 on ward-7; waiting 1 seconds" in capsys.readouterr().out


def test_one_that_has_been_silent_for_long_is_not_waited_for(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    folder.alive.write_text(json.dumps(ELSEWHERE))
    folder.lock.touch()
    long_ago = time.time() - 2 * claim.LONG_AGO_SECONDS
    os.utime(folder.alive, (long_ago, long_ago))
    assert not is_trained(folder)
    Claim(folder).release()
    assert capsys.readouterr().out == ""


def test_a_process_that_was_replaced_ends(folder: RunFolder) -> None:
    process = hold(folder.path)
    folder.alive.write_text(json.dumps(ELSEWHERE))
    _, error = process.communicate(timeout=30)
    assert process.returncode == claim.EXIT_REPLACED
    assert "taken over by process 17 on ward-7" in error


def test_a_claim_clears_drafts(folder: RunFolder) -> None:
    draft = folder.checkpoints / ".draft-0123456789abcdef.ckpt"
    draft.parent.mkdir()
    draft.touch()
    Claim(folder).release()
    assert not draft.exists()


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run 4711 has just finished"):
        Claim(RunFolder(tmp_path / "4711"))


def test_a_file_system_that_does_not_lock_goes_by_signs_of_life(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", unsupported)
    first = Claim(folder)
    assert is_trained(folder)
    over = threading.Event()
    thread = threading.Thread(target=lambda: [os.utime(folder.alive) for _ in iter(lambda: over.wait(0.05), True)])
    thread.start()
    try:
        with pytest.raises(UserError, match="is being trained"):
            Claim(folder)
    finally:
        over.set()
        thread.join()
        first.release()
    Claim(folder).release()
