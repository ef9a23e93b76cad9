"""Files that are written whole or not at all, and the drafts of processes that were killed."""

import os
from pathlib import Path

import pytest

from bcc_lightning.files import clear_drafts, copy_whole, read_json, whole_file, write_json


def test_two_processes_with_one_number_write_two_drafts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 17)  # as in two containers
    target = tmp_path / "summary.json"
    with whole_file(target) as one, whole_file(target) as other:
        assert one != other
        assert one.suffix == other.suffix == ".json"
        one.write_text("one")
        other.write_text("other")
    assert target.read_text() == "one"  # the first to end moves last
    assert os.listdir(tmp_path) == ["summary.json"]


def test_drafts_of_killed_processes_are_cleared_and_nothing_else(tmp_path: Path) -> None:
    kept = {"best.ckpt", ".hidden", "draft-1.txt"}
    (tmp_path / "checkpoints").mkdir()
    for name in kept:
        (tmp_path / "checkpoints" / name).touch()
    killed = whole_file(tmp_path / "checkpoints" / "best.ckpt")
    killed.__enter__().touch()  # never ended
    assert len(os.listdir(tmp_path / "checkpoints")) == len(kept) + 1
    clear_drafts(tmp_path)
    assert set(os.listdir(tmp_path / "checkpoints")) == kept
    clear_drafts(tmp_path / "nowhere")


def test_copies_and_json(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"Klasse": "ä"})
    copy_whole(tmp_path / "a.json", tmp_path / "deep" / "b.json")
    assert read_json(tmp_path / "deep" / "b.json") == {"Klasse": "ä"}
    assert read_json(tmp_path / "c.json") is None
