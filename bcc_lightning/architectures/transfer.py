"""One backbone and a head: the usual way to use a pretrained network."""

from torch import Tensor, nn
from torch.nn.functional import normalize

from bcc_lightning.architectures.backbone import Backbone
from bcc_lightning.architectures.head import LINEAR, ClassifierHead, Head


class TransferNet(nn.Module):
    """Features of a backbone, classified by a head.

    Args:
        backbone: computes the features; unpooled if the head pools.
        num_classes: number of classes C; 0 returns the inputs of the head's last layer.
        head: the head.
    """

    def __init__(self, backbone: Backbone, num_classes: int, head: Head = LINEAR) -> None:
        super().__init__()
        self.backbone = backbone
        side = backbone.map_side() if head.pooling == "flatten" else 1
        self.head = ClassifierHead(head, backbone.num_features, num_classes, side)

    def forward(self, images: Tensor) -> Tensor:
        """Classify images.

        Args:
            images: (B, 3, S, S), float32 in [0, 1].

        Returns:
            Logits (B, C), float32.
        """
        logits: Tensor = self.head(self.backbone(images))
        return logits


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
        """Project features (B, F) to points (B, D) on the unit sphere, float32."""
        return normalize(self.projection(features), dim=1)
