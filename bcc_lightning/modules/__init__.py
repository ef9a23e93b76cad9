"""LightningModules: one base class, one thin class per architecture."""

from bcc_lightning.modules.base import CellClassifier
from bcc_lightning.modules.efficient_swin import EfficientSwin
from bcc_lightning.modules.ensemble import Ensemble
from bcc_lightning.modules.transfer_classifier import TransferClassifier

__all__ = ["CellClassifier", "EfficientSwin", "Ensemble", "TransferClassifier"]
