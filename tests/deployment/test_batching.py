"""Images that wait for the network are joined into batches, whatever becomes of single ones."""

from collections.abc import Iterator
from concurrent.futures import CancelledError

import numpy as np
import numpy.typing as npt
import pytest
import torch

from bcc_lightning.deployment.batching import Batches, QueueFullError


class Recorder:
    """Answers each image with its first value, and records the sizes of batches."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.fault: Exception | None = None

    def __call__(self, images: npt.NDArray[np.uint8]) -> torch.Tensor:
        self.sizes.append(len(images))
        if self.fault:
            raise self.fault
        return torch.from_numpy(images[:, 0, 0, :1].astype(np.float32))


def image(value: int) -> npt.NDArray[np.uint8]:
    return np.full((2, 2, 3), value, np.uint8)


@pytest.fixture
def network() -> Recorder:
    return Recorder()


@pytest.fixture
def batches(network: Recorder) -> Iterator[Batches]:
    made = Batches(network, batch_size=4, capacity=6)
    yield made
    if made.is_working:
        made.stop()


def test_waiting_images_are_joined_and_answered_each_with_its_own(network: Recorder, batches: Batches) -> None:
    waiting = [batches.put(image(value)) for value in range(10)]
    batches.start()
    assert [found.result(10).tolist() for found in waiting] == [[float(value)] for value in range(10)]
    assert network.sizes == [4, 4, 2]
    assert (batches.batches, batches.images) == (3, 10)


def test_images_that_nobody_waits_for_any_more_are_not_classified(network: Recorder, batches: Batches) -> None:
    waiting = [batches.put(image(value)) for value in range(6)]
    for found in waiting[1:4]:
        assert found.cancel()
    batches.start()
    assert [waiting[place].result(10).tolist() for place in (0, 4, 5)] == [[0.0], [4.0], [5.0]]
    assert sum(network.sizes) == 3
    with pytest.raises(CancelledError):
        waiting[2].result(10)


def test_an_error_of_the_network_reaches_its_images_and_no_others(network: Recorder, batches: Batches) -> None:
    network.fault = RuntimeError("out of memory")
    batches.start()
    with pytest.raises(RuntimeError, match="out of memory"):
        batches.put(image(1)).result(10)
    network.fault = None
    assert batches.put(image(2)).result(10).tolist() == [2.0]
    assert batches.is_working


def test_what_waits_is_answered_before_the_end(network: Recorder, batches: Batches) -> None:
    waiting = [batches.put(image(value)) for value in range(6)]
    batches.start()
    batches.stop()
    assert all(found.done() for found in waiting)
    assert not batches.is_working


def test_no_more_images_are_admitted_than_there_are_places(batches: Batches) -> None:
    with batches.admit(4):
        with batches.admit(2), pytest.raises(QueueFullError), batches.admit(1):
            pass
        with batches.admit(2):
            assert batches.admitted == 6
    assert batches.admitted == 0
