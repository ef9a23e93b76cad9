"""Balancing in a data module: the training set grows or shrinks, the other sets do not."""

import numpy as np
import pytest
import torch

from bcc_lightning.balancing.balance import Balance
from bcc_lightning.datamodules import SyntheticSmear


def smear(balance: Balance) -> SyntheticSmear:
    data = SyntheticSmear(
        train_cells=120, val_cells=16, test_cells=16, image_size=24, batch_size=16, augment="standard", balance=balance
    )
    # Painted classes are equal: of the 15 cells of each, keep 2 of the first, 3 of the second, up to 9 of the last.
    labels = data.splits["train"].labels
    kept = [np.flatnonzero(labels == number)[: number + 2] for number in range(8)]
    data.splits["train"] = data.splits["train"].part(np.sort(np.concatenate(kept)))
    data.setup()
    return data


@pytest.mark.parametrize("balance", ["oversample", "undersample", "smote"])
def test_only_the_training_set_is_balanced(balance: Balance) -> None:
    data, plain = smear(balance), smear("none")
    labels = torch.cat([batch.label for batch in data.train_dataloader()])
    # 8 * 9 = 72 or 8 * 2 = 16 draws: no batch of 16 is left with one image, which would be dropped.
    assert torch.bincount(labels).tolist() == [2 if balance == "undersample" else 9] * 8
    for other in ("val", "test"):
        assert data.splits[other].labels.tolist() == plain.splits[other].labels.tolist()  # type: ignore[index]


def test_cells_that_come_again_look_different() -> None:
    images = torch.cat([batch.image for batch in smear("oversample").train_dataloader()])
    assert len(torch.unique(images.flatten(1), dim=0)) == len(images)
