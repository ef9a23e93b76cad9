"""What every data set promises, over all of them: on painted miniatures, and on real cells where there are some."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bcc_lightning.datamodules
from bcc_lightning.datamodules import AN2DL, PBC, BloodMNIST, CellDataModule, CellFolder
from bcc_lightning.datasets.listing import SPLITS
from bcc_lightning.datasets.spelling import SetName
from bcc_lightning.testing import DataModuleTests
from bcc_lightning.testing.data_modules import pixels
from tests.datamodules.miniatures import MINIATURES

PUBLISHED_SETS: dict[str, tuple[SetName, ...]] = {
    "synthetic_smear": SPLITS,
    "bloodmnist": SPLITS,
    "pbc_wbcatt": SPLITS,
    "cell_folder": SPLITS,
    "raabin_wbc": ("test",),  # validation cells are cut from its training set
}
"""The sets that a miniature brings along; those of the others are divided by seed."""


def test_every_data_set_has_a_miniature() -> None:
    painted = {type(make(Path("cells") / name)).__name__ for name, make in MINIATURES.items()}
    assert painted == set(bcc_lightning.datamodules.__all__) - {"CellDataModule"}


class TestMiniatures(DataModuleTests):
    """Each data set in miniature."""

    @pytest.fixture(autouse=True, params=MINIATURES.items(), ids=list(MINIATURES))
    def miniature(self, request: pytest.FixtureRequest, tmp_path: Path) -> None:
        name, self.paint = request.param
        self.folder = tmp_path / name
        self.published_sets = PUBLISHED_SETS.get(name, ())

    def make(self, **arguments: Any) -> CellDataModule:
        data: CellDataModule = self.paint(self.folder, **arguments)
        return data


# On real cells ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("decoded"))


def real_sets(folder: Path, cache: str) -> dict[str, CellDataModule]:
    files: dict[str, Any] = {"image_size": 32, "cache_dir": cache}
    return {
        "bloodmnist_rebuilt": BloodMNIST(root=str(folder / "bloodmnist_rebuilt"), verify_checksum=False),
        "pbc_96": PBC(root=str(folder / "pbc_96"), **files),
        "pbc_original": PBC(root=str(folder / "pbc_original"), crop=200, **files),
        "wbcatt": PBC(root=str(folder / "pbc_96"), split="wbcatt", wbcatt=str(folder / "wbcatt"), **files),
        "bccd_crops": CellFolder(root=str(folder / "bccd_crops"), val_share=0.3, test_share=0.35, **files),
    }


# Cells by split; PBC and WBCAtt without the 18 and 15 files that are byte-identical copies or have one under another label.
REAL_CELLS = {
    "bloodmnist_rebuilt": [11959, 1712, 3421],
    "pbc_96": [11941, 1712, 3421],
    "pbc_original": [560, 80, 160],
    "wbcatt": [6158, 1028, 3097],
    "bccd_crops": [122, 106, 123],
}


@pytest.mark.parametrize("name", REAL_CELLS)
@pytest.mark.xdist_group("decoded")
def test_real_sets_are_divided_without_a_shared_cell(name: str, real_data: Path, cache: str) -> None:
    data = real_sets(real_data, cache)[name]
    data.setup()
    assert [len(data.splits[part]) for part in SPLITS] == REAL_CELLS[name]
    if name != "bloodmnist_rebuilt":  # official parts stay as they are, copies included
        assert not pixels(data.splits["train"]) & pixels(data.splits["test"])


def test_challenge_file_made_of_real_cells_loses_its_aliens_only(real_data: Path, tmp_path: Path) -> None:
    with np.load(real_data / "bloodmnist_rebuilt" / "bloodmnist.npz") as arrays:
        images, labels = arrays["train_images"], arrays["train_labels"]
    aliens = np.random.default_rng(1).integers(0, 256, (2, 28, 28, 3)).astype(np.uint8)
    polluted = np.concatenate([images, np.repeat(aliens, [1600, 200], axis=0)])
    np.savez(tmp_path / "training_set.npz", images=polluted, labels=np.r_[labels, np.full((1800, 1), 5, labels.dtype)])
    data = AN2DL(root=str(tmp_path), image_size=28)
    data.setup()
    dropped = {int(cell) for cell in data.dropped}
    assert set(range(len(images), len(polluted))) <= dropped
    assert len(dropped) <= 1800 + 18  # cells of PBC that have a copy
    shares = [len(data.splits[part]) / len(data.cells) for part in SPLITS]
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=0.001)
