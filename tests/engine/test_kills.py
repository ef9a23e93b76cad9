"""A run that is killed again and again, and moved in between, ends bit by bit like one that was never touched."""

import os
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bcc_lightning.fit import main
from tests.resuming import RUN, assert_same, assert_tidy, outcome, start, write_cells
from tests.tuning.conftest import LONG

pytestmark = pytest.mark.slow

KILLS = 30


def test_two_kills_with_a_move_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = random.Random(3)

    def after_an_epoch(process: subprocess.Popen[str], place: Path) -> None:
        """Wait until the process has trained an epoch, and a little longer."""
        before = last_states(place)
        while process.poll() is None and last_states(place) == before:
            time.sleep(0.01)
        time.sleep(generator.uniform(0, 0.3))

    kill_and_compare(tmp_path, monkeypatch, 2, 16, after_an_epoch)


@pytest.mark.skipif(not os.environ.get(LONG), reason=f"takes many minutes: set {LONG}=1")
def test_at_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = random.Random(7)

    def at_random(process: subprocess.Popen[str], place: Path) -> None:
        """Wait for a moment between the start of the process and its end."""
        deadline = time.monotonic() + generator.uniform(0, 16)
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)

    kill_and_compare(tmp_path, monkeypatch, KILLS, 40, at_random)


def last_states(place: Path) -> dict[Path, int]:
    """Look which states after an epoch there are, and from when."""
    return {file: file.stat().st_mtime_ns for file in place.glob("mlruns/active/*/state/last.ckpt")}


def kill_and_compare(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kills: int, epochs: int, wait: Callable[[subprocess.Popen[str], Path], None]
) -> None:
    """Kill a run so many times, with the folder moved before every second start, and compare it with one that ran through."""
    recipe = [*RUN, "--trainer.max_epochs", str(epochs)]
    whole, place = write_cells(folder / "whole"), write_cells(folder / "place 0")
    monkeypatch.chdir(whole)
    assert main(recipe) == 0
    (expected,) = outcome(whole / "mlruns")
    assert expected[1]["best_epoch"] < epochs / 2

    killed = 0
    while killed < kills:
        process = go_on(place, recipe)
        wait(process, place)
        is_killed = process.poll() is None
        process.kill()
        output = process.communicate()[0]
        print(f"--- kill {killed}: {'killed' if is_killed else process.returncode}\n{output}")
        assert is_killed or process.returncode == 0
        killed += is_killed
        if is_killed and killed % 2:
            place = place.rename(folder / f"place {killed}")
    process = go_on(place, recipe)
    print(process.communicate()[0])
    assert process.returncode == 0
    finished = outcome(place / "mlruns")
    assert finished
    for run in finished:
        assert_same(run, expected)
    assert_tidy(place / "mlruns")


def go_on(place: Path, recipe: list[str]) -> subprocess.Popen[str]:
    """Go on with the run that was killed, or start one where it was killed before there was anything to go on with."""
    is_begun = any(place.glob("mlruns/active/*/artifacts/config.yaml"))
    return start(place, *(["--resume", "last"] if is_begun else recipe))
