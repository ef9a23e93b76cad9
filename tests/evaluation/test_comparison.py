"""Statistics of a comparison, against statsmodels, scipy, scikit-learn, published examples and arithmetic by hand."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.stats import binomtest
from scipy.stats import bootstrap as scipy_bootstrap
from sklearn.datasets import make_moons
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, roc_auc_score
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.svm import SVC
from statsmodels.stats.contingency_tables import mcnemar
from torchmetrics.functional.classification import multiclass_calibration_error

from bcc_lightning.evaluation.comparison import (
    compare_answers,
    corrected_resampled_t,
    draw_metrics,
    holm,
    mcnemar_exact,
)

CLASSES = ["a", "b", "c"]


def answers(
    cells: int, accuracies: tuple[float, ...], seed: int = 0, shared: float = 0.0
) -> tuple[npt.NDArray[np.int64], list[npt.NDArray[np.float32]]]:
    """Draw labels, and probabilities of networks of known accuracy; for a share of the cells all do the same."""
    generator = np.random.default_rng(seed)
    label = generator.integers(3, size=cells)
    together, common = generator.random(cells) < shared, generator.random(cells)
    found = []
    for accuracy in accuracies:
        luck = np.where(together, common, generator.random(cells))
        predicted = np.where(luck < accuracy, label, (label + generator.integers(1, 3, size=cells)) % 3)
        probability = generator.dirichlet([1, 1, 1], size=cells) * 0.4
        probability[np.arange(cells), predicted] += 0.6
        found.append(probability.astype(np.float32))
    return label, found


def right(
    only_first: int, only_second: int, both: int = 3, neither: int = 4
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Write out which cells two networks get right."""
    parts = [(True, True)] * both + [(True, False)] * only_first + [(False, True)] * only_second + [(False, False)] * neither
    table = np.array(parts, bool)
    return table[:, 0], table[:, 1]


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (1, 0), (3, 9), (20, 21), (121, 59), (0, 40)])
def test_mcnemar_is_that_of_statsmodels_and_the_binomial_of_scipy(only_first: int, only_second: int) -> None:
    first, second = right(only_first, only_second)
    found = mcnemar_exact(first, second)
    table = [[3, only_first], [only_second, 4]]
    assert found == pytest.approx(float(mcnemar(table, exact=True).pvalue), rel=1e-12)
    by_hand = binomtest(only_first, only_first + only_second).pvalue if only_first + only_second else 1.0
    assert found == pytest.approx(by_hand, rel=1e-9)


def test_mcnemar_of_a_published_table() -> None:
    """Bissell's presidential approval in statsmodels' documentation: 121 and 59 discordant of 314, p = 4.434e-06."""
    assert mcnemar_exact(*right(121, 59, 101, 33)) == pytest.approx(4.434e-06, rel=1e-3)


def test_paired_intervals_are_those_of_scipy() -> None:
    """Two networks make mostly the same mistakes: their difference varies much less than if cells were drawn for each alone."""
    label, probabilities = answers(800, (0.85, 0.80), shared=0.9)
    hits = [(probability.argmax(axis=1) == label).astype(float) for probability in probabilities]
    found = compare_answers(label, probabilities, CLASSES, resamples=4000).pairs[0].differences["accuracy"]
    assert found.value == pytest.approx(hits[1].mean() - hits[0].mean())

    def interval(paired: bool) -> tuple[float, float]:
        """Compute scipy's interval of the difference of two means."""

        def difference(one: np.ndarray, two: np.ndarray, axis: int = -1) -> np.ndarray:  # type: ignore[type-arg]
            return np.asarray(two.mean(axis=axis) - one.mean(axis=axis))

        done = scipy_bootstrap(
            hits, difference, paired=paired, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
        )
        return float(done.confidence_interval.low), float(done.confidence_interval.high)

    low, high = interval(paired=True)
    tolerance = 0.12 * (high - low)
    assert (found.low, found.high) == (pytest.approx(low, abs=tolerance), pytest.approx(high, abs=tolerance))
    apart_low, apart_high = interval(paired=False)
    assert abs(apart_low - low) > 2 * tolerance
    assert abs(apart_high - high) > 2 * tolerance


@pytest.mark.filterwarnings("ignore")
def test_each_draw_has_the_metrics_of_scikit_learn_and_torchmetrics() -> None:
    label, (probability,) = answers(90, (0.7,))
    generator = np.random.default_rng(5)
    counts = np.stack([np.bincount(generator.integers(90, size=90), minlength=90) for _ in range(4)])
    counts[3, label == 2] = 0  # a draw without one class
    found = draw_metrics(label, probability, counts)
    for draw, count in enumerate(counts):
        cells = np.repeat(np.arange(90), count)
        true, shares, predicted = label[cells], probability[cells], probability[cells].argmax(axis=1)
        occurring = np.unique(true)
        assert found["accuracy"][draw] == pytest.approx(accuracy_score(true, predicted))
        assert found["balanced_accuracy"][draw] == pytest.approx(balanced_accuracy_score(true, predicted))
        assert found["f1_macro"][draw] == pytest.approx(f1_score(true, predicted, average="macro", labels=occurring))
        auroc = np.mean([roc_auc_score(true == number, shares[:, number]) for number in occurring])
        assert found["auroc_macro"][draw] == pytest.approx(auroc)
        ece = multiclass_calibration_error(torch.from_numpy(shares), torch.from_numpy(true), 3, 15)
        assert found["ece"][draw] == pytest.approx(float(ece), abs=1e-6)


