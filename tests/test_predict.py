"""The command `predict`, on a run that was trained on image files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bcc_lightning.fit import main as fit
from bcc_lightning.predict import main
from bcc_lightning.tracking.finished_runs import find_run
from bcc_lightning.tracking.store import Tracking
from tests.miniature import QUICK, write_painted_folder

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("predict")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with painted cells and a run that was trained on them, with several views of a test cell."""
    folder = tmp_path_factory.mktemp("predict")
    cells = write_painted_folder(folder / "cells")
    data = ["--data", "CellFolder", "--data.root", str(cells), "--data.cache_dir", str(folder / "cache")]
    few = ["--trainer.max_epochs", "1", "--model.test_time", "flips", "--tracking.folder", str(folder / "mlruns")]
    assert fit(["--exp", "efficientnet_b0", *data, *QUICK, *few]) == 0
    return folder


def run(place: Path, *argv: str) -> int:
    return main([*argv, "--run", "efficientnet_b0", "--tracking.folder", str(place / "mlruns")])


def test_the_test_set_gets_its_filed_probabilities_to_the_last_bit(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, str(place / "cells/test"), "--out", "cells.parquet", "--sheet", "sheet.png") == 0
    assert "37 cells classified, written to cells.parquet" in capsys.readouterr().out
    filed = pd.read_parquet(find_run(Tracking(folder=str(place / "mlruns")), "efficientnet_b0").predictions())
    found = pd.read_parquet("cells.parquet")
    assert [str(place / "cells" / name) for name in filed["id"]] == list(found["path"])
    classes = [f"class_{number}" for number in range(8)]
    assert np.array_equal(filed[classes].to_numpy(), found[classes].to_numpy())
    assert Path("sheet.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_unreadable_files_are_counted_and_give_exit_code_1(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("cells").mkdir()
    Path("cells/a.png").write_text("text")
    Path("cells/b.png").write_bytes(next((place / "cells/test").rglob("*.png")).read_bytes())
    assert run(place, "cells", "--out", "out/cells.csv") == 1
    caught = capsys.readouterr()
    assert "error: 1 of 2 files could not be read: cells/a.png (is not an image" in caught.err
    assert "1 cells classified" in caught.out
    assert pd.read_csv("out/cells.csv")["error"].notna().tolist() == [True, False]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["cells", "--out", "c.csv", "--run", "mouse"], "no finished run 'mouse'"),
        (["cells", "--out", "c.txt", "--run", "efficientnet_b0"], "--out c.txt must end in .csv or .parquet"),
        (["cells", "--out", "c.csv"], "name a trained network with --run R"),
        (["cells", "--out", "c.csv", "--checkpoint", "away.ckpt"], "checkpoint away.ckpt does not exist"),
        (["cells", "--out", "c.csv", "--run", "efficientnet_b0", "--run", "efficientnet_b0"], "this command takes one"),
        (["away", "--out", "c.csv", "--run", "efficientnet_b0"], "away does not exist"),
        (["empty", "--out", "c.csv", "--run", "efficientnet_b0"], "there is no image to classify"),
        (["cells", "--out", "c.csv", "--nonsense", "1"], "key 'nonsense' is not known"),
        (["cells", "--run", "efficientnet_b0"], "out"),
    ],
)
def test_mistakes(place: Path, capsys: pytest.CaptureFixture[str], argv: list[str], message: str) -> None:
    for folder in ("cells", "empty"):
        Path(folder).mkdir()
    Path("cells/b.png").write_bytes(next((place / "cells/test").rglob("*.png")).read_bytes())
    assert main([*argv, "--tracking.folder", str(place / "mlruns")]) == 2
    assert message in capsys.readouterr().err
    assert not list(Path().glob("*.csv"))
