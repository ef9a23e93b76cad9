"""A trained network in use: images of any kind in, a table of predictions out."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from bcc_lightning.datasets.cache import fit_square
from bcc_lightning.datasets.decoding import UnreadableImageError, decode
from bcc_lightning.datasets.depth import EIGHT
from bcc_lightning.errors import UserError
from bcc_lightning.modules.base import CellClassifier
from bcc_lightning.modules.checkpoint import load_classifier
from bcc_lightning.safe_names import column_name
from bcc_lightning.tracking.trained_networks import TrainedNetwork

Pixels: TypeAlias = npt.NDArray[np.uint8]

Images: TypeAlias = str | Path | Pixels | Tensor | Sequence["str | Path | Pixels"]
"""One image or several: files, arrays (H, W, 3) or (N, H, W, 3), or a tensor (N, 3, H, W); uint8 RGB."""

IMAGE_DIMENSIONS = 3


class TrainedClassifier:
    """A trained network with what it needs to read images as it was trained.

    Args:
        module: the network, in evaluation mode.
        crop: side in pixels of the centred square that is cut out of each image first; None takes the largest.
        bits: bits of images with more than eight bits per channel, see `bcc_lightning.datasets.decoding.decode`.
    """

    def __init__(self, module: CellClassifier, crop: int | None = None, bits: int = EIGHT) -> None:
        self.module = module
        self.crop = crop
        self.bits = bits

    @classmethod
    def of(cls, network: TrainedNetwork) -> "TrainedClassifier":
        """Load a network; images are read as in its run, if it has one."""
        data = ((network.config or {}).get("data") or {}).get("init_args") or {}
        return cls(load_classifier(network.checkpoint), data.get("crop"), data.get("bits", EIGHT))

    def __repr__(self) -> str:
        """Show architecture, image size and classes."""
        kind, classes = type(self.module).__name__, ", ".join(self.class_names)
        return f"{kind} for {self.module.image_size} pixels and the classes {classes}"

    @property
    def class_names(self) -> list[str]:
        """Names of the C classes, in the order of the probabilities."""
        return self.module.class_names

    def predict(self, images: Images, batch_size: int = 64) -> pd.DataFrame:
        """Classify images.

        Args:
            images: one image or several, see `Images`.
            batch_size: images that the network sees at once.

        Returns:
            A row per image: ``image`` (path, or number from 0), ``predicted`` (class name), ``probability`` (of that class), and
            the probability of each class under its name, float32 in [0, 1].

        Raises:
            UserError: a file cannot be read, or an array is not uint8 of one of these shapes.
        """
        given = list(self._names(images))
        probability = torch.cat([self._classify(batch) for batch in self._batches([image for _, image in given], batch_size)])
        best = probability.max(dim=1)
        table = pd.DataFrame({"image": [name for name, _ in given]})
        table["predicted"] = [self.class_names[label] for label in best.indices.tolist()]
        table["probability"] = best.values.numpy()
        columns = pd.DataFrame(probability.numpy(), columns=list(map(column_name, self.class_names)))
        return pd.concat([table, columns], axis=1)

    def _names(self, images: Images) -> Iterator[tuple[str | int, str | Path | Pixels]]:
        if isinstance(images, Tensor):
            images = images.permute(0, 2, 3, 1).cpu().numpy()
        if isinstance(images, str | Path) or (isinstance(images, np.ndarray) and images.ndim == IMAGE_DIMENSIONS):
            images = [images]
        for number, image in enumerate(images):
            yield (str(image), image) if isinstance(image, str | Path) else (number, image)

    def _batches(self, images: Iterable[str | Path | Pixels], batch_size: int) -> Iterator[list[Pixels]]:
        """Read images and gather those that follow one another and have the same side."""
        for _, alike in groupby(map(self._square, images), key=len):
            batch = list(alike)
            yield from (batch[start : start + batch_size] for start in range(0, len(batch), batch_size))

    def _square(self, image: str | Path | Pixels) -> Pixels:
        if isinstance(image, str | Path):
            image = self._read(Path(image))
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != IMAGE_DIMENSIONS or image.shape[2] != 3:  # noqa: PLR2004 - colours
            kind = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            raise UserError(f"an image is {kind}; it must be a file, or an array uint8 (H, W, 3) with values from 0 to 255")
        side = min(self.module.image_size, self.crop or image.shape[0], *image.shape[:2])
        return fit_square(image, side, self.crop)

    def _read(self, file: Path) -> Pixels:
        try:
            return decode(file.read_bytes(), self.bits)[0]
        except (UnreadableImageError, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UserError(f"{file} cannot be read ({reason}); name an image file, or leave it out") from error

    @torch.inference_mode()
    def _classify(self, batch: list[Pixels]) -> Tensor:
        images = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).to(self.module.device)
        return self.module.forward_views(images).softmax(dim=1).float().cpu()
