"""The archive that the AN2DL challenge takes: a trained network, and the program that loads it without this package."""

import zipfile
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor, nn

from bcc_lightning.architectures.image_input import scale_and_resize
from bcc_lightning.datamodules.an2dl import AN2DL
from bcc_lightning.errors import UserError
from bcc_lightning.files import whole_file
from bcc_lightning.modules.base import CellClassifier
from bcc_lightning.modules.checkpoint import load_classifier

SIDE = 96
"""Side in pixels of the challenge's images."""

MODEL_PY = '''"""Loads the network beside this file; needs torch, in the version it was written with or a later one, and numpy."""

import os

import numpy as np
import torch


class Model:
    def __init__(self):
        folder = os.path.dirname(os.path.abspath(__file__))
        self.network = torch.export.load(os.path.join(folder, "network.pt2")).module()

    def predict(self, images):
        """Classify images (N, 96, 96, 3), values 0 to 255: (N,) labels 0 to 7."""
        labels = []
        with torch.no_grad():
            for start in range(0, len(images), 64):
                batch = torch.from_numpy(np.ascontiguousarray(images[start : start + 64]).astype(np.uint8))
                labels.append(self.network(batch.permute(0, 3, 1, 2)).argmax(dim=1).numpy())
        return np.concatenate(labels) if labels else np.zeros(0, dtype=np.int64)
'''


class Classify(nn.Module):
    """The whole way from pixels to logits, as one network to be exported.

    Args:
        module: the trained module.
    """

    def __init__(self, module: CellClassifier) -> None:
        super().__init__()
        self.network = module.network
        self.image_size = module.image_size

    def forward(self, images: Tensor) -> Tensor:
        """Classify images: (B, 3, S, S) uint8 to logits (B, C)."""
        logits: Tensor = self.network(scale_and_resize(images, self.image_size))
        return logits


def write_submission(checkpoint: Path, out: Path) -> None:
    """Write an archive with ``model.py``, whose class ``Model`` predicts, and the network that it loads.

    Args:
        checkpoint: of a module that was trained on the challenge's classes.
        out: the archive.

    Raises:
        UserError: the checkpoint knows other classes.
    """
    module = load_classifier(checkpoint).eval()
    if tuple(module.class_names) != AN2DL.class_names:
        raise UserError(
            f"{checkpoint} knows the classes {', '.join(module.class_names)}; the challenge has {', '.join(AN2DL.class_names)}"
        )
    example = torch.zeros(2, 3, SIDE, SIDE, dtype=torch.uint8)
    with torch.no_grad(), whole_file(out) as draft, zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.py", MODEL_PY)
        exported = torch.export.export(Classify(module).eval(), (example,), dynamic_shapes=({0: torch.export.Dim("cells")},))
        network = BytesIO()
        torch.export.save(exported, network)
        archive.writestr("network.pt2", network.getvalue())
