"""One backbone and one linear layer: the plain way to use a pretrained network."""

from torch import Tensor, nn

from bcc_lightning.architectures.backbone import Backbone


class TransferNet(nn.Module):
    """Pooled features of a backbone, classified by one linear layer.

    Args:
        backbone: gives the features.
        num_classes: number of classes C.
    """

    def __init__(self, backbone: Backbone, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.num_features, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Classify images.

        Args:
            images: (B, 3, S, S), float32 in [0, 1].

        Returns:
            Logits (B, C), float32.
        """
        logits: Tensor = self.head(self.backbone(images))
        return logits
