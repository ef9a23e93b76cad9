"""What a server answers: predictions of images, maps, and the differential of counted cells."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bcc_lightning.datasets.decoding import UnreadableImageError, image_facts
from bcc_lightning.deployment.batching import Batches, Pixels, Probabilities, QueueFullError
from bcc_lightning.deployment.limits import Limits, busy
from bcc_lightning.differential.counting import Confusion, differential
from bcc_lightning.errors import UserError
from bcc_lightning.explanation.choices import DEFAULT_METHOD
from bcc_lightning.explanation.colours import enlarged, overlaid
from bcc_lightning.explanation.maps import maps_of
from bcc_lightning.explanation.page import unit, uri
from bcc_lightning.prediction.classifier import TrainedClassifier

PANEL = 224
"""Side in pixels of an image and of the map over it."""


class Sent(NamedTuple):
    """An image of a request: the name that the client gave it, and the content of the file."""

    name: str
    content: bytes


class Classified(NamedTuple):
    """An image as the network reads it, (S, S, 3), and its probabilities (C,)."""

    image: Pixels
    probabilities: Probabilities


class Answering:
    """Answers requests with a trained network: images are decoded in threads, the network computes in one.

    That one should also have loaded the network: OpenMP keeps threads of its own for each thread that computes, and those of two
    take the processor from one another.

    Args:
        classifier: the trained network.
        limits: limits of size.
        confusion: its confusions on its validation set, by which a differential is corrected; None where they are unknown.
        batch_size: most images that the network sees at once; by default as in its run.
        network: the thread in which the network computes; by default a new one.
    """

    def __init__(
        self,
        classifier: TrainedClassifier,
        limits: Limits,
        confusion: Confusion | None = None,
        batch_size: int | None = None,
        network: ThreadPoolExecutor | None = None,
    ) -> None:
        self.classifier = classifier
        self.limits = limits
        self.confusion = confusion
        self.batches = Batches(self._classify, batch_size or classifier.batch_size, limits.queue)
        self._network = network or ThreadPoolExecutor(1, thread_name_prefix="network")
        self._threads = ThreadPoolExecutor(limits.threads, thread_name_prefix="images")

    def start(self) -> None:
        """Start the threads; the network sees a first image, so that a fault shows now."""
        side = self.classifier.side
        self._classify(np.zeros((1, side, side, 3), np.uint8))
        self.batches.start()

    def stop(self) -> None:
        """Answer what waits, and end the threads."""
        self.batches.stop()
        self._network.shutdown()
        self._threads.shutdown(cancel_futures=True)

    async def answer(self, images: Sequence[Sent], with_maps: bool = False) -> list[dict[str, Any]]:
        """Classify images.

        Args:
            images: the images.
            with_maps: whether each answer has the image and a map over it.

        Returns:
            For each image ``filename, predicted, probability, probabilities, margin, error``, with maps also ``image`` and
            ``map``, PNG files in URIs. Of an image that cannot be read only name and error are filled in.

        Raises:
            HTTPException: there is no room for the images.
        """
        try:
            with self.batches.admit(len(images)):
                found = await asyncio.gather(*(self._read(one.content) for one in images))
                answers = [self._laid_out(one.name, result) for one, result in zip(images, found, strict=True)]
                if with_maps:
                    await self._add_maps(answers, found)
                return answers
        except QueueFullError as error:
            raise busy(f"{self.batches.admitted} images wait for the network") from error

    async def count(self, counts: dict[str, int], of: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Compute the differential of counted cells.

        Args:
            counts: class to number of cells; classes may be missing.
            of: classes that make up the 100 %; all by default.

        Returns:
            For each class ``class, count, share, low, high, corrected, corrected_low, corrected_high``; None where unknown.

        Raises:
            UserError: a class is unknown, or a count is not allowed.
        """
        names = self.classifier.class_names
        if unknown := [name for name in counts if name not in names]:
            raise UserError(f"'{unknown[0]}' is not a class of this network; there are {', '.join(names)}")
        table = pd.DataFrame([[counts.get(name, 0) for name in names]], index=["cells"], columns=names)
        run = asyncio.get_running_loop().run_in_executor
        found = await run(self._threads, differential, table, self.confusion, 0.95, of)
        rows = found.drop(columns="slide").astype(object)
        return [{str(name): value for name, value in row.items()} for row in rows.where(found.notna(), None).to_dict("records")]

    def _classify(self, images: Pixels) -> Tensor:
        return self._network.submit(self.classifier.classify, images).result()

    async def _read(self, content: bytes) -> Classified | str:
        """Decode and classify an image, or return why it cannot be read."""
        try:
            image = await asyncio.get_running_loop().run_in_executor(self._threads, self._square, content)
        except (UserError, UnreadableImageError) as error:
            return without_flags(str(error))
        return Classified(image, await asyncio.wrap_future(self.batches.put(image)))

    def _square(self, content: bytes) -> Pixels:
        if not content:
            raise UnreadableImageError("is empty")
        facts = image_facts(content)
        if facts.width * facts.height > self.limits.pixels:
            size, most = f"{facts.width} x {facts.height}", f"{self.limits.pixels:,}"
            raise UnreadableImageError(f"has {size} pixels, more than {most}; crop single cells from it")
        return self.classifier.square(content)

    def _laid_out(self, name: str, found: Classified | str) -> dict[str, Any]:
        answer: dict[str, Any] = dict.fromkeys(("filename", "predicted", "probability", "probabilities", "margin", "error"))
        answer["filename"] = name
        if isinstance(found, str):
            return answer | {"error": found}
        if not np.isfinite(found.probabilities).all():
            return answer | {"error": "the network gives no probabilities for it, since its values overflow"}
        values = found.probabilities
        second, first = np.partition(values, -2)[-2:]
        names = self.classifier.class_names
        return answer | {
            "predicted": names[int(values.argmax())],
            "probability": shortest(first),
            "probabilities": {name: shortest(value) for name, value in zip(names, values, strict=True)},
            "margin": shortest(first - second),
        }

    async def _add_maps(self, answers: list[dict[str, Any]], found: Sequence[Classified | str]) -> None:
        seen = [one for one in found if isinstance(one, Classified)]
        if not seen:
            return
        mapped = iter(await asyncio.get_running_loop().run_in_executor(self._threads, self._mapped, seen))
        for answer, one in zip(answers, found, strict=True):
            answer["image"], answer["map"] = next(mapped) if isinstance(one, Classified) else (None, None)

    def _mapped(self, cells: Sequence[Classified]) -> list[tuple[str, str]]:
        """Draw each cell, and the map of its predicted class over it."""
        module = self.classifier.module
        labels = torch.tensor([int(one.probabilities.argmax()) for one in cells])
        shown = [self.classifier.shown(one.image) for one in cells]
        images = torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2)
        # In the network's thread, since the hooks of a map would otherwise also see the images of a batch.
        maps = self._network.submit(
            lambda: maps_of(module, module.prepare(images.to(module.device)), labels, DEFAULT_METHOD)
        ).result()
        drawn = [np.clip(enlarged(unit(image), PANEL), 0, 1) for image in shown]
        return [(uri(image), uri(overlaid(image, values))) for image, values in zip(drawn, maps, strict=True)]


def shortest(value: np.float32) -> float:
    """Return a float32 as the shortest decimal number that tells it from its neighbours, as the tables of `predict` do."""
    return float(str(value))


def without_flags(reason: str) -> str:
    """Leave out the advice to set a flag: whoever sends an image did not start the server."""
    return reason.partition(", or ")[0] if "--" in reason else reason
