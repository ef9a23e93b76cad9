"""A run whose classes and further test set are called what no place takes as it is: nothing collides, crashes or vanishes."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow.entities import Run

from bcc_lightning.datamodules import CellTable
from bcc_lightning.datasets.classes import EIGHT_CELL_CLASSES, WHITE_CELL_CLASSES
from bcc_lightning.errors import UserError
from bcc_lightning.fit import main
from bcc_lightning.safe_names import class_of_column, metric_key, metric_of_key
from bcc_lightning.tracking.logger import CURVES
from tests.datamodules.miniatures import write_folder
from tests.miniature import QUICK, artifacts_of, runs_in

pytestmark = [pytest.mark.xdist_group("odd_names"), pytest.mark.slow]  # one process trains for all

CLASSES = ["label", "CD34+", "CD34*", "./x", "x_step", "dataloader_idx_0", "<script>alert(1)</script>", "[/x] :smile: $\\frac{$"]
SET = "ward #7 [red]"


def write_table(folder: Path, table: str, seed: int) -> Path:
    """Write painted cells and a table that gives them the odd names."""
    write_folder(folder, EIGHT_CELL_CLASSES, per_class=12 if seed == 0 else 2, seed=seed)
    files = sorted(folder.rglob("*.png"))
    labels = [CLASSES[EIGHT_CELL_CLASSES.index(file.parent.name)] for file in files]
    pd.DataFrame({"path": [file.relative_to(folder).as_posix() for file in files], "label": labels}).to_csv(
        folder / table, index=False
    )
    return folder / table


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    table = write_table(folder / "cells", "cells.csv", seed=0)
    other = write_table(folder / "other", f"{SET}.csv", seed=1)
    data = ["--data", "CellTable", "--data.table", str(table), "--data.test_on", json.dumps([str(other)])]
    renamed = ["--data.class_map", json.dumps({"CD34+": "CD34+", "CD34*": "CD34*"})]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("BCC_CACHE_DIR", str(folder / "cache"))
        flags = [*QUICK, "--trainer.max_epochs", "1", "--tracking.run_name", "a [red]", "--summary", "out.json"]
        assert main(["--exp", "an2dl_cnn", *data, *renamed, *flags]) == 0
    return folder


@pytest.mark.parametrize(("name", "message"), [("a\nb", r"class 'a\\nb', which has control characters")])
def test_what_cannot_be_written_is_refused_before_training(tmp_path: Path, name: str, message: str) -> None:
    root = write_folder(tmp_path / "cells", WHITE_CELL_CLASSES[:2] + EIGHT_CELL_CLASSES[-1:])
    files = sorted(root.rglob("*.png"))
    labels = [{"monocyte": name, "basophil": name}.get(file.parent.name, file.parent.name) for file in files]
    table = pd.DataFrame({"path": [file.relative_to(root).as_posix() for file in files], "label": labels})
    table.to_csv(root / "cells.csv", index=False)
    with pytest.raises(UserError, match=message):
        CellTable(table=str(root / "cells.csv"), image_size=32).setup()


@pytest.fixture
def run(folder: Path) -> Run:
    (run,) = runs_in(folder / "mlruns")
    return run


@pytest.fixture
def summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    return found


def artifact(run: Run, name: str) -> Path:
    return Path(str(run.info.artifact_uri).removeprefix("file://")) / name


@pytest.mark.parametrize("prefix", ["test", f"test_on/{SET}"])
def test_every_class_keeps_its_own_figure(run: Run, summary: dict[str, Any], prefix: str) -> None:
    table = pd.read_parquet(artifact(run, f"predictions/{'test' if prefix == 'test' else 'ward =237 =5Bred=5D'}.parquet"))
    columns = [column for column in table.columns if column not in {"id", "label"}]
    predicted = table[columns].idxmax(axis=1).map(class_of_column)
    expected = {f"{prefix}/recall/{name}": (predicted == name)[table["label"] == name].mean() for name in CLASSES}
    own = {name: value for name, value in summary["metrics"].items() if name.startswith(f"{prefix}/recall/")}
    assert own == pytest.approx(expected)
    logged = {metric_of_key(key): value for key, value in run.data.metrics.items()}
    assert {name: logged[name] for name in expected} == pytest.approx(expected)


def test_all_metrics_are_logged_under_their_keys(run: Run, summary: dict[str, Any]) -> None:
    keys = {metric_key(name if name.startswith("test") else f"{CURVES}{name}") for name in summary["metrics"]}
    assert keys <= run.data.metrics.keys()
    assert {"test/recall/CD34:plus-sign:", "test/recall/.:solidus:x", "test/recall/label"} <= run.data.metrics.keys()
    assert run.data.params["data.class_map.CD34:plus-sign:"] == "CD34+"


def test_columns_are_turned_back_into_classes(run: Run) -> None:
    table = pd.read_parquet(artifact(run, "predictions/test.parquet"))
    assert list(table.columns[:2]) == ["id", "label"]
    assert "class:label" in table.columns
    assert sorted(map(class_of_column, table.columns[2:])) == sorted(CLASSES)
    assert table[table.columns[2:]].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)


def test_files_and_pages(run: Run) -> None:
    assert "figures/confusion_matrix_ward =237 =5Bred=5D.png" in artifacts_of(run)
    assert "explain/gradcam.png" in artifacts_of(run)
    page = artifact(run, "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "recall/&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert run.info.run_name == "a [red]"