def test_counts_of_a_pair_by_hand() -> None:
    """Cells 0 to 3 are of class a, 4 and 5 of class b: the first network misses 3 and 5, the second 0, 3 and 4."""
    label = np.array([0, 0, 0, 0, 1, 1])
    predicted = np.array([[0, 0, 0, 1, 1, 0], [1, 0, 0, 1, 0, 1]])
    probabilities = [np.eye(2, dtype=np.float32)[one] for one in predicted]
    found = compare_answers(label, probabilities, ["a", "b"])
    (pair,) = found.pairs
    assert (pair.both_right, pair.only_first, pair.only_second, pair.both_wrong) == (2, 2, 1, 1)
    assert pair.only_by_class == {"a": (1, 0), "b": (1, 1)}
    assert (found.most_frequent_class, found.most_frequent) == ("a", pytest.approx(4 / 6))
    assert found.metrics[0]["balanced_accuracy"].value == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert pair.differences["balanced_accuracy"].value == pytest.approx((2 / 4 + 1 / 2) / 2 - (3 / 4 + 1 / 2) / 2)
    assert (found.classes["a"].cells, found.classes["a"].right) == (4, (3, 2))
    assert pair.p_value == pytest.approx(binomtest(2, 3).pvalue)
    assert pair.p_holm is None
    assert not pair.is_decided


def test_networks_that_answer_alike_do_not_differ() -> None:
    label, (probability,) = answers(50, (0.8,))
    (pair,) = compare_answers(label, [probability, probability.copy()], CLASSES).pairs
    assert pair.p_value == 1
    assert {(one.value, one.low, one.high) for one in pair.differences.values()} == {(0.0, 0.0, 0.0)}


def test_a_single_class_has_no_auroc() -> None:
    label = np.zeros(20, np.int64)
    _, probabilities = answers(20, (0.9, 0.5))
    found = compare_answers(label, probabilities, CLASSES)
    assert found.metrics[0]["auroc_macro"].value is None
    assert found.pairs[0].differences["auroc_macro"].value is None
    assert found.pairs[0].differences["accuracy"].value is not None


def test_holm_of_a_textbook_example() -> None:
    """0.01, 0.04, 0.03, 0.005: the smallest times 4, the next times 3, then 2, then 1, none below the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_three_networks_are_corrected_for_three_pairs() -> None:
    label, probabilities = answers(300, (0.9, 0.8, 0.78))
    pairs = compare_answers(label, probabilities, CLASSES).pairs
    assert [(pair.first, pair.second) for pair in pairs] == [(0, 1), (0, 2), (1, 2)]
    ordered = sorted(pairs, key=lambda pair: pair.p_value)
    assert ordered[0].p_holm == pytest.approx(min(1, 3 * ordered[0].p_value))
    assert ordered[1].p_holm == pytest.approx(min(1, max(3 * ordered[0].p_value, 2 * ordered[1].p_value)))


def test_the_resampled_t_test_by_hand() -> None:
    """Differences 1, 2, 3 with one test cell to four training cells: t = 2 / sqrt(1/3 + 1/4); with two degrees of freedom
    p = 1 - t / sqrt(t^2 + 2), and the 97.5 % point is 4.302653.
    """
    error = (1 / 3 + 1 / 4) ** 0.5
    t = 2 / error
    found = corrected_resampled_t([1, 2, 3], 20, 80)
    assert found.statistic == pytest.approx(t)
    assert found.p_value == pytest.approx(1 - t / (t**2 + 2) ** 0.5)
    assert (found.difference.value, found.difference.low, found.difference.high) == pytest.approx(
        (2, 2 - 4.302653 * error, 2 + 4.302653 * error), abs=1e-5
    )
    equal = corrected_resampled_t([0.5, 0.5], 20, 80)
    assert (equal.difference.value, equal.difference.low, equal.p_value) == (0.5, None, None)


def test_the_resampled_t_test_of_a_published_example() -> None:
    """scikit-learn's "Statistical comparison of models using grid search" prints corrected t = 0.750, one-sided p = 0.227."""
    cells, label = make_moons(noise=0.352, random_state=1, n_samples=100)
    folds = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    rbf, linear = (
        cross_val_score(SVC(kernel=kernel, random_state=0), cells, label, scoring="roc_auc", cv=folds)
        for kernel in ("rbf", "linear")
    )
    found = corrected_resampled_t(rbf - linear, test_cells=10, training_cells=90)
    assert found.statistic == pytest.approx(0.750, abs=5e-4)
    assert found.p_value == pytest.approx(2 * 0.227, abs=1e-3)


@pytest.mark.slow
def test_equal_networks_are_told_apart_in_about_one_of_twenty_comparisons() -> None:
    """Of 400 comparisons of networks that are right with the same probability, 20 are expected to have an interval without 0;
    the exact test rejects more rarely, as it cannot hit 5 % with few discordant cells. Five standard deviations are 22.
    """
    decided, without_zero, rejected = 0, 0, 0
    for seed in range(400):
        label, probabilities = answers(150, (0.85, 0.85), seed, shared=0.5)
        (pair,) = compare_answers(label, probabilities, CLASSES, resamples=300).pairs
        decided += pair.is_decided
        without_zero += pair.differences["accuracy"].excludes_zero
        rejected += pair.p_value < 0.05
    assert 5 <= without_zero <= 42
    assert 2 <= rejected <= 20
    assert decided <= rejected
