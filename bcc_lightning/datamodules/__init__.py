"""Data modules for Lightning: one base class and one thin class per data set.

How images are listed, decoded, cached and divided belongs to `datasets`, which knows no Lightning.
"""

from bcc_lightning.datamodules.an2dl import AN2DL
from bcc_lightning.datamodules.base import CellDataModule
from bcc_lightning.datamodules.bloodmnist import BloodMNIST
from bcc_lightning.datamodules.cell_folder import CellFolder
from bcc_lightning.datamodules.cell_table import CellTable
from bcc_lightning.datamodules.mixed import Mixed
from bcc_lightning.datamodules.pbc import PBC
from bcc_lightning.datamodules.raabin_wbc import RaabinWBC
from bcc_lightning.datamodules.synthetic_smear import SyntheticSmear

__all__ = [
    "AN2DL",
    "PBC",
    "BloodMNIST",
    "CellDataModule",
    "CellFolder",
    "CellTable",
    "Mixed",
    "RaabinWBC",
    "SyntheticSmear",
]
