"""LightningModules: one base class and one thin class per architecture, the recipe of a training, losses and checkpoints.

The networks themselves belong to `architectures`; what happens between epochs belongs to `callbacks`.
"""

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
