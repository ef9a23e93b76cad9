"""LightningModules: one base class, one thin class per architecture."""

from bcc_lightning.modules.base import CellClassifier
from bcc_lightning.modules.efficient_swin import EfficientSwin
from bcc_lightning.modules.ensemble import Ensemble
from bcc_lightning.modules.inception_xception import InceptionXception
from bcc_lightning.modules.plain_cnn import PlainCNN
from bcc_lightning.modules.sup_con import SupConClassifier
from bcc_lightning.modules.transfer_classifier import TransferClassifier
from bcc_lightning.modules.u_net import UNetClassifier

__all__ = [
    "CellClassifier",
    "EfficientSwin",
    "Ensemble",
    "InceptionXception",
    "PlainCNN",
    "SupConClassifier",
    "TransferClassifier",
    "UNetClassifier",
]
