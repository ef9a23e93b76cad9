"""A trained network in use: images of any kind in, a table of predictions out."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from bcc_lightning.argument_types import check_pixel_size
from bcc_lightning.datasets.cells import stored_side
from bcc_lightning.datasets.decoding import UnreadableImageError, decode
from bcc_lightning.datasets.depth import EIGHT
from bcc_lightning.datasets.framing import FIELD_OF_VIEW, fit_square, odd_frames, pixels_across, show_field
from bcc_lightning.errors import UserError
from bcc_lightning.modules import CellClassifier, Ensemble
from bcc_lightning.modules.checkpoint import load_classifier
from bcc_lightning.safe_names import column_name
from bcc_lightning.tracking.trained_networks import TrainedNetwork

Pixels: TypeAlias = npt.NDArray[np.uint8]

Images: TypeAlias = str | Path | Pixels | Tensor | Sequence["str | Path | Pixels"]
"""One image or several: files, arrays (H, W, 3) or (N, H, W, 3), or a tensor (N, 3, H, W); uint8 RGB."""

IMAGE_DIMENSIONS = 3
PACKED_DIMENSIONS = 3
"""Dimensions of a batch of images of several sides, (N, P, 3)."""
BATCH_SIZE = 32
"""Images that the network sees at once if no run says otherwise."""


class UnreadableFileError(UserError):
    """A file that cannot be read as an image.

    Args:
        file: the file.
        reason: why.
    """

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"{file} cannot be read ({reason}); name an image file, or leave it out")
        self.reason = reason


class TrainedClassifier:
    """A trained network, and how its run read images, so that it sees others in the same way.

    Args:
        module: the network.
        side: side in pixels to which each image is brought before the network enlarges it to what it takes; by default that.
        crop: side in pixels of the centred square that is cut out of each image first; None takes the largest.
        bits: bits of images with more than eight bits per channel, see `bcc_lightning.datasets.decoding.decode`.
        batch_size: images that the network sees at once. That of the run gives the same probabilities to the last bit.
        precision: what Lightning's trainer called it, such as ``bf16-mixed``.
        network: where the network comes from; None for one that was never filed.
        field: side in micrometres of the square that its training images show; None where the size of pixels is unknown.

    Attributes:
        device: where the network computes: a GPU if there is one.
        field_pixels: side in pixels of the square that is shown of each image, from `set_pixel_size`; None goes by `crop`.
        odd_frames: images so far whose size fits the field of view badly.
        sides: sides to which images are brought, the largest first: several where members of an ensemble were trained on
            cells of several sizes, and each sees its own.
    """

    def __init__(
        self,
        module: CellClassifier,
        side: int | None = None,
        crop: int | None = None,
        bits: int = EIGHT,
        batch_size: int = BATCH_SIZE,
        precision: str | None = None,
        network: TrainedNetwork | None = None,
        field: float | None = None,
    ) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.module = module.eval().to(self.device)
        self.side = side or module.image_size
        self.sides = member_sides(module, self.side)
        self.crop = crop
        self.bits = bits
        self.batch_size = batch_size
        self.precision = precision
        self.network = network
        self.field = field
        self.field_pixels: int | None = None
        self.odd_frames = 0

    @classmethod
    def of(cls, network: TrainedNetwork, pixel_size: float | None = None) -> "TrainedClassifier":
        """Load a network, or the folds of a cross-validation, which vote; images are read as in its run, if it has one.

        Args:
            network: the network.
            pixel_size: see `set_pixel_size`; None takes images as they are.
        """
        config: dict[str, Any] = network.config or {}
        data = (config.get("data") or {}).get("init_args") or {}
        module = fold_ensemble(network.folds) if network.folds else load_classifier(network.checkpoint)
        facts = (network.folds[0] if network.folds else network).facts
        resolution, field = facts.get("data.resolution"), facts.get(FIELD_OF_VIEW)
        found = cls(
            module,
            side=stored_side(resolution, module.image_size) if resolution else None,
            crop=data.get("crop"),
            bits=data.get("bits", EIGHT),
            batch_size=data.get("batch_size", BATCH_SIZE),
            precision=(config.get("trainer") or {}).get("precision"),
            network=network,
            field=float(field) if field else None,
        )
        if pixel_size is not None:
            found.set_pixel_size(pixel_size)
        return found

    def set_pixel_size(self, size: float) -> None:
        """Show as much of the images from now on as the training images show.

        Args:
            size: micrometres that a pixel of the images covers.

        Raises:
            UserError: it is no size, or that of the training images is unknown.
        """
        check_pixel_size(size, "--pixel_size")
        if self.field is None:
            raise UserError(
                "--pixel_size: this network was trained on images whose pixels have an unknown size, so that others cannot be "
                "brought to it; leave it out, or train with --data.pixel_size"
            )
        self.field_pixels = pixels_across(self.field, size)

    def size_notice(self) -> str:
        """Return a notice that the size of the pixels is unknown; empty where it is known or not needed."""
        if self.field is None or self.field_pixels:
            return ""
        return (
            f"each training image shows {self.field:.4g} micrometres; the size of the pixels of these images is not known, so "
            "their cells may be larger or smaller"
        )

    def __repr__(self) -> str:
        """Show architecture, image size and classes."""
        kind, classes = type(self.module).__name__, ", ".join(self.class_names)
        return f"{kind} for {self.module.image_size} pixels and the classes {classes}"

    @property
    def class_names(self) -> list[str]:
        """Names of the C classes, in the order of the probabilities."""
        return self.module.class_names

    def predict(self, images: Images, batch_size: int | None = None) -> pd.DataFrame:
        """Classify images.

        Args:
            images: one image or several, see `Images`.
            batch_size: images that the network sees at once; by default as in its run.

        Returns:
            A row per image: ``image`` (path, or number from 0) and the columns of `answers`.

        Raises:
            UserError: a file cannot be read, or an array is not uint8 of one of these shapes.
        """
        given = list(named_images(images))
        size, pixels = batch_size or self.batch_size, map(self.square, (image for _, image in given))
        found = [self.classify(np.stack(batch)) for batch in iter(lambda: list(islice(pixels, size)), [])]
        probability = torch.cat(found) if found else torch.empty(0, len(self.class_names))
        names = pd.DataFrame({"image": [name for name, _ in given]})
        return pd.concat([names, self.answers(probability)], axis=1)

    def answers(self, probability: Tensor) -> pd.DataFrame:
        """Lay out probabilities (N, C) as a table.

        Returns:
            A row per image: ``predicted`` (class name), ``probability`` (of that class), the probability of each class under its
            name, float32 in [0, 1], and ``margin``, the difference between the two largest.
        """
        largest = probability.topk(2, dim=1)
        table = pd.DataFrame({"predicted": [self.class_names[label] for label in probability.argmax(dim=1).tolist()]})
        table["probability"] = largest.values[:, 0].numpy()
        columns = pd.DataFrame(probability.numpy(), columns=list(map(column_name, self.class_names)))
        margin = pd.DataFrame({"margin": (largest.values[:, 0] - largest.values[:, 1]).numpy()})
        return pd.concat([table, columns, margin], axis=1)

    def square(self, image: str | Path | bytes | Pixels, pixel_size: float | None = None) -> Pixels:
        """Read an image as the run read its own.

        Args:
            image: a file, the content of one, or an array (H, W, 3) uint8 RGB.
            pixel_size: micrometres that a pixel of it covers; by default those of `set_pixel_size`.

        Returns:
            (S, S, 3) uint8; for several `sides` the pixels of all squares, one behind the other, (P, 3). `shown` gives the
            largest of them.

        Raises:
            UserError: the file cannot be read, or the array is of another kind.
        """
        if isinstance(image, str | Path):
            image = self._read(Path(image))
        elif isinstance(image, bytes):
            image = self.decoded(image)
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != IMAGE_DIMENSIONS or image.shape[2] != 3:  # noqa: PLR2004 - colours
            kind = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            raise UserError(f"an image is {kind}; it must be a file, or an array uint8 (H, W, 3) with values from 0 to 255")
        field = pixels_across(self.field, pixel_size) if self.field and pixel_size else self.field_pixels
        if field and odd_frames(np.array(field), np.array(min(image.shape[:2]))):
            self.odd_frames += 1
        squares = [show_field(image, side, field) if field else fit_square(image, side, self.crop) for side in self.sides]
        return squares[0] if len(squares) == 1 else np.concatenate([one.reshape(-1, 3) for one in squares])

    def shown(self, square: Pixels) -> Pixels:
        """Return an image from `square` as a person looks at it: (S, S, 3)."""
        return square if len(self.sides) == 1 else square[: self.side**2].reshape(self.side, self.side, 3)

    def decoded(self, content: bytes) -> Pixels:
        """Decode the content of an image file: (H, W, 3) uint8 RGB.

        Raises:
            UserError: it is not an image, or one that is refused.
        """
        try:
            return decode(content, self.bits)[0]
        except UnreadableImageError as error:
            raise UserError(str(error)) from error

    @torch.inference_mode()
    def classify(self, pixels: Pixels) -> Tensor:
        """Classify images as the run's own test did, with its views of each.

        Args:
            pixels: (N, S, S, 3) uint8 from `square`, as many as the network is to see at once; (N, P, 3) for several `sides`.

        Returns:
            (N, C) float32 probabilities, on the CPU.
        """
        with self._precision():
            if len(self.sides) == 1 or pixels.ndim > PACKED_DIMENSIONS:
                return self.module.probabilities(self.images(pixels)).float().cpu()
            ends = np.cumsum([side**2 for side in self.sides])
            parts = zip(self.sides, np.split(pixels, ends[:-1], axis=1), strict=True)
            images = {side: self.images(part.reshape(-1, side, side, 3)) for side, part in parts}
            return cast(Ensemble, self.module).probabilities_at(images).float().cpu()

    def images(self, pixels: Pixels) -> Tensor:
        """Bring images (N, S, S, 3) to the device as the network takes them: (N, 3, S, S) uint8."""
        return torch.from_numpy(np.require(pixels, requirements=("C", "W"))).permute(0, 3, 1, 2).to(self.device)

    def _precision(self) -> AbstractContextManager[Any]:
        if not (self.precision and self.precision.endswith("-mixed")):
            return nullcontext()
        half = self.precision == "16-mixed" and self.device.type == "cuda"  # on a CPU Lightning takes bfloat16 as well
        return torch.autocast(self.device.type, torch.float16 if half else torch.bfloat16)

    def _read(self, file: Path) -> Pixels:
        try:
            return self.decoded(file.read_bytes())
        except (UserError, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UnreadableFileError(file, reason) from error


def member_sides(module: CellClassifier, side: int) -> tuple[int, ...]:
    """List the sides at which the members of an ensemble see cells that are stored at a side; the side itself otherwise.

    A member sees cells at its own image size, or at the size of the files where that is smaller.
    """
    own = {min(member.image_size, side) for member in module.members} if isinstance(module, Ensemble) else {side}
    return tuple(sorted(own, reverse=True))


def fold_ensemble(folds: Sequence[TrainedNetwork]) -> Ensemble:
    """Let the networks of a cross-validation vote with equal weights."""
    files = [str(fold.checkpoint) for fold in folds]
    first = load_classifier(files[0])
    return Ensemble(class_names=first.class_names, image_size=first.image_size, members=list(files))


def named_images(images: Images) -> Iterator[tuple[str | int, str | Path | Pixels]]:
    """Yield each image with its path, or its number from 0."""
    if isinstance(images, Tensor):
        images = images.permute(0, 2, 3, 1).cpu().numpy()
    if isinstance(images, str | Path) or (isinstance(images, np.ndarray) and images.ndim == IMAGE_DIMENSIONS):
        images = [images]
    several: Iterable[str | Path | Pixels] = images
    for number, image in enumerate(several):
        yield (str(image), image) if isinstance(image, str | Path) else (number, image)
