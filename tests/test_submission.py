"""The challenge's archive predicts what the checkpoint predicts, without this package."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from bcc_lightning.fit import main as fit
from bcc_lightning.modules.checkpoint import load_classifier
from bcc_lightning.submission import main
from tests.miniature import SMALL, artifacts_of, runs_in

pytestmark = pytest.mark.slow

PREDICT = """
import sys
sys.modules["bcc_lightning"] = None  # may not be imported
import numpy as np
from model import Model
np.save("labels.npy", Model().predict(np.load("images.npy")))
"""


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    assert fit([*SMALL, "--trainer.max_epochs", "1"]) == 0
    run = runs_in(tmp_path / "mlruns")[0]
    assert "checkpoints/best.ckpt" in artifacts_of(run)
    return Path(str(run.info.artifact_uri).removeprefix("file://")) / "checkpoints" / "best.ckpt"


def test_archive_predicts_as_the_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    assert main(["--checkpoint", str(checkpoint), "--out", "submission.zip"]) == 0
    with zipfile.ZipFile("submission.zip") as archive:
        assert sorted(archive.namelist()) == ["model.py", "network.pt2"]
        archive.extractall(tmp_path / "unpacked")
    images = np.random.default_rng(0).integers(0, 256, (70, 96, 96, 3)).astype(np.uint8)
    np.save(tmp_path / "unpacked" / "images.npy", images)
    subprocess.run([sys.executable, "-c", PREDICT], cwd=tmp_path / "unpacked", check=True)
    module = load_classifier(checkpoint).eval()
    with torch.no_grad():
        expected = module(torch.from_numpy(images).permute(0, 3, 1, 2))
    found = np.load(tmp_path / "unpacked" / "labels.npy")
    assert found.shape == (70,)
    np.testing.assert_array_equal(found, expected.argmax(dim=1).numpy())


def test_a_checkpoint_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--checkpoint", "none.ckpt", "--out", "submission.zip"]) == 2
    assert "none.ckpt" in capsys.readouterr().err
