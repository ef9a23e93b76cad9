"""What remains on other cells of what the validation set promises, and what cannot be known."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from bcc_lightning import PlainCNN
from bcc_lightning.datasets.cells import CellImages
from bcc_lightning.datasets.smear_painter import paint_cells
from bcc_lightning.engine.outside import measure_outside
from bcc_lightning.evaluation.metrics import TEST, VALIDATION, Predictions


def painted(count: int, seed: int) -> CellImages:
    labels = np.arange(count, dtype=np.int64) % 3
    return CellImages(paint_cells(labels, 32, 0.2, seed), labels, [f"{seed}/{row}" for row in range(count)])


@pytest.mark.parametrize(("validation", "is_known"), [(19, False), (20, True)])
def test_the_share_of_unfamiliar_cells_needs_validation_cells(validation: int, is_known: bool) -> None:
    """One of 19 cells and the cell itself are 5 %, and nothing is less familiar than that."""
    sets = {VALIDATION: painted(validation, 1), TEST: painted(12, 2)}
    model = PlainCNN(class_names=["a", "b", "c"], image_size=32).eval()
    answers = {
        name: Predictions(torch.arange(len(cells)), torch.from_numpy(cells.labels), torch.rand(len(cells), 3).softmax(1))
        for name, cells in sets.items()
    }
    model.test_predictions = answers
    data = SimpleNamespace(
        external={}, image_size=32, native_side=32, batch_size=16, splits={"train": painted(30, 3)}, evaluated_cells=sets.get
    )
    found, reference = measure_outside(model, cast(Any, data))
    assert ("test/abstained" in found) == is_known
    assert "test/coverage_95" in found
    assert reference is not None  # a larger share can still be asked for
    assert len(reference.validation) == validation
