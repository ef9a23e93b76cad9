"""The command `evaluate`: what is wrong is said before anything is read or written."""

from pathlib import Path

import pytest

from bcc_lightning.evaluate import main
from bcc_lightning.tracking.settings import Tracking
from tests.miniature import add_run

pytestmark = pytest.mark.usefixtures("ready_store")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--out DIR is missing"),
        (["--out", "out"], "name a trained network with --run R"),
        (["--out", "out", "--run", "nobody"], "no finished run 'nobody'"),
        (["--out", "out", "--checkpoint", "nowhere.ckpt"], "checkpoint nowhere.ckpt does not exist"),
        (["--out", "out", "--run", "a", "--run", "b"], "this command takes one"),
        (["--out", "out", "--run", "a", "--data.test_of", "[x]"], "data.test_of"),
        (["--out", "out", "--run", "a", "--data", "NoSuch"], "NoSuch"),
        (["--out", "out", "--run", "a", "--name", "other"], "the run's own test set has its name"),
        (["--out", "out", "--run", "a", "--tracking.uri", "http://127.0.0.1:9"], "does not answer"),
        (["--out", "file/out", "--run", "a"], "is a file, not a folder"),
    ],
)
def test_bad_arguments(flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("")
    for name in "ab":
        add_run(Tracking(), name, files={"checkpoints/best.ckpt": ""})
    assert main(flags) == 2
    assert message in capsys.readouterr().err
    assert not Path("out").exists()


@pytest.mark.parametrize("status", ["FAILED", "KILLED"])
def test_a_run_that_has_not_finished(status: str, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = add_run(Tracking(), "a", status)
    assert main(["--run", run_id, "--out", "out"]) == 2
    assert f"has the status {status}" in capsys.readouterr().err


def test_a_run_that_was_never_tested(capsys: pytest.CaptureFixture[str]) -> None:
    add_run(Tracking(), "a", files={"checkpoints/best.ckpt": ""})
    assert main(["--run", "a", "--out", "out", "--gallery", "false"]) == 2
    assert "has no predictions/test.parquet" in capsys.readouterr().err
