"""Images of several requests, joined into batches: a network classifies many at once faster than one after another."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

Pixels: TypeAlias = npt.NDArray[np.uint8]
Probabilities: TypeAlias = npt.NDArray[np.float32]

WAIT_SECONDS = 0.005
"""For how long a batch that is not full waits for images of other requests."""


class QueueFullError(Exception):
    """No more images may wait."""


@dataclass(frozen=True)
class Waiting:
    """An image (S, S, 3) that waits for the network, and where its probabilities (C,) go."""

    image: Pixels
    found: "Future[Probabilities]" = field(default_factory=Future)


class Batches:
    """A thread that classifies what waits in a queue, in batches.

    Args:
        classify: images (N, S, S, 3) uint8 to probabilities (N, C).
        batch_size: most images of a batch.
        capacity: most images that may be admitted at once.
        wait: seconds for which a batch that is not full waits for more.

    Attributes:
        admitted: images that have been admitted and not yet answered.
        batches: batches that have been classified.
        images: images in them.
    """

    def __init__(self, classify: Callable[[Pixels], Tensor], batch_size: int, capacity: int, wait: float = WAIT_SECONDS) -> None:
        self.classify = classify
        self.batch_size = batch_size
        self.capacity = capacity
        self.wait = wait
        self.admitted = 0
        self.batches = 0
        self.images = 0
        self._counting = threading.Lock()
        self._queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="network", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Classify what waits, then end the thread."""
        self._queue.put(None)
        self._thread.join()

    @property
    def is_working(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @contextmanager
    def admit(self, images: int) -> Iterator[None]:
        """Keep places for images while the context is open.

        Raises:
            QueueFullError: there are not as many.
        """
        with self._counting:
            if self.admitted + images > self.capacity:
                raise QueueFullError
            self.admitted += images
        try:
            yield
        finally:
            with self._counting:
                self.admitted -= images

    def put(self, image: Pixels) -> "Future[Probabilities]":
        """Queue an image (S, S, 3); the future gets its probabilities (C,), or the error of the network."""
        waiting = Waiting(image)
        self._queue.put(waiting)
        return waiting.found

    def _work(self) -> None:
        while batch := self._gather():
            wanted = [one for one in batch if one.found.set_running_or_notify_cancel()]
            if wanted:
                self._answer(wanted)

    def _gather(self) -> list[Waiting]:
        """Wait for a batch; an empty one means the end."""
        batch: list[Waiting] = []
        until = float("inf")
        while len(batch) < self.batch_size:
            try:
                one = self._queue.get(timeout=max(0.0, until - time.monotonic()) if batch else None)
            except queue.Empty:
                break
            if one is None:
                if batch:
                    self._queue.put(None)  # for the next call
                break
            until = until if batch else time.monotonic() + self.wait
            batch.append(one)
        return batch

    def _answer(self, batch: list[Waiting]) -> None:
        try:
            found = self.classify(np.stack([one.image for one in batch])).numpy()
        except Exception as error:  # whatever it is, the requests get it and the thread goes on
            for one in batch:
                one.found.set_exception(error)
            return
        self.batches += 1
        self.images += len(batch)
        for one, probabilities in zip(batch, found, strict=True):
            one.found.set_result(probabilities)
