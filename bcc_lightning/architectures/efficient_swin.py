"""EfficientSwin: a Swin transformer and an EfficientNet see the same cell; one linear layer classifies their features.

Paper: "EfficientSwin: A Hybrid Model for Blood Cell Classification with saliency maps visualization"; code of 2024 by
T. Patel et al. With Swin-T (768 features) and EfficientNet-B0 (1280 features) and 8 classes:
27,519,354 + 4,007,548 + (2,048 x 8 + 8) = 31,543,294 parameters.
"""

import torch
from torch import Tensor, nn

from bcc_lightning.architectures.backbone import Backbone


class EfficientSwinNet(nn.Module):
    """Pooled features of two backbones, joined and classified by one linear layer.

    Args:
        swin: the transformer branch.
        cnn: the convolutional branch.
        num_classes: number of classes C.
    """

    def __init__(self, swin: Backbone, cnn: Backbone, num_classes: int) -> None:
        super().__init__()
        self.swin = swin
        self.cnn = cnn
        self.head = nn.Linear(swin.num_features + cnn.num_features, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Classify images.

        Args:
            images: (B, 3, S, S), float32 in [0, 1].

        Returns:
            Logits (B, C), float32.
        """
        logits: Tensor = self.head(torch.cat([self.swin(images), self.cnn(images)], dim=1))
        return logits
