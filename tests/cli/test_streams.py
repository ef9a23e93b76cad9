"""Output that nobody reads, that cannot hold every character, or whose file lies on a full disk."""

import errno
import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from bcc_lightning.cli.command import EXIT_INTERRUPTED, LastingStream, interrupt, lasting_streams, run_command
from bcc_lightning.fit import main
from tests.miniature import SMALL, runs_in

pytestmark = pytest.mark.slow

ROOT = str(Path(__file__).parents[2])
LONG = "word " * 50_000  # more than a pipe holds


@pytest.fixture
def unread() -> Iterator[TextIO]:
    """A pipe whose reader has gone away."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        yield stream


def shell(script: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": ROOT, "PYTHON": sys.executable}
    return subprocess.run(["bash", "-c", script], check=False, capture_output=True, text=True, env=environment, timeout=120)


def test_reader_that_goes_away_stops_nothing(unread: TextIO) -> None:
    lasting = LastingStream(unread)
    for _ in range(3):
        assert lasting.write(LONG) == len(LONG)
        lasting.flush()
    assert lasting.fault is None
    assert os.write(unread.fileno(), b"from a library") == 14  # leads nowhere, instead of raising BrokenPipeError


def test_full_disk_is_remembered() -> None:
    with open("/dev/full", "w") as full:
        lasting = LastingStream(full)
        lasting.write("text\n")
        lasting.finish()
    assert lasting.fault is not None
    assert lasting.fault.errno == errno.ENOSPC


def test_characters_that_a_stream_does_not_know_are_written_as_numbers() -> None:
    inner = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print("0.5 ± 0.1 gro\udcdfe", file=LastingStream(inner), flush=True)
    assert inner.buffer.getvalue() == b"0.5 \\xb1 0.1 gro\\udcdfe\n"


@pytest.mark.parametrize("streams", ["none", "closed"])
def test_streams_that_were_closed_before_the_start(monkeypatch: pytest.MonkeyPatch, streams: str) -> None:
    closed = io.StringIO()
    closed.close()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None if streams == "none" else closed)
    with lasting_streams():
        print("text")
        print("text", file=sys.stderr)
        sys.stdout.flush()


def test_command_whose_output_is_lost_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert run_command(lambda _: print("figures"), []) == 2
        monkeypatch.undo()
    assert "the output of this command could not be written ([Errno 28] No space left on device)" in capsys.readouterr().err


def test_training_outlives_the_reader_of_its_output(unread: TextIO, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "stdout", unread)
    monkeypatch.setattr(sys, "stderr", unread)
    code = main([*SMALL, "--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "true"])
    monkeypatch.undo()
    assert code == 0
    assert [run.info.status for run in runs_in(tmp_path / "mlruns")] == ["FINISHED"]


def test_pipe_that_is_closed_ends_a_command_quietly() -> None:
    done = shell('"$PYTHON" -m bcc_lightning | true; echo "${PIPESTATUS[0]}"')
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_no_file_gets_the_number_of_a_closed_stream() -> None:
    show = (
        "from bcc_lightning.cli.command import lasting_streams\n"
        "with lasting_streams(): print(open('/dev/null').fileno(), flush=True)"
    )
    done = shell(f'"$PYTHON" -c "{show}" <&- 2>&-')
    assert int(done.stdout) >= 3


def test_hang_up_stops_a_command_as_ctrl_c_does() -> None:
    assert run_command(lambda _: signal.raise_signal(signal.SIGHUP), []) == EXIT_INTERRUPTED


def test_hang_up_that_nohup_ignores_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert run_command(lambda _: signal.raise_signal(signal.SIGHUP), []) == 0
    assert signal.getsignal(signal.SIGTERM) is interrupt
