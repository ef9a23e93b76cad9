"""Inception-v3 and Xception side by side, each with a layer of 1024 units, whose outputs are joined and classified.

"Decoding Cellular Complexity", FICC 2025: each branch is first trained alone; the inputs of their last layers are then joined
to 2048 features. Inception-v3: Szegedy et al. 2016, arXiv 1512.00567; Xception: Chollet 2017, arXiv 1610.02357.
With 8 classes 21,785,568 + 20,806,952 + 2 x (2,048 x 1,024 + 1,024) + (2,048 x 512 + 512) + (512 x 8 + 8) = 47,842,064
parameters.
"""

import torch
from torch import Tensor, nn

from bcc_lightning.architectures.head import ClassifierHead, Head
from bcc_lightning.architectures.pretrained import load_backbone_weights, load_strictly, without_heads
from bcc_lightning.architectures.transfer import TransferNet

TRAINED = "network."
"""Prefix of the keys in a checkpoint of this project."""

LAST_LAYER = ("head.classifier.",)


class InceptionXceptionNet(nn.Module):
    """Features of two branches, joined and classified.

    Args:
        inception: the first branch, without a last layer.
        xception: the second branch, likewise.
        head: classifies the joined features.
        num_classes: number of classes C.
    """

    def __init__(self, inception: TransferNet, xception: TransferNet, head: Head, num_classes: int) -> None:
        super().__init__()
        self.inception = inception
        self.xception = xception
        self.head = ClassifierHead(head, inception.head.num_features + xception.head.num_features, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Classify images: (B, 3, S, S) float32 in [0, 1] to logits (B, C) float32."""
        logits: Tensor = self.head(torch.cat([self.inception(images), self.xception(images)], dim=1))
        return logits


def load_branch(branch: TransferNet, state: dict[str, Tensor], file: str) -> None:
    """Load the weights of a branch that was trained alone; its last layer is left out.

    Args:
        branch: a network without a last layer.
        state: weights of a checkpoint of ``TransferClassifier`` with the same head, or timm's of the backbone.
        file: the file they come from, for the message.

    Raises:
        UserError: the weights are those of another architecture.
    """
    trained = {key.removeprefix(TRAINED): value for key, value in state.items() if key.startswith(TRAINED)}
    if trained:
        load_strictly(branch, without_heads(trained, LAST_LAYER), file)
    else:
        load_backbone_weights(branch.backbone.network, state, file)
