"""Steps: one line each, on a terminal and in a file; silence where nobody is to hear them."""

import io
import sys

import pytest

from bcc_lightning import errors, steps
from bcc_lightning.steps import duration, hushed, step


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def three_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each look at the clock be three seconds after the one before."""
    looks = iter(range(0, 1000, 3))
    monkeypatch.setattr(steps.time, "perf_counter", lambda: float(next(looks)))


@pytest.mark.usefixtures("three_seconds")
def test_a_step_is_one_line_with_its_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    with step("reading \x1b[2J"):
        assert capsys.readouterr().out == "reading \\x1b[2J ..."  # at once, and harmless
    assert capsys.readouterr().out == " 3.0 s\n"


@pytest.mark.usefixtures("three_seconds")
def test_on_a_terminal_the_line_comes_back_after_a_bar_was_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    with step("testing"):
        print("\r|###  |\r       \r", end="")
    assert terminal.getvalue().rpartition("\r")[2] == "testing ... 3.0 s\n"


def test_an_error_begins_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), step("reading"):
        raise KeyboardInterrupt
    assert capsys.readouterr().out == "reading ...\n"


def test_a_closed_stream_harms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    assert not steps.is_terminal()


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "SLURM_PROCID"])
def test_of_several_processes_only_the_first_speaks(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for rank in ("1", "0"):
        monkeypatch.setenv(name, rank)
        with step(f"process {rank}"):
            pass
    assert "process 1" not in (said := capsys.readouterr().out)
    assert said.startswith("process 0 ...")


def test_one_of_many_runs_and_python_are_silent(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with hushed(), hushed(False), step("a fold"):
        pass
    with hushed(False), step("a command"):
        pass
    monkeypatch.setattr(errors, "_commands", 0)
    with step("a notebook"):
        pass
    assert capsys.readouterr().out.split(" ...")[0] == "a command"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (202, "3 min 22 s"),
        (3599.6, "1 h 0 min"),
        (7530, "2 h 6 min"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said
