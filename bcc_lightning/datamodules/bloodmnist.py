"""BloodMNIST: 17,092 cells in eight classes with an official split.

Yang et al., Sci Data 10 (2023) 41, doi:10.1038/s41597-022-01721-8; cells from Acevedo et al., Data in Brief 30 (2020) 105474.
"""

from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bcc_lightning.argument_types import check_types
from bcc_lightning.datamodules.base import CellDataModule
from bcc_lightning.datasets.cells import CellImages, Names, check_labels
from bcc_lightning.datasets.classes import EIGHT_CELL_CLASSES
from bcc_lightning.datasets.listing import SPLITS
from bcc_lightning.datasets.npz import as_cells, file_hash, read_npz
from bcc_lightning.datasets.places import bloodmnist_file, official_md5, refuse_missing_bloodmnist, where_to_get_bloodmnist
from bcc_lightning.errors import UserError


class BloodMNIST(CellDataModule):
    """BloodMNIST's official split, from the file of one of its four resolutions.

    Args:
        resolution: side in pixels of the file's images. ``28`` with ``image_size 224`` is the enlarged 28 of most papers, not
            the native 224.
        verify_checksum: accept only the official file; if false, another file is accepted and the run marks it as unofficial.
        download: download the official file if it is missing.
        **base: see `CellDataModule`.
    """

    class_names = EIGHT_CELL_CLASSES
    folder = "bloodmnist"

    def __init__(
        self,
        resolution: Literal[28, 64, 128, 224] = 28,
        verify_checksum: bool = True,
        download: bool = False,
        **base: Any,  # noqa: ANN401 - the base class's own arguments
    ) -> None:
        check_types("data", BloodMNIST, locals())
        super().__init__(**base)
        self.file_resolution = resolution
        self.file = bloodmnist_file(self.root, resolution)
        self.official_md5 = official_md5(resolution)
        self.verify_checksum = verify_checksum
        self.download = download

    def prepare_data(self) -> None:
        """Download the file if `download` is set, and check it.

        Raises:
            UserError: the file is missing, cannot be downloaded, or is not the official one.
        """
        if not self.file.is_file() and self.download:
            self._fetch()
        refuse_missing_bloodmnist(self.root, self.file_resolution)
        if self.verify_checksum and self.md5 != self.official_md5:
            raise UserError(
                f"{self.file} has MD5 {self.md5}, the official file has {self.official_md5}; replace it, "
                "or accept it as unofficial with --data.verify_checksum false"
            )

    @cached_property
    def md5(self) -> str:
        """The file's MD5, in hexadecimal."""
        return file_hash(self.file, "md5")

    def read(self) -> CellImages:
        """Read the official training, validation and test set."""
        arrays = read_npz(self.file, [f"{split}_{kind}" for split in SPLITS for kind in ("images", "labels")])
        parts = [self._part(split, arrays) for split in SPLITS]
        sizes = [len(labels) for _, labels in parts]
        return CellImages(
            np.concatenate([images for images, _ in parts]),
            np.concatenate([labels for _, labels in parts]),
            Names.of(f"{split}/{row:05d}" for split, size in zip(SPLITS, sizes, strict=True) for row in range(size)),
            splits=np.repeat(np.arange(len(SPLITS), dtype=np.int8), sizes),
        )

    def fingerprint(self) -> str:
        """Hash the file."""
        return file_hash(self.file, "sha256")

    def facts(self) -> dict[str, str]:
        """Add whether the file is the official one."""
        return {**super().facts(), "data.official": str(self.md5 == self.official_md5).lower()}

    def setup(self, stage: str | None = None) -> None:
        """Check the file, then read it."""
        if not self.file.is_file():
            self.prepare_data()
        super().setup(stage)

    def _part(self, split: str, arrays: dict[str, Any]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        source = f"{self.file} ({split})"
        images, labels = as_cells(arrays.pop(f"{split}_images"), arrays[f"{split}_labels"], source)
        check_labels(labels, self.class_names, source)
        return images, labels

    def _fetch(self) -> None:
        import medmnist

        self.root.mkdir(parents=True, exist_ok=True)
        try:
            medmnist.BloodMNIST("train", download=True, root=str(self.root), size=self.file_resolution)
        except (RuntimeError, OSError) as error:
            problem = f"{self.file} could not be downloaded ({error!s:.200})"
            raise where_to_get_bloodmnist(problem, self.file_resolution) from error
