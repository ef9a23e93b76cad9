"""A trained network as one module that needs nothing else: pixels of any size in, probabilities out.

It does within the graph what `TrainedClassifier` does with OpenCV: cut out the central square, shrink it by area averaging or
enlarge it bilinearly, and round to whole pixel values.
"""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from bcc_lightning.modules import CellClassifier, Ensemble
from bcc_lightning.modules.checkpoint import build_classifier, describe_classifier
from bcc_lightning.prediction.classifier import TrainedClassifier

BRIGHTEST = 255


class Standalone(nn.Module):
    """Classifies uint8 images (N, H, W, 3) of any size; gives probabilities (N, C) float32.

    Args:
        classifier: the trained network, and how its run read images.
    """

    def __init__(self, classifier: TrainedClassifier) -> None:
        super().__init__()
        self.classifier = in_float32(classifier.module)
        self.side, self.sides = classifier.side, classifier.sides
        self.crop = classifier.crop

    def forward(self, images: Tensor) -> Tensor:
        """Classify images: (N, H, W, 3) uint8 RGB to (N, C)."""
        square = self.central_square(images).float()
        pixels = {side: self.resize(square, side).permute(0, 3, 1, 2).to(torch.uint8) for side in self.sides}
        if isinstance(self.classifier, Ensemble):
            return self.classifier.probabilities_at(pixels)
        return self.classifier.probabilities(pixels[self.side])

    def central_square(self, images: Tensor) -> Tensor:
        """Cut out the central square: (N, H, W, 3) to (N, P, P, 3)."""
        height, width = images.shape[1:3]
        square = torch.sym_min(height, width)
        if self.crop is not None:
            square = torch.sym_min(square, self.crop)
        top, left = (height - square) // 2, (width - square) // 2
        places = torch.arange(square, device=images.device)  # slices would be guarded against squares when they are traced
        return images.index_select(1, places + top).index_select(2, places + left)

    def resize(self, pixels: Tensor, side: int) -> Tensor:
        """Bring squares to a side at which the run stored its cells: (N, P, P, 3) to (N, S, S, 3), whole numbers."""
        weights = resize_weights(pixels.shape[1], side)
        rows = torch.einsum("sp,npqc->nsqc", weights, pixels)
        means = torch.einsum("sq,npqc->npsc", weights, rows)
        halved = torch.ones(pixels.shape[1]).sum() == 2 * side  # only then OpenCV rounds halves up, else to even numbers
        return torch.where(halved, (means + 0.5).floor(), means.round()).clamp(0, BRIGHTEST)


def resize_weights(square: Any, side: int) -> Tensor:  # noqa: ANN401 - a number, or a symbol of one while exporting
    """Compute how much each of P old pixels counts in each of S new ones: (S, P), rows sum to 1.

    Args:
        square: P; larger than S means area averaging, smaller bilinear interpolation.
        side: S.
    """
    new, old = torch.arange(side, dtype=torch.float32)[:, None], torch.arange(square, dtype=torch.float32)[None]
    number = torch.ones_like(old).sum()
    scale = number / side
    area = (torch.minimum((new + 1) * scale, old + 1) - torch.maximum(new * scale, old)).clamp(min=0) / scale
    centre = torch.minimum(((new + 0.5) * scale - 0.5).clamp(min=0), number - 1)
    linear = (1 - (centre - old).abs()).clamp(min=0)
    return torch.where(number >= side, area, linear)


def in_float32(module: CellClassifier) -> CellClassifier:
    """Return a copy that computes in float32 throughout, since bfloat16 is a matter of the processor it was trained on."""
    description = describe_classifier(module)
    copy = build_classifier(deepcopy(with_float32(description)))
    copy.load_state_dict(module.state_dict())
    return copy.eval().requires_grad_(False)


def with_float32(description: dict[str, Any]) -> dict[str, Any]:
    """Set the precision in the description of a module, and in those of its members."""
    arguments = {**description["init_args"], "precision": "32"}
    if "members" in arguments:
        arguments["members"] = [with_float32(member) for member in arguments["members"]]
    return {**description, "init_args": arguments}
