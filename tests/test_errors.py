"""Faults of the surroundings end a command with one line, bugs with a traceback."""

import errno
import os
import sqlite3
from pathlib import Path

import pandas as pd
import pytest
import torch
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import OperationalError

from bcc_lightning.callbacks.checkpoints import WholeFileCheckpoints
from bcc_lightning.cli.command import run_command
from bcc_lightning.errors import UserError, fault_of
from bcc_lightning.files import refuse_unwritable, refuse_unwritable_folder, whole_file
from tests.full_disk import file_size_limit


def raised(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("number", "step"),
    [
        (errno.ENOSPC, "free space"),
        (errno.EDQUOT, "free space"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EACCES, "allow this user"),
        (errno.EPERM, "allow this user"),
        (errno.EROFS, "allow this user"),
        (errno.ENAMETOOLONG, "shorter name"),
        (errno.ENOTDIR, "name a folder"),
        (errno.EISDIR, "name a file"),
        (errno.ELOOP, "symbolic links"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EIO, "check the disk"),
    ],
)
def test_error_of_the_system_is_one_line_with_path_and_next_step(
    number: int, step: str, capsys: pytest.CaptureFixture[str]
) -> None:
    error = OSError(number, os.strerror(number), "cells/a.png")
    assert run_command(lambda _: raised(error), []) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"error: cells/a.png: {os.strerror(number)}. Next step: ")
    assert step in message
    assert message.count("\n") == 1


def test_traceback_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(lambda _: raised(PermissionError(errno.EACCES, "Permission denied", "a")), ["--traceback"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("bug", [KeyError("label"), FileNotFoundError(errno.ENOENT, "No such file", "a"), RuntimeError("shape")])
def test_bugs_pass(bug: Exception) -> None:
    with pytest.raises(type(bug)):
        run_command(lambda _: raised(bug), [])


def test_full_database_behind_mlflow() -> None:
    inner = sqlite3.OperationalError("database or disk is full")
    error = MlflowException("wrapped")
    error.__cause__ = OperationalError("UPDATE", {}, inner)
    error.__cause__.__cause__ = inner
    assert (fault_of(error) or "").startswith("the tracking database: database or disk is full. Next step: free space")


def test_database_that_may_not_be_written(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "a.db").execute("CREATE TABLE t (x)")
    with pytest.raises(sqlite3.OperationalError) as caught:
        sqlite3.connect(f"file:{tmp_path}/a.db?mode=ro", uri=True).execute("INSERT INTO t VALUES (1)")
    assert "allow this user" in (fault_of(caught.value) or "")


def test_loading_processes_without_shared_memory() -> None:
    error = RuntimeError(
        "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's workers are out of shared "
        "memory. Please try to raise your shared memory limit."
    )
    assert "--shm-size" in (fault_of(error) or "")


def test_name_that_is_not_utf8(capsys: pytest.CaptureFixture[str]) -> None:
    def encode(_: list[str]) -> None:
        "gro\udcdfe".encode()

    assert run_command(encode, []) == 2
    assert "'gro\\udcdfe' is not UTF-8. Next step: rename" in capsys.readouterr().err
    assert run_command(lambda _: None, ["--data.root", "gro\udcdfe"]) == 2
    assert "argument 'gro\\udcdfe' is not UTF-8" in capsys.readouterr().err


def test_checkpoint_on_a_full_disk_names_the_disk_and_leaves_no_draft(tmp_path: Path) -> None:
    target = tmp_path / "best.ckpt"
    with file_size_limit(10_000), pytest.raises(OSError, match=r"best\.ckpt") as caught:
        WholeFileCheckpoints().save_checkpoint({"weights": torch.zeros(100_000)}, target)
    assert caught.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []


def test_table_on_a_full_disk_names_the_target(tmp_path: Path) -> None:
    table = pd.DataFrame(torch.rand(10_000, 8).numpy(), columns=[f"class{i}" for i in range(8)])
    with (
        file_size_limit(10_000),
        pytest.raises(OSError, match="File too large") as caught,
        whole_file(tmp_path / "test.parquet") as draft,
    ):
        table.to_parquet(draft)
    assert (fault_of(caught.value) or "").startswith(f"{tmp_path}/test.parquet: ")
    assert list(tmp_path.iterdir()) == []


def test_whole_file_of_before_stays_on_a_full_disk(tmp_path: Path) -> None:
    target = tmp_path / "history.json"
    target.write_text("{}")
    with file_size_limit(10_000), pytest.raises(OSError, match="File too large"), whole_file(target) as draft:
        draft.write_text("0" * 20_000)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["{}"]


def test_targets_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--summary .* is a folder; name a file"):
        refuse_unwritable("--summary", tmp_path)
    with pytest.raises(UserError, match=r"--out .*file cannot be written to \(.*file is a file, not a folder\)"):
        refuse_unwritable_folder("--out", tmp_path / "file")
    with pytest.raises(UserError, match=r"--summary .*s\.json cannot be written \(.*file is a file, not a folder\)"):
        refuse_unwritable("--summary", tmp_path / "file" / "below" / "s.json")

    def read_only(**_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("bcc_lightning.files.TemporaryFile", read_only)
    with pytest.raises(UserError, match=r"--out .*new cannot be written to \(Read-only file system\)"):
        refuse_unwritable_folder("--out", tmp_path / "new")
    assert [place.name for place in tmp_path.iterdir()] == ["file"]
