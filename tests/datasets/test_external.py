"""Further test sets: their own metrics, the right labels under other names, and no cell that was trained on."""

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run

from bcc_lightning.datamodules import CellFolder
from bcc_lightning.datasets.classes import EIGHT_CELL_CLASSES, WHITE_CELL_CLASSES, label_map
from bcc_lightning.datasets.external import names_of
from bcc_lightning.datasets.framing import fit_square
from bcc_lightning.errors import UserError
from bcc_lightning.fit import main
from tests.datamodules.miniatures import write_folder
from tests.miniature import SMALL, artifacts_of, runs_in

pytestmark = [pytest.mark.xdist_group("external"), pytest.mark.slow]  # one process trains for all


def test_names_are_mapped_whatever_way_they_are_spelled() -> None:
    found = label_map(["Lymphocytes", "NE", "thrombocyte", "WBC x"], EIGHT_CELL_CLASSES, {"WBC x": "ig"}, "a set")
    assert [EIGHT_CELL_CLASSES[label] for label in found] == ["lymphocyte", "neutrophil", "platelet", "ig"]


def test_every_white_cell_class_is_one_of_the_eight() -> None:
    assert [EIGHT_CELL_CLASSES[i] for i in label_map(WHITE_CELL_CLASSES, EIGHT_CELL_CLASSES, {}, "a set")] == list(
        WHITE_CELL_CLASSES
    )


def test_a_class_without_counterpart() -> None:
    with pytest.raises(UserError, match=r"a set holds the class blast, which is not among .*--data.class_map '\{blast: NAME\}'"):
        label_map(["monocyte", "blast"], EIGHT_CELL_CLASSES, {}, "a set")


