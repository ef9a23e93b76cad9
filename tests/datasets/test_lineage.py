"""Finer labels from the names of PBC's files, and networks that are trained with their tree."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import bcc_lightning as bcc
from bcc_lightning.datasets.batches import CellBatch
from bcc_lightning.datasets.classes import EIGHT_CELL_CLASSES
from bcc_lightning.errors import UserError
from bcc_lightning.fit import main
from bcc_lightning.modules.losses import level_loss
from bcc_lightning.modules.recipe import Loss
from tests.miniature import QUICK, TINY

BEGINNINGS = {"ig": ["PMY", "MY", "MMY", "IG"], "neutrophil": ["BNE", "SNE", "NEUTROPHIL"]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Eight class folders, six files each of every beginning."""
    rng = np.random.default_rng(0)
    for name in EIGHT_CELL_CLASSES:
        for beginning in BEGINNINGS.get(name, [name[:2].upper()]):
            for number in range(6):
                file = tmp_path / "pbc" / name / f"{beginning}_{number}.jpg"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(256, size=(32, 32, 3), dtype=np.uint8)).save(file)
    return tmp_path / "pbc"


def test_stages_are_read_from_the_names(root: Path) -> None:
    data = bcc.PBC(root=str(root), image_size=32, labels="fine", val_share=0.2, test_share=0.3)
    assert data.levels is None
    found = {
        path.rpartition("/")[2]: data.class_names[label] for path, label in zip(data.cells.ids, data.cells.labels, strict=True)
    }
    assert found["SNE_0.jpg"] == "segmented neutrophil"
    assert found["MMY_5.jpg"] == "metamyelocyte"
    assert found["BA_1.jpg"] == "basophil"
    assert "IG_0.jpg" not in found
    assert len(found) == 6 * 11
    assert "Left out: 12 cells whose file names say no stage of maturation." in data.notices()


def test_a_beginning_that_nobody_knows(root: Path) -> None:
    (root / "ig" / "XMY_1.jpg").write_bytes((root / "ig" / "MY_1.jpg").read_bytes())
    with pytest.raises(UserError, match=r"is of the class ig, but its name begins with 'XMY', and not with PMY, MY, MMY, IG"):
        _ = bcc.PBC(root=str(root), image_size=32, labels="hierarchical").cells


def test_five_classes_cannot_be_divided(root: Path) -> None:
    with pytest.raises(UserError, match=r"labels.*fine.* divides eight classes"):
        bcc.PBC(root=str(root), image_size=32, labels="fine", split="wbcatt")


@pytest.mark.parametrize("mixed", [False, True])
def test_loss_of_a_level_is_that_of_summed_probabilities(mixed: bool) -> None:
    logits = torch.tensor([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])
    batch = CellBatch(
        torch.empty(0), torch.tensor([0, 2]), torch.tensor([1.0, 3.0]), torch.tensor([0, 1]),
        torch.tensor([[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]]) if mixed else None,
    )  # fmt: skip
    p = logits.softmax(dim=1)
    nodes = torch.stack([p[:, 0] + p[:, 1], p[:, 2]], dim=1)  # the first two classes are one node
    share = torch.tensor([[0.75, 0.25], [0.0, 1.0]]) if mixed else torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    expected = (-(share * nodes.log()).sum(dim=1) * batch.weight).sum() / 4
    torch.testing.assert_close(level_loss(logits, batch, Loss(), torch.tensor([0, 0, 1])), expected)


@pytest.mark.slow
def test_a_hierarchical_run_has_metrics_at_each_level(root: Path) -> None:
    few = ["--trainer.max_epochs", "1", "--data.val_share", "0.2", "--data.test_share", "0.3"]
    flags = ["--data", "PBC", "--data.root", str(root), "--data.labels", "hierarchical"]
    assert main([*TINY, *flags, *QUICK, *few]) == 0
    (run,) = bcc.runs()
    metrics = run.summary.metrics
    assert metrics["test/accuracy"] <= metrics["test/accuracy_lineage"]
    assert sum(metrics[f"test/mistakes_{height}"] for height in (1, 2, 3)) == pytest.approx(1 - metrics["test/accuracy"])
    assert "test/accuracy_coarse" in run.summary.intervals
    classifier = bcc.load(run)
    assert len(classifier.class_names) == 11
    assert set(classifier.module.levels) == {"coarse", "lineage"}
