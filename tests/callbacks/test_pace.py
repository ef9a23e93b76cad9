"""Speed and time left, on a clock that is set by hand."""

from math import inf

import pytest

from bcc_lightning.callbacks.pace import Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def train(pace: Pace, clock: Clock, *seconds: float) -> None:
    for one in seconds:
        clock.now += one
        pace.train(images=16)


def test_nothing_is_known_before_the_first_batch(clock: Clock) -> None:
    pace = Pace(clock)
    pace.begin_epoch(10, 4, 2)
    clock.now += 30
    assert (pace.images_per_second, pace.left_in_epoch, pace.left) == (None, None, None)


def test_the_first_batch_counts_until_there_is_a_second(clock: Clock) -> None:
    """It takes 8 seconds, since processes start; the others take 2 seconds for 16 images."""
    pace = Pace(clock)
    pace.begin_epoch(10, 0, 0)
    train(pace, clock, 8)
    assert pace.images_per_second == 2
    train(pace, clock, 2)
    assert pace.images_per_second == 8
    assert pace.left_in_epoch == pace.left == 8 * 2


def test_an_epoch_has_a_speed_of_its_own(clock: Clock) -> None:
    """32 images in 8 seconds of training, whatever the epoch before and the validation took."""
    pace = Pace(clock)
    for seconds in (1, 4):
        pace.begin_epoch(2, 1, 0)
        train(pace, clock, seconds, seconds)
        pace.begin_validation()
        clock.now += 30
        pace.validate()
    assert pace.images_per_second_in_epoch == 32 / 8


def test_the_time_left_of_an_epoch_and_of_all(clock: Clock) -> None:
    """Batches of 3 seconds; validation is taken to last a third of that, until it turns out to last 0.5 seconds."""
    pace = Pace(clock)
    pace.begin_epoch(5, 4, 2)
    train(pace, clock, 9, 3, 3)
    assert pace.left_in_epoch == pytest.approx(2 * 3 + 4 * 1)
    assert pace.left == pytest.approx(10 + 2 * (5 * 3 + 4 * 1))
    clock.now += 1.5  # within a batch
    assert pace.left_in_epoch == pytest.approx(8.5)
    clock.now += 10  # a batch that takes longer is not counted twice
    assert pace.left_in_epoch == pytest.approx(7)

    clock.now -= 11.5
    train(pace, clock, 3, 3)
    pace.begin_validation()
    clock.now += 0.5
    pace.validate()
    assert pace.left_in_epoch == pytest.approx(3 * 0.5)
    assert pace.left == pytest.approx(1.5 + 2 * (5 * 3 + 4 * 0.5))


def test_finished_epochs_say_how_long_one_takes_with_all_that_belongs_to_it(clock: Clock) -> None:
    """Two batches of 2 seconds, then 6 seconds of writing."""
    pace = Pace(clock)
    pace.begin_epoch(2, 0, 3)
    train(pace, clock, 2, 2)
    clock.now += 6
    pace.end_epoch()
    assert pace.epoch_seconds == 10
    assert pace.left == 3 * 10
    pace.begin_epoch(2, 0, 2)
    assert pace.left == 2 * 2 + 2 * 10


def test_validation_in_the_middle_of_an_epoch_is_no_training(clock: Clock) -> None:
    pace = Pace(clock)
    pace.begin_epoch(4, 1, 0)
    train(pace, clock, 2, 2)
    pace.begin_validation()
    clock.now += 50
    pace.validate()
    pace.resume()
    train(pace, clock, 2)
    assert pace.images_per_second == 8


def test_only_recent_batches_count(clock: Clock) -> None:
    pace = Pace(clock)
    pace.begin_epoch(1000, 0, 0)
    train(pace, clock, *[1.0] * 100, *[4.0] * 50)
    assert pace.images_per_second == 4


def test_without_an_end_nothing_is_promised(clock: Clock) -> None:
    pace = Pace(clock)
    pace.begin_epoch(3, 0, inf)
    train(pace, clock, 2, 2)
    assert (pace.left_in_epoch, pace.left) == (2, None)
    pace.begin_epoch(inf, 0, 1)
    assert (pace.left_in_epoch, pace.left) == (None, None)


def test_a_part_of_an_epoch_that_a_number_of_steps_leaves(clock: Clock) -> None:
    pace = Pace(clock)
    pace.begin_epoch(4, 0, 0.5)
    train(pace, clock, 2, 2, 2, 2)
    assert pace.left == 0.5 * 4 * 2
