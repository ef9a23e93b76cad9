"""Supervised contrastive learning: an encoder with a projection for pre-training and a classifier for afterwards.

Khosla et al. 2020, arXiv 2004.11362. The projection's output lies on the unit sphere; it is not used to classify.
"""

from torch import Tensor, nn
from torch.nn.functional import normalize

from bcc_lightning.architectures.backbone import Backbone
from bcc_lightning.architectures.head import Head
from bcc_lightning.architectures.transfer import TransferNet


class SupConNet(TransferNet):
    """A backbone with a head, and a projection beside the head.

    Args:
        backbone: the encoder, with pooled features.
        num_classes: number of classes C.
        head: the classifier.
        projection: units of the projection, D.
    """

    def __init__(self, backbone: Backbone, num_classes: int, head: Head, projection: int) -> None:
        super().__init__(backbone, num_classes, head)
        self.projection = nn.Sequential(nn.Linear(backbone.num_features, projection), nn.ReLU())

    def project(self, features: Tensor) -> Tensor:
        """Bring features (B, F) to points (B, D) on the unit sphere, float32."""
        return normalize(self.projection(features), dim=1)
