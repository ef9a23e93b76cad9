"""The command `explain`, on a run that was trained on image files."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from bcc_lightning.datasets.smear_painter import paint_cells
from bcc_lightning.engine.explaining import explain_network
from bcc_lightning.explain import main
from bcc_lightning.fit import main as fit
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.tracking.trained_networks import find_network
from tests.miniature import SMALL

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("painted_folder")]


def run(painted_folder: Path, *argv: str) -> int:
    return main([*argv, "--run", "efficientnet_b0", "--tracking.folder", str(painted_folder / "mlruns")])


def text_of(page: Path) -> str:
    """Return a page without its images and markup."""
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]*>", " ", page.read_text(encoding="utf-8"), flags=re.DOTALL).split())


def test_a_page_shows_a_training_cell_beside_itself(painted_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cell = painted_folder / "cells/train/class_3/train_003.png"
    assert run(painted_folder, str(cell), "--out", "page", "--method", "layercam", "--neighbours", "4") == 0
    assert "1 cell explained; open page/train_003.html" in capsys.readouterr().out
    assert not Path("page/index.html").exists()
    shown = text_of(Path("page/train_003.html"))
    assert "LayerCAM (Jiang et al., IEEE TIP 30 (2021) 5875)" in shown
    assert "All 48 training cells were compared." in shown
    assert "Probabilities are means over views of the cell" in shown
    found = re.search(r"All 48 training cells were compared\. (\S+) (\d\.\d+) (\S+) ", shown)
    assert found
    assert found.groups() == ("class_3", "1.000", "train/class_3/train_003.png")
    shares = [float(share) for share in re.findall(r"class_\d (\d+\.\d) % ?", shown)]
    assert sum(shares) == pytest.approx(100, abs=0.5)


def test_unreadable_files_are_named_and_the_others_go_on(painted_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("cells").mkdir()
    for number, file in enumerate(sorted((painted_folder / "cells/test/class_1").iterdir())[:2]):
        (Path("cells") / f"{number}.png").write_bytes(file.read_bytes())
    Path("cells/broken.png").write_text("text")
    assert run(painted_folder, "cells", "--out", "pages", "--neighbours", "0") == 1
    caught = capsys.readouterr()
    assert "error: cells/broken.png cannot be read (is not an image" in caught.err
    assert "1 of 3 files were not explained" in caught.err
    assert "2 cells explained; open pages/index.html" in caught.out
    index = Path("pages/index.html").read_text()
    assert re.findall(r'href="(\S+)"', index) == ["0001_0.html", "0002_1.html"]
    assert "cells/broken.png cannot be read" in index
    assert "Training cells were not requested." in text_of(Path("pages/0001_0.html"))


def test_data_that_are_not_here_are_said_to_be_missing(painted_folder: Path) -> None:
    cell = painted_folder / "cells/test/class_1"
    (painted_folder / "cells").rename(painted_folder / "moved")
    try:
        cell = painted_folder / "moved/test/class_1"
        assert run(painted_folder, str(cell), "--out", "pages") == 0
        shown = text_of(sorted(Path("pages").glob("0001*.html"))[0])
        assert "The training cells are not shown:" in shown
        assert run(painted_folder, str(cell), "--out", "found", "--data.root", str(painted_folder / "moved")) == 0
        assert "All 48 training cells were compared." in text_of(sorted(Path("found").glob("0001*.html"))[0])
    finally:
        (painted_folder / "moved").rename(painted_folder / "cells")


def test_a_checkpoint_without_a_run_explains_arrays(painted_folder: Path) -> None:
    filed = find_network(Tracking(folder=str(painted_folder / "mlruns")), "efficientnet_b0").checkpoint
    Path("alone.ckpt").write_bytes(filed.read_bytes())
    network = find_network(Tracking(folder=str(painted_folder / "mlruns")), "alone.ckpt", folds=True)
    images = paint_cells(np.array([0, 5]), 50, 0.2, 1)
    found = explain_network(network, images, Path("pages"), "saliency")
    assert [cell.image for cell in found.cells] == [0, 1]
    assert [page.name for page in found.pages] == ["0001_0.html", "0002_1.html"]
    assert found.cells[0].map.shape == (32, 32)
    assert found.cells[0].photograph.shape == (50, 50, 3)
    assert sum(found.cells[0].probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert "belongs to no run, so its data are not known" in text_of(found.pages[0])


def test_folds_are_explained_together(capsys: pytest.CaptureFixture[str]) -> None:
    """Their votes, the maps of each, and the training cells of the first."""
    assert fit([*SMALL, "--trainer.max_epochs", "1", "--folds", "2"]) == 0
    Image.fromarray(paint_cells(np.array([0]), 40, 0.2, 1)[0]).save("cell.png")
    assert main(["cell.png", "--run", "efficientnet_b0", "--out", "page"]) == 0
    shown = text_of(Path("page/cell.html"))
    assert "classified by 2 folds of efficientnet_b0" in shown
    assert "training cells of the first fold were compared" in shown
    assert len(re.findall(r"\b[12] test\b", shown)) == 2
    assert main(["--faithfulness", "--cells", "10", "--method", "hirescam", "--run", "efficientnet_b0", "--out", "faith"]) == 0
    assert "10 test cells" in capsys.readouterr().out


def write_masks(folder: Path) -> None:
    """Paint cells and lay a disc over each, of which the middle is called nucleus."""
    folder.mkdir()
    for number, image in enumerate(paint_cells(np.arange(6), 48, 0.2, 9)):
        mask = cv2.circle(np.zeros((48, 48), np.uint8), (24, 24), 18, 128, -1)
        Image.fromarray(image).save(folder / f"{number:03}.bmp")
        Image.fromarray(cv2.circle(mask, (24, 24), 9, 255, -1)).save(folder / f"{number:03}.png")


def test_faithfulness_is_measured_on_the_test_set_and_on_masks(painted_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_masks(Path("masks"))
    few = ["--cells", "16", "--method", "gradcam", "--method", "layercam"]
    assert run(painted_folder, "--faithfulness", "--masks", "masks", *few, "--out", "faith") == 0
    printed = capsys.readouterr().out
    assert "16 test cells" in printed
    assert "6 cells with masks" in printed
    assert "written to faith/faithfulness.html" in printed
    found = json.loads(Path("faith/faithfulness.json").read_text())
    assert list(found["methods"]) == ["gradcam", "layercam", "centre", "edges", "random"]
    assert found["area"]["nucleus"] == pytest.approx(np.pi * 9**2 / 48**2, rel=0.1)
    assert found["area"]["cell"] == pytest.approx(np.pi * 18**2 / 48**2, rel=0.05)
    assert found["methods"]["random"]["mass_cell"]["mean"] == pytest.approx(found["area"]["cell"], abs=0.02)
    assert found["methods"]["centre"]["pointing_nucleus"]["mean"] == 1
    assert "LayerCAM" in text_of(Path("faith/faithfulness.html"))
    assert Path("faith/examples.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["a.png"], "out"),
        (["--out", "o"], "name images, folders or tables to explain, or score the methods with --faithfulness"),
        (["a.png", "--faithfulness", "--out", "o"], "takes no images, but a.png is named"),
        (["a.png", "--masks", "m", "--out", "o"], "--masks belongs to --faithfulness"),
        (["a.png", "--method", "gradcam", "--method", "saliency", "--out", "o"], "a page shows one method"),
        (["a.png", "--method", "x", "--out", "o"], "--method x does not exist. There are: gradcam"),
        (["a.png", "--neighbours", "-1", "--out", "o"], "--neighbours is -1, it must be 0 or more"),
        (["--faithfulness", "--cells", "3", "--out", "o"], "--cells is 3, it must be 10 or more"),
        (["--faithfulness", "--masks", "away", "--out", "o"], "--masks away does not exist; name a folder of images"),
        (["away.png", "--out", "o"], "away.png does not exist"),
        (["broken.png", "--out", "o"], "no image could be read: broken.png cannot be read"),
        (["a.png", "--out", "a.png"], "--out a.png cannot be written to"),
    ],
)
def test_mistakes(painted_folder: Path, capsys: pytest.CaptureFixture[str], argv: list[str], message: str) -> None:
    Path("a.png").write_bytes(next((painted_folder / "cells/test").rglob("*.png")).read_bytes())
    Path("broken.png").write_text("text")
    assert run(painted_folder, *argv) == 2
    assert message in capsys.readouterr().err
    assert not list(Path().glob("o/*.html"))
