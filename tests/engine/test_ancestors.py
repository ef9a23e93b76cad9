"""Cells that a network has learnt test no network that started from it."""

import shutil
from pathlib import Path

import pytest

from bcc_lightning.datasets.classes import WHITE_CELL_CLASSES
from bcc_lightning.evaluate import main as evaluate
from bcc_lightning.fit import main as fit
from bcc_lightning.probe import main as probe
from tests.datamodules.miniatures import write_folder
from tests.miniature import QUICK, TINY, runs_in


@pytest.mark.slow
def test_cells_that_an_earlier_network_has_learnt_are_not_tested_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = write_folder(tmp_path / "home", WHITE_CELL_CLASSES, per_class=8)
    clinic = write_folder(tmp_path / "clinic", WHITE_CELL_CLASSES, per_class=8, seed=5)
    short = [*TINY, *QUICK, "--trainer.max_epochs", "1", "--data", "CellFolder"]
    assert fit([*short, "--data.root", str(home)]) == 0
    (first,) = runs_in(tmp_path / "mlruns")
    at_clinic = [*short, "--data.root", str(clinic), "--model.weights", first.info.run_id]
    assert fit([*at_clinic, "--data.test_on", f"[{home}]"]) == 2
    # Of the 40 cells, a fifth was the first network's test set.
    assert "was trained on or chosen by 32 of the 40 cells of the home set" in capsys.readouterr().err
    assert fit(at_clinic) == 0
    assert evaluate(["--run", "last", "--data.test_on", f"[{home}]", "--out", "page"]) == 2
    assert "which the weights come from, was trained on or chosen by 32 of the 40 cells" in capsys.readouterr().err
    assert (
        probe(["--run", "last", "--data", "CellFolder", "--data.root", str(home), "--out", "probed", "--few_shot", "false"]) == 0
    )
    assert f"efficientnet_b0 ({first.info.run_id[:8]}) was trained on 32 of the 40 cells" in capsys.readouterr().err
    shutil.rmtree(home)
    assert fit(at_clinic) == 0
    assert "Whether efficientnet_b0" in capsys.readouterr().err
