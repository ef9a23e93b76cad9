"""How fast a training goes, and how long it will still take: arithmetic on a clock, without Lightning."""

import time
from collections import deque
from collections.abc import Callable
from math import inf

RECENT = 50
"""Batches whose mean is the present speed: other processes come and go."""

VALIDATION_SHARE = 1 / 3
"""Seconds of a validation batch as a share of those of a training batch, until one is measured: there is no backward pass."""


class Pace:
    """Measures the batches of a training.

    Args:
        clock: returns seconds.

    Attributes:
        done: training batches of this epoch that have ended.
        batches: all of them; infinite where that is unknown.
        validated: validation batches of this epoch that have ended.
        to_validate: all of them.
        epochs_after: epochs after this one, also a part of one; infinite where nothing limits them.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.done = self.validated = 0
        self.batches = self.to_validate = self.epochs_after = 0.0
        self._first = True
        self._trained: deque[tuple[float, int]] = deque(maxlen=RECENT)  # seconds and images
        self._validated: deque[float] = deque(maxlen=RECENT)
        self._epochs: deque[float] = deque(maxlen=RECENT)
        self._in_epoch = 0.0, 0  # seconds and images of the training batches of this epoch
        self._begun = self._last = clock()

    def begin_epoch(self, batches: float, to_validate: float, epochs_after: float) -> None:
        """Begin an epoch; arguments as the attributes."""
        self.batches, self.to_validate, self.epochs_after = batches, to_validate, epochs_after
        self.done = self.validated = 0
        self._in_epoch = 0.0, 0
        self._begun = self._last = self.clock()

    def train(self, images: int) -> None:
        """Count a training batch that has just ended."""
        lap = self._lap(), images
        self._in_epoch = self._in_epoch[0] + lap[0], self._in_epoch[1] + images
        if self._first and self._trained:  # the first one waits for loading processes and for what is compiled
            self._first, self._trained = False, deque([lap], maxlen=RECENT)
        else:
            self._trained.append(lap)
        self.done += 1

    def begin_validation(self) -> None:
        """Begin the validation."""
        self.validated = 0
        self._last = self.clock()

    def validate(self) -> None:
        """Count a validation batch that has just ended."""
        self._validated.append(self._lap())
        self.validated += 1

    def resume(self) -> None:
        """Go on with training batches, behind what was none, such as a validation in the middle of an epoch."""
        self._last = self.clock()

    def end_epoch(self) -> None:
        """Keep how long the epoch took with all that belongs to it."""
        self._epochs.append(self.epoch_seconds)

    @property
    def epoch_seconds(self) -> float:
        """Seconds since the epoch began."""
        return self.clock() - self._begun

    @property
    def images_per_second(self) -> float | None:
        """Training images per second at present; None before the first batch."""
        trained = list(self._trained)  # a copy, since another thread may ask
        seconds = sum(seconds for seconds, _ in trained)
        return sum(images for _, images in trained) / seconds if seconds else None

    @property
    def images_per_second_in_epoch(self) -> float:
        """Training images per second in this epoch so far, without its validation."""
        seconds, images = self._in_epoch
        return images / seconds if seconds else 0.0

    @property
    def left_in_epoch(self) -> float | None:
        """Seconds until this epoch ends, its validation included; None where that is unknown."""
        if not self._trained or self.batches == inf:
            return None
        batch, validation = self._batch_seconds()
        left = max(0.0, self.batches - self.done) * batch + max(0.0, self.to_validate - self.validated) * validation
        present = batch if self.done < self.batches else validation
        return max(0.0, left - min(present, self.clock() - self._last))

    @property
    def left(self) -> float | None:
        """Seconds until the training ends; None where that is unknown."""
        here = self.left_in_epoch
        if here is None or self.epochs_after == inf:
            return None
        batch, validation = self._batch_seconds()
        estimated = self.batches * batch + self.to_validate * validation
        epochs = list(self._epochs)
        epoch = sum(epochs) / len(epochs) if epochs else estimated
        return here + self.epochs_after * epoch

    def _batch_seconds(self) -> tuple[float, float]:
        """Return the mean seconds of a training and of a validation batch."""
        trained, validated = list(self._trained), list(self._validated)
        batch = sum(seconds for seconds, _ in trained) / len(trained)
        return batch, sum(validated) / len(validated) if validated else VALIDATION_SHARE * batch

    def _lap(self) -> float:
        now = self.clock()
        seconds, self._last = now - self._last, now
        return seconds
