"""Requests that come at the same time are answered together: one thread owns the network and takes what waits."""

import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bcc_lightning.prediction.classifier import Pixels, TrainedClassifier

Probabilities = npt.NDArray[np.float32]

WAIT_SECONDS = 0.004
"""How long the first image of a batch waits for others."""


class QueueFullError(RuntimeError):
    """More images wait than the server holds."""


@dataclass
class Waiting:
    """An image that waits for its answer."""

    image: Pixels
    answer: "Future[Probabilities]" = field(default_factory=Future)


class Batcher:
    """Classifies images from many threads with one network.

    Args:
        classifier: the network.
        most: images that may wait.

    Attributes:
        batches: number of times the network was asked.
    """

    def __init__(self, classifier: TrainedClassifier, most: int = 4096) -> None:
        self.classifier = classifier
        self.most = most
        self.batches = 0
        self._queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._waiting = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def submit(self, images: list[Pixels]) -> "list[Future[Probabilities]]":
        """Put images into the queue, all or none.

        Args:
            images: from `TrainedClassifier.square`.

        Returns:
            For each image its probabilities (C,), once they are there.

        Raises:
            QueueFullError: too many wait already.
        """
        with self._lock:
            if self._waiting + len(images) > self.most:
                raise QueueFullError
            self._waiting += len(images)
        waiting = [Waiting(image) for image in images]
        for one in waiting:
            self._queue.put(one)
        return [one.answer for one in waiting]

    def close(self) -> None:
        """Answer what waits, then stop."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (gathered := self._gather()) is not None:
            batch = [one for one in gathered if one.answer.set_running_or_notify_cancel()]  # the others were given up
            with self._lock:
                self._waiting -= len(gathered)
            if not batch:
                continue
            try:
                answers = self.classifier.classify(np.stack([one.image for one in batch])).numpy()
            except Exception as error:  # the thread must live; each request reports it
                for one in batch:
                    one.answer.set_exception(error)
                continue
            self.batches += 1
            for one, answer in zip(batch, answers, strict=True):
                one.answer.set_result(answer)

    def _gather(self) -> list[Waiting] | None:
        """Take the first image that waits and those that follow at once; None at the end."""
        batch: list[Waiting] = []
        while len(batch) < self.classifier.batch_size:
            try:
                one = self._queue.get(timeout=WAIT_SECONDS if batch else None)
            except queue.Empty:
                break
            if one is None:
                if not batch:
                    return None
                self._queue.put(None)
                break
            batch.append(one)
        return batch
