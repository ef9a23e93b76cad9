"""Networks whose features are used: a timm backbone with published weights, or a trained network up to its last layer."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from bcc_lightning.architectures.backbone import Backbone
from bcc_lightning.architectures.image_input import scale_and_resize
from bcc_lightning.explanation.neighbours import inputs_of, last_layers
from bcc_lightning.modules.base import CellClassifier
from bcc_lightning.prediction.classifier import Pixels, TrainedClassifier
from bcc_lightning.tracking.trained_networks import TrainedNetwork


class BackboneFeatures(nn.Module):
    """A backbone for whole images: (N, 3, H, W) uint8 to (N, F) float32."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        """Compute features."""
        features: Tensor = self.backbone(scale_and_resize(images, self.backbone.image_size))
        return features


class NetworkFeatures(nn.Module):
    """What the last layer of a trained network gets: (N, 3, H, W) uint8 to (N, F) float32; voting networks side by side."""

    def __init__(self, module: CellClassifier) -> None:
        super().__init__()
        self.module = module
        self.layers = last_layers(module)

    def forward(self, images: Tensor) -> Tensor:
        """Compute features."""
        with inputs_of(self.layers) as seen:
            self.module(images)
        return torch.cat([seen[place].flatten(1).float() for place in range(len(self.layers))], dim=1)


@dataclass(frozen=True)
class Extractor:
    """A network whose features are used.

    Attributes:
        name: of the backbone, or title of the run.
        origin: where its weights come from.
        side: side in pixels at which it wants cells stored.
        network: images (N, 3, S, S) uint8 to features (N, F) float32.
        trained: the trained network; None for a backbone.
    """

    name: str
    origin: str
    side: int
    network: nn.Module
    trained: TrainedNetwork | None = None

    @classmethod
    def of_backbone(cls, name: str, image_size: int, pretrained: bool = True, weights: str | None = None) -> "Extractor":
        """Build a backbone; arguments and errors as `Backbone`."""
        backbone = Backbone(name, image_size, pretrained, weights)
        return cls(name, str(backbone.origin or "random weights"), image_size, on_device(BackboneFeatures(backbone)))

    @classmethod
    def of_network(cls, network: TrainedNetwork) -> "Extractor":
        """Load a trained network.

        Raises:
            UserError: it does not end in a linear layer.
        """
        classifier = TrainedClassifier.of(network)
        features = on_device(NetworkFeatures(classifier.module))
        return cls(network.title, f"run {network.run_id or network.name}", classifier.side, features, network)

    @cached_property
    def sha256(self) -> str:
        """Hash of all weights, which tells networks apart whatever file they come from."""
        digest = hashlib.sha256()
        for name, value in sorted(self.network.state_dict().items()):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(value.detach().cpu().numpy()).tobytes())
        return digest.hexdigest()

    @torch.inference_mode()
    def features(self, pixels: Pixels) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        """Compute the features of cells (N, S, S, 3) uint8: (N, F) float32."""
        device = next(self.network.parameters()).device
        images = torch.from_numpy(np.require(pixels, requirements=("C", "W"))).permute(0, 3, 1, 2).to(device)
        return np.asarray(self.network(images).cpu().numpy(), np.float32)


def on_device(network: nn.Module) -> nn.Module:
    """Return a network in evaluation mode, on a GPU if there is one."""
    return network.eval().to("cuda" if torch.cuda.is_available() else "cpu")