def test_images_are_cropped_as_those_of_the_training_are(tmp_path: Path) -> None:
    """Files of 40 pixels lose their margins; of those with 20 pixels nothing can be cut off."""
    root = write_folder(tmp_path / "own", WHITE_CELL_CLASSES, per_class=9, size=40)
    large = write_folder(tmp_path / "large", WHITE_CELL_CLASSES, per_class=1, size=40, seed=3)
    small = write_folder(tmp_path / "small", WHITE_CELL_CLASSES, per_class=1, size=20, seed=4)
    data = CellFolder(root=str(root), crop=24, image_size=24, test_on=[str(large), str(small)])
    data.setup("test")
    for folder, square in ((large, 24), (small, 20)):
        cells = data.evaluated_cells(folder.name)
        for position, name in enumerate(cells.ids):
            pixels = cv2.cvtColor(cv2.imread(str(folder / name)), cv2.COLOR_BGR2RGB)
            margin = (len(pixels) - square) // 2
            expected = pixels[margin : margin + square, margin : margin + square]
            found = cells.take(slice(position, position + 1))[0]
            assert np.array_equal(found, expected if square == 24 else fit_square(expected, len(found)))


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two further test sets: five classes under short names, and two of which one is renamed."""
    folder = tmp_path_factory.mktemp("external")
    short = {"basophil": "Ba", "eosinophil": "Eo", "lymphocyte": "Ly", "monocyte": "Mo", "neutrophil": "Ne"}
    write_folder(folder / "sets" / "clinic", WHITE_CELL_CLASSES, per_class=3, seed=8, **short)
    write_folder(folder / "ward", ("monocyte", "platelet"), per_class=2, seed=9, platelet="PLT-x")
    others = f"[clinic, {folder / 'ward'}]"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("BCC_CACHE_DIR", str(folder / "cache"))
        patch.setenv("BCC_DATA_DIR", str(folder / "sets"))
        flags = ["--trainer.max_epochs", "1", "--data.test_on", others, "--data.class_map", "{PLT-x: platelet}"]
        assert main([*SMALL, *flags, "--summary", "out.json"]) == 0
    return folder


@pytest.fixture
def run(tested: Path) -> Run:
    return runs_in(tested / "mlruns")[0]


def predictions(run: Run, name: str) -> pd.DataFrame:
    return pd.read_parquet(Path(str(run.info.artifact_uri).removeprefix("file://")) / "predictions" / f"{name}.parquet")


@pytest.mark.parametrize(("name", "cells"), [("clinic", 15), ("ward", 4)])
def test_each_set_has_metrics_of_its_own(run: Run, tested: Path, name: str, cells: int) -> None:
    table = predictions(run, name)
    assert len(table) == cells
    predicted = table[list(EIGHT_CELL_CLASSES)].to_numpy().argmax(axis=1)
    right = np.array([EIGHT_CELL_CLASSES[i] for i in predicted]) == table["label"].to_numpy()
    assert run.data.metrics[f"test_on/{name}/accuracy"] == pytest.approx(right.mean())
    summary = json.loads((tested / "out.json").read_text())
    low, high = summary["intervals"][f"test_on/{name}/accuracy"]
    assert low <= right.mean() <= high
    recalls = {key.rsplit("/", 1)[1] for key in run.data.metrics if key.startswith(f"test_on/{name}/recall/")}
    assert recalls == set(table["label"])


def test_labels_are_those_of_the_folders(run: Run) -> None:
    expected = {
        "Ba": "basophil",
        "Eo": "eosinophil",
        "Ly": "lymphocyte",
        "Mo": "monocyte",
        "Ne": "neutrophil",
        "PLT-x": "platelet",
    }
    for name in ("clinic", "ward"):
        for row in predictions(run, name).itertuples():
            folder = str(row.id).split("/")[0]
            assert expected.get(folder, folder) == row.label


def test_figures_of_each_set_are_filed(run: Run) -> None:
    assert {
        "figures/confusion_matrix_clinic.png",
        "figures/confusion_matrix_ward.png",
        "predictions/test.parquet",
    } <= artifacts_of(run)


def test_main_metrics_stay_those_of_the_test_part(run: Run) -> None:
    assert len(predictions(run, "test")) == 37
    assert run.data.metrics["test/accuracy"] == pytest.approx(
        (predictions(run, "test")[list(EIGHT_CELL_CLASSES)].idxmax(axis=1) == predictions(run, "test")["label"]).mean(), abs=1e-6
    )


def test_cells_that_are_trained_on_are_refused(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "cells", WHITE_CELL_CLASSES)
    other = write_folder(tmp_path / "other", WHITE_CELL_CLASSES, seed=1)
    copied = next((root / "monocyte").iterdir())
    (other / "monocyte" / "again.png").write_bytes(copied.read_bytes())
    with pytest.raises(UserError, match=r"shares 1 of its 61 images with .*monocyte/again.png"):
        CellFolder(root=str(root), image_size=32, test_on=[str(other)]).setup()


def test_a_set_that_does_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BCC_DATA_DIR", raising=False)
    root = write_folder(tmp_path / "cells", WHITE_CELL_CLASSES)
    with pytest.raises(UserError, match=r"--data.test_on nowhere: neither nowhere nor data/nowhere exists"):
        CellFolder(root=str(root), image_size=32, test_on=["nowhere"]).setup()


def test_of_a_divided_folder_only_the_test_part_is_read(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "cells", WHITE_CELL_CLASSES)
    for seed, part in enumerate(("train", "val", "test"), start=1):
        write_folder(tmp_path / "other" / part, WHITE_CELL_CLASSES, per_class=seed, seed=seed)
    data = CellFolder(root=str(root), image_size=32, test_on=[str(tmp_path / "other")])
    data.setup()
    assert len(data.external["other"]) == 15
    assert all(cell.startswith("test/") for cell in data.external["other"].ids)


def test_two_sets_of_one_name(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "cells", WHITE_CELL_CLASSES)
    places = [tmp_path / lab / "hospital" / "ward" for lab in "ab"]
    for place in places:
        place.mkdir(parents=True)
    with pytest.raises(UserError, match=r"--data.test_on .*/a/hospital/ward, .*/b/hospital/ward would have the same name"):
        CellFolder(root=str(root), image_size=32, test_on=[str(place) for place in places]).setup()


@pytest.mark.parametrize(
    ("places", "names"),
    [
        (["/lab/ward.7", "/lab/ward.8", "/lab/ward.csv"], ["ward.7", "ward.8", "ward"]),
        (["/other_lab/test"], ["other_lab"]),
        (["/other_lab/Validation", "/third/x/Testing/test.csv"], ["other_lab", "x"]),
        (["/lab/Test-A", "/lab/Test-B"], ["Test-A", "Test-B"]),
        (["/a/ward", "/b/ward", "/c/clinic"], ["a-ward", "b-ward", "clinic"]),
        (["/a/Ward", "/b/ward"], ["a-Ward", "b-ward"]),
        (["/a/caf\u00e9", "/b/cafe\u0301"], ["a-caf\u00e9", "b-cafe\u0301"]),
        (["/a/test", "/b/test", "/x/../c/./val/"], ["a", "b", "c"]),
    ],
)
def test_sets_are_named_by_their_places(places: list[str], names: list[str]) -> None:
    assert names_of([Path(place) for place in places]) == names


@pytest.mark.parametrize(
    "places", [["/a/b/ward", "/c/b/ward"], ["/a/ward", "/a/ward/"], ["/a-x", "/a/x", "/b/x"], ["/"], ["/test"]]
)
def test_sets_that_cannot_be_named_apart(places: list[str]) -> None:
    with pytest.raises(UserError, match=r"would have the same name in the run, or none; rename one of the folders"):
        names_of([Path(place) for place in places])


def test_the_folder_that_one_is_in(tmp_path: Path) -> None:
    assert names_of([Path()]) == names_of([Path("test")]) == [tmp_path.name]
