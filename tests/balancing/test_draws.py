"""What an epoch draws: counts by hand, every cell in its turn, the same deal for all processes."""

import numpy as np
import pytest

from bcc_lightning.balancing.balance import Balance, Draws, EqualClasses, EveryCell, Weighted, balance_cells
from bcc_lightning.datasets.batches import EpochSampler
from bcc_lightning.errors import UserError

# 7 cells of class 0, 3 of class 1, 2 of class 2, not in order.
LABELS = np.array([0, 1, 0, 2, 0, 0, 1, 0, 2, 0, 1, 0], np.int64)


def draws_of(balance: Balance) -> Draws:
    return balance_cells(LABELS, 3, balance).draws


def cell_counts(draws: Draws, epoch: int, seed: int = 5) -> np.ndarray:
    return np.bincount(draws.order(seed, epoch), minlength=len(LABELS))


@pytest.mark.parametrize("epoch", range(5))
def test_oversampling_brings_every_class_to_the_largest(epoch: int) -> None:
    draws = draws_of("oversample")
    assert draws.size == len(draws.order(5, epoch)) == 3 * 7
    counts = cell_counts(draws, epoch)
    assert counts[LABELS == 0].tolist() == [1] * 7
    assert sorted(counts[LABELS == 1]) == [2, 2, 3]  # 7 = 2 * 3 + 1
    assert sorted(counts[LABELS == 2]) == [3, 4]  # 7 = 3 * 2 + 1


def test_the_remainder_of_oversampling_goes_round() -> None:
    # One of the three cells of class 1 comes once more in each epoch: over three epochs each was that one.
    over_epochs = sum(cell_counts(draws_of("oversample"), epoch) for epoch in range(3))
    assert over_epochs[LABELS == 1].tolist() == [7, 7, 7]


@pytest.mark.parametrize("epoch", range(5))
def test_undersampling_brings_every_class_to_the_smallest(epoch: int) -> None:
    draws = draws_of("undersample")
    assert draws.size == len(draws.order(5, epoch)) == 3 * 2
    counts = cell_counts(draws, epoch)
    assert counts.max() == 1
    assert np.bincount(LABELS, weights=counts).tolist() == [2, 2, 2]


@pytest.mark.parametrize("first", [0, 4, 8])
def test_undersampling_sees_all_cells_in_as_many_epochs_as_needed(first: int) -> None:
    # 7 cells, 2 an epoch: a pack lasts ceil(7 / 2) = 4 epochs; the eighth draw is a cell that came before.
    seen = sum(cell_counts(draws_of("undersample"), epoch) for epoch in range(first, first + 4))
    assert (seen > 0).all()
    assert sorted(seen[LABELS == 0]) == [1, 1, 1, 1, 1, 1, 2]


def test_a_pack_is_shuffled_anew() -> None:
    draws = EqualClasses((np.arange(100),), per_class=50)
    first, again = ({tuple(sorted(draws.order(0, epoch))) for epoch in (pack, pack + 1)} for pack in (0, 2))
    assert not first & again


def test_classes_are_mixed_within_an_epoch() -> None:
    drawn = LABELS[draws_of("oversample").order(5, 0)]
    assert (np.diff(drawn) != 0).sum() > 2  # class after class would have two borders


@pytest.mark.parametrize("balance", ["none", "weighted_sampler", "oversample", "undersample", "smote"])
def test_order_follows_seed_and_epoch_only(balance: Balance) -> None:
    first, second = draws_of(balance), draws_of(balance)
    second.order(5, 0)  # what was drawn before has no say
    np.testing.assert_array_equal(first.order(5, 3), second.order(5, 3))
    assert (first.order(5, 3) != first.order(5, 4)).any()
    assert (first.order(5, 3) != first.order(6, 3)).any()


def test_numbers_of_earlier_versions_stay() -> None:
    rng = np.random.default_rng([5, 3])
    np.testing.assert_array_equal(EveryCell(12).order(5, 3), rng.permutation(12))
    chance = np.arange(1, 13) / 78
    np.testing.assert_array_equal(Weighted(chance).order(5, 3), np.random.default_rng([5, 3]).choice(12, 12, p=chance))


def dealt(balance: Balance, epoch: int = 1, world_size: int = 2) -> tuple[list[list[int]], Draws]:
    draws, parts = draws_of(balance), []
    for rank in range(world_size):
        sampler = EpochSampler(len(LABELS), True, seed=5, rank=rank, world_size=world_size, draws=draws)
        sampler.set_epoch(epoch)
        parts.append([draw.position for draw in sampler])
        assert len(parts[-1]) == len(sampler)
    return parts, draws


def test_processes_share_an_undersampled_epoch() -> None:
    parts, draws = dealt("undersample")
    assert len(parts[0]) == len(parts[1]) == 3
    assert not set(parts[0]) & set(parts[1])
    assert sorted(parts[0] + parts[1]) == sorted(draws.order(5, 1))


def test_processes_share_an_oversampled_epoch() -> None:
    parts, draws = dealt("oversample")
    order = draws.order(5, 1).tolist()
    assert len(parts[0]) == len(parts[1]) == 11  # 21 draws, filled up to 22
    assert [cell for pair in zip(*parts, strict=True) for cell in pair] == [*order, order[0]]


def test_sampler_tells_the_epoch_of_a_draw() -> None:
    sampler = EpochSampler(len(LABELS), True, seed=5, draws=draws_of("oversample"))
    sampler.set_epoch(7)
    assert {draw.epoch for draw in sampler} == {7}


def test_evaluation_is_never_balanced() -> None:
    sampler = EpochSampler(len(LABELS), shuffle=False, draws=draws_of("oversample"))
    assert [draw.position for draw in sampler] == list(range(12))


@pytest.mark.parametrize("balance", ["class_weights", "weighted_sampler", "oversample", "undersample", "smote"])
def test_an_absent_class_is_named(balance: Balance) -> None:
    with pytest.raises(UserError, match=f"{balance} needs a training cell of every class, class monocyte has none; use"):
        balance_cells(np.array([0, 2], np.int64), 3, balance, ["basophil", "monocyte", "platelet"])


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UserError, match=r"--data\.balance is 'focal', it must be one of none, class_weights"):
        balance_cells(LABELS, 3, "focal")  # type: ignore[arg-type]
