"""Files that are written whole or not at all, drafts of processes that were killed, and YAML of others."""

import os
from pathlib import Path

import pytest
import yaml

from bcc_lightning.errors import UserError
from bcc_lightning.files import (
    DEEPEST,
    LARGEST,
    clear_drafts,
    copy_whole,
    read_json,
    read_mapping,
    refuse_oversized,
    whole_file,
    write_json,
)


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


TENFOLD = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 10)
)
"""Ten lines that hold 10 ** 10 values with their aliases expanded."""


@pytest.mark.parametrize(
    "text",
    [
        TENFOLD,
        f"lr: '{{{TENFOLD.replace(chr(10), ', ')}}}'",
        "model: &a {again: *a}",
        "a: " + "[" * 5000 + "]" * 5000,
        "[" * 5000,
    ],
)
def test_bombs_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "bomb.yaml").write_text(text)
    with pytest.raises(UserError, match=r"bomb\.yaml is not valid YAML"):
        read_mapping(tmp_path / "bomb.yaml", "keys")


def test_what_is_allowed(tmp_path: Path) -> None:
    shared = "base: &base {lr: 0.1, epochs: 3}\nfirst: *base\nsecond: {<<: *base, lr: 0.2}\ntext: '*a & \"b'\n"
    (tmp_path / "mine.yaml").write_text(shared)
    assert read_mapping(tmp_path / "mine.yaml", "keys")["second"] == {"lr": 0.2, "epochs": 3}
    refuse_oversized(f"[{'x, ' * (LARGEST - 1)}]")
    refuse_oversized("[" * (DEEPEST - 2) + "]" * (DEEPEST - 2))


@pytest.mark.parametrize("text", [f"[{'x, ' * LARGEST}]", "[" * DEEPEST + "]" * DEEPEST])
def test_the_limits(text: str) -> None:
    with pytest.raises(yaml.YAMLError, match="100,000 values"):
        refuse_oversized(text)
