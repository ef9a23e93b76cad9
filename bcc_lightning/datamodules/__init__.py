"""Data modules: one base class, one thin class per data set."""

from bcc_lightning.datamodules.base import CellDataModule
from bcc_lightning.datamodules.bloodmnist import BloodMNIST
from bcc_lightning.datamodules.synthetic_smear import SyntheticSmear

__all__ = ["BloodMNIST", "CellDataModule", "SyntheticSmear"]
