"""Properties of splits over many sets of labels and groups; expected counts are worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bcc_lightning.datasets.listing import NO_SPLIT
from bcc_lightning.datasets.splits import TEST, TRAIN, VAL, SplitPlan, divide
from bcc_lightning.errors import UserError

CLASS_SIZES = st.lists(st.integers(12, 60), min_size=2, max_size=6)
"""Cells of each class; 12 are enough for every part and five folds."""

SEEDS = st.integers(0, 2**31)
MANY = settings(max_examples=60, deadline=None)


def labels_of(sizes: list[int], seed: int) -> np.ndarray:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return np.random.default_rng(seed).permutation(labels)


@MANY
@given(CLASS_SIZES, SEEDS)
def test_each_class_has_its_share_of_each_part(sizes: list[int], seed: int) -> None:
    labels = labels_of(sizes, seed)
    codes = divide(SplitPlan(val_share=0.15, test_share=0.25, seed=seed % 1000), labels)
    for number, size in enumerate(sizes):
        parts = np.bincount(codes[labels == number], minlength=3)
        assert parts.sum() == size
        # Rounding moves a class by at most one cell at each of the two cuts, and the second by what the first has moved.
        assert abs(parts[TEST] - 0.25 * size) <= 1
        assert abs(parts[VAL] - 0.15 * size) <= 1.5


@MANY
@given(CLASS_SIZES, SEEDS)
def test_same_seed_same_split(sizes: list[int], seed: int) -> None:
    labels = labels_of(sizes, seed)
    plan = SplitPlan(seed=seed % 1000)
    np.testing.assert_array_equal(divide(plan, labels), divide(plan, labels))


@MANY
@given(st.integers(30, 80), st.integers(1, 8), SEEDS)
def test_a_group_never_stands_on_two_sides(number_of_groups: int, largest: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(number_of_groups), rng.integers(1, largest + 1, number_of_groups))
    labels = rng.integers(0, 3, len(groups))
    codes = divide(SplitPlan(seed=seed % 1000), labels, groups=groups)
    sides = [set(codes[groups == group].tolist()) for group in range(number_of_groups)]
    assert all(len(side) == 1 for side in sides)
    assert {code for side in sides for code in side} == {TRAIN, VAL, TEST}


@MANY
@given(CLASS_SIZES, SEEDS, st.integers(3, 5))
def test_every_cell_is_tested_in_exactly_one_fold(sizes: list[int], seed: int, folds: int) -> None:
    labels = labels_of(sizes, seed)
    codes = np.stack([divide(SplitPlan(seed=seed % 1000, folds=folds, fold=fold), labels) for fold in range(folds)])
    assert ((codes == TEST).sum(axis=0) == 1).all()
    for number, size in enumerate(sizes):
        tested = (codes[:, labels == number] == TEST).sum(axis=1)
        assert set(tested.tolist()) <= {size // folds, size // folds + 1}
        # Validation is a tenth of all cells, cut from the training folds: rounding moves a class by at most two cells.
        validating = (codes[:, labels == number] == VAL).sum(axis=1)
        assert (abs(validating - 0.1 * size) <= 2).all()


@MANY
@given(CLASS_SIZES, SEEDS)
def test_folds_leave_a_published_test_part_alone(sizes: list[int], seed: int) -> None:
    labels = labels_of(sizes, seed)
    published = np.where(np.arange(len(labels)) % 4 == 0, TEST, NO_SPLIT).astype(np.int8)
    for fold in range(2):
        codes = divide(SplitPlan(seed=seed % 1000, folds=2, fold=fold), labels, published)
        np.testing.assert_array_equal(codes == TEST, published == TEST)


@MANY
@given(SEEDS)
def test_grouped_folds_keep_groups_together_and_test_each_cell_once(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 25, 200)
    labels = rng.integers(0, 4, 200)
    codes = np.stack([divide(SplitPlan(seed=seed % 1000, folds=4, fold=fold), labels, groups=groups) for fold in range(4)])
    assert ((codes == TEST).sum(axis=0) == 1).all()
    for fold in codes:
        assert all(len(set(fold[groups == group].tolist())) == 1 for group in np.unique(groups))


def test_shares_are_of_all_cells() -> None:
    codes = divide(SplitPlan(val_share=0.1, test_share=0.2), np.repeat([0, 1], [600, 400]))
    assert np.bincount(codes).tolist() == [700, 100, 200]


def test_a_published_test_part_is_kept_and_validation_cut_from_the_rest() -> None:
    published = np.repeat(np.array([TRAIN, TEST], np.int8), [80, 20])
    codes = divide(SplitPlan(val_share=0.1, test_share=0.5), np.arange(100) % 4, published)
    assert np.bincount(codes).tolist() == [70, 10, 20]
    assert (codes[80:] == TEST).all()


def test_other_repeats_divide_otherwise() -> None:
    labels = np.arange(60) % 3
    first, second = (divide(SplitPlan(folds=3, fold=fold), labels) for fold in (0, 3))
    assert (first != second).any()


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"val_share": 0.0}, r"--data.val_share 0.0 and --data.test_share 0.2 must be above 0 and their sum below 1"),
        ({"val_share": 0.5, "test_share": 0.5}, "their sum below 1"),
        ({"folds": 1}, r"--data.fold 0 of --data.folds 1 does not exist"),
        ({"fold": 2}, r"--data.fold 2 of --data.folds 0 does not exist"),
        ({"folds": 3, "fold": -1}, r"--data.fold -1 of --data.folds 3 does not exist"),
    ],
)
def test_plans_that_cannot_be(plan: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SplitPlan(**plan)  # type: ignore[arg-type]


def test_three_folds_train_on_all_but_a_third_and_a_validation_slice() -> None:
    codes = divide(SplitPlan(val_share=0.1, folds=3), np.arange(300) % 2)
    assert np.bincount(codes).tolist() == [170, 30, 100]


def test_two_folds_test_one_half_each() -> None:
    codes = np.stack([divide(SplitPlan(val_share=0.2, folds=2, fold=fold), np.arange(40) % 2) for fold in range(2)])
    assert [np.bincount(fold).tolist() for fold in codes] == [[12, 8, 20]] * 2
    assert ((codes == TEST).sum(axis=0) == 1).all()


def test_three_patients_are_enough_for_three_sets_and_for_three_folds() -> None:
    labels, groups = np.arange(30) % 2, np.arange(30) // 10
    for plan in (SplitPlan(), *(SplitPlan(folds=3, fold=fold) for fold in range(3))):
        assert sorted(set(divide(plan, labels, groups=groups)[[0, 10, 20]].tolist())) == [TRAIN, VAL, TEST]


def test_one_image_in_a_class() -> None:
    with pytest.raises(UserError, match=r"each class needs at least 2 images before .*; class 1 has 1"):
        divide(SplitPlan(), np.r_[np.zeros(30, np.int64), 1])


def test_too_few_groups() -> None:
    with pytest.raises(UserError, match=r"3 groups .* cannot be divided into 4 folds"):
        divide(SplitPlan(folds=4), np.arange(30) % 2, groups=np.arange(30) % 3)


def test_a_published_split_that_divides_a_group() -> None:
    codes = np.array([TRAIN, TRAIN, VAL, TEST, TEST], np.int8)
    with pytest.raises(UserError, match=r"group 7 is in several sets \(train, test\); a patient or slide may be in one only"):
        divide(SplitPlan(), np.zeros(5, np.int64), codes, np.array([7, 1, 2, 3, 7]))


def test_one_patient_alone_cannot_be_kept_back() -> None:
    with pytest.raises(UserError, match="10 cells are all of one patient or slide, of which none can be kept back"):
        divide(SplitPlan(), np.arange(10) % 2, groups=np.zeros(10, np.int64))


def test_a_seed_is_no_negative_number() -> None:
    with pytest.raises(UserError, match=r"--data\.split_seed is -1, it must be 0 or more"):
        SplitPlan(seed=-1)


def test_beside_a_large_published_test_set_at_most_half_of_the_others_validates() -> None:
    """A tenth of all 100 cells, of which 10 are not in the test set."""
    published = np.where(np.arange(100) < 10, NO_SPLIT, TEST).astype(np.int8)
    assert np.bincount(divide(SplitPlan(), np.arange(100) % 2, published)).tolist() == [5, 5, 90]
    assert np.bincount(divide(SplitPlan(left_out=True), np.arange(100) % 2, published)).tolist() == [8, 2, 90]
