"""On real cells: the rebuilt BloodMNIST has the published counts, and is not taken for the official file."""

from pathlib import Path

import pytest

from bcc_lightning.datamodules import BloodMNIST
from bcc_lightning.errors import UserError

# Cells per class of BloodMNIST's official parts (Yang et al. 2023); the rebuilt file follows them.
PUBLISHED = {
    "train": [852, 2181, 1085, 2026, 849, 993, 2330, 1643],
    "val": [122, 312, 155, 290, 122, 143, 333, 235],
    "test": [244, 624, 311, 579, 243, 284, 666, 470],
}


def test_rebuilt_file_has_the_published_counts_and_is_marked_as_unofficial(real_data: Path) -> None:
    data = BloodMNIST(root=str(real_data / "bloodmnist_rebuilt"), image_size=64, verify_checksum=False)
    data.prepare_data()
    data.setup()
    assert {name: cells.counts(8).tolist() for name, cells in data.splits.items()} == PUBLISHED
    assert data.facts()["data.official"] == "false"
    assert data.facts()["data.resolution"] == "28 enlarged to 64"


def test_rebuilt_file_is_refused_as_the_official_one(real_data: Path) -> None:
    with pytest.raises(UserError, match="the official file has 7053d0359d879ad8a5505303e11de1dc"):
        BloodMNIST(root=str(real_data / "bloodmnist_rebuilt")).prepare_data()
