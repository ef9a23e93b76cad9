"""Networks compared on the same cells: paired bootstrap intervals, exact McNemar tests, the corrected resampled t-test."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from scipy.stats import t as student

from bcc_lightning.evaluation.metrics import auroc_macro, calibration_error, matrix_metrics
from bcc_lightning.evaluation.reliability import CONFIDENCE, RESAMPLES, drawn_cells, percentiles, wilson

Floats: TypeAlias = npt.NDArray[np.float64]
Labels: TypeAlias = npt.NDArray[np.int64]
Probabilities: TypeAlias = npt.NDArray[np.float32]

METRICS = ("accuracy", "balanced_accuracy", "f1_macro", "auroc_macro", "ece")
"""What networks are compared by; of the expected calibration error (ECE) less is better."""

ALPHA = 1 - CONFIDENCE


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; all None where the cells do not define it, such as AUROC on a single class."""

    value: float | None
    low: float | None
    high: float | None

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside the interval."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


@dataclass(frozen=True)
class ClassCount:
    """The cells of one class: how many there are, and how many each network classified correctly.

    Attributes:
        cells: number of cells.
        right: correctly classified by each of the M networks.
    """

    cells: int
    right: tuple[int, ...]


@dataclass(frozen=True)
class Pair:
    """Two networks compared on the same cells.

    Attributes:
        first: number of the first network.
        second: number of the second.
        differences: metric to second minus first, with the interval of a paired bootstrap.
        both_right: cells that both classified correctly.
        only_first: cells that only the first classified correctly.
        only_second: cells that only the second classified correctly.
        both_wrong: cells that neither classified correctly.
        p_value: exact McNemar test, two-sided.
        p_holm: after Holm's correction for the number of pairs; None where there is a single pair.
        only_by_class: class name to cells that only the first, and that only the second classified correctly.
    """

    first: int
    second: int
    differences: dict[str, Estimate]
    both_right: int
    only_first: int
    only_second: int
    both_wrong: int
    p_value: float
    p_holm: float | None
    only_by_class: dict[str, tuple[int, int]]

    @property
    def is_decided(self) -> bool:
        """Whether the accuracies differ beyond chance: McNemar's test, corrected, and the interval both say so."""
        p_value = self.p_value if self.p_holm is None else self.p_holm
        return p_value < ALPHA and self.differences["accuracy"].excludes_zero


@dataclass(frozen=True)
class PairedFigures:
    """Figures of M networks on the same N cells.

    Attributes:
        cells: N.
        most_frequent: accuracy of always answering the most frequent class of these cells.
        most_frequent_class: that class.
        metrics: for each network, metric to value and interval: Wilson's for accuracy, else a percentile bootstrap over cells.
        classes: class name to its cells.
        pairs: the networks in pairs.
    """

    cells: int
    most_frequent: float
    most_frequent_class: str
    metrics: list[dict[str, Estimate]]
    classes: dict[str, ClassCount]
    pairs: list[Pair]


def compare_answers(
    label: Labels,
    probabilities: Sequence[Probabilities],
    class_names: Sequence[str],
    pairs: Sequence[tuple[int, int]] | None = None,
    resamples: int = RESAMPLES,
) -> PairedFigures:
    """Compare what networks answered for the same cells.

    Each draw of the bootstrap takes the same cells for all networks, so that the difference of a pair varies only with the cells
    on which they differ. Cells are drawn from the whole set, not class by class: how many cells of a class a set holds is chance
    too, and the intervals in the reports of single runs are drawn likewise.

    Args:
        label: (N,) true classes.
        probabilities: of each of the M networks, (N, C).
        class_names: names of the C classes.
        pairs: numbers of the networks to compare; by default each with each.
        resamples: draws of the bootstrap.
    """
    pairs = list(combinations(range(len(probabilities)), 2)) if pairs is None else pairs
    once = np.ones((1, len(label)), np.int64)
    values = [draw_metrics(label, probability, once) for probability in probabilities]
    draws = bootstrap(label, probabilities, resamples)
    right = np.stack([probability.argmax(axis=1) == label for probability in probabilities])
    p_values = [mcnemar_exact(right[first], right[second]) for first, second in pairs]
    corrected = holm(p_values) if len(pairs) > 1 else [None] * len(pairs)
    counts = np.bincount(label, minlength=len(class_names))
    return PairedFigures(
        cells=len(label),
        most_frequent=float(counts.max() / len(label)),
        most_frequent_class=class_names[int(counts.argmax())],
        metrics=[
            {name: estimate(found[name], drawn[name]) for name in METRICS} | {"accuracy": share(int(hits.sum()), len(label))}
            for found, drawn, hits in zip(values, draws, right, strict=True)
        ],
        classes={
            name: ClassCount(int(counts[number]), tuple(int(hits[label == number].sum()) for hits in right))
            for number, name in enumerate(class_names)
        },
        pairs=[
            Pair(
                first,
                second,
                {
                    name: estimate(values[second][name] - values[first][name], draws[second][name] - draws[first][name])
                    for name in METRICS
                },
                both_right=int((right[first] & right[second]).sum()),
                only_first=int((right[first] & ~right[second]).sum()),
                only_second=int((~right[first] & right[second]).sum()),
                both_wrong=int((~right[first] & ~right[second]).sum()),
                p_value=p_value,
                p_holm=p_holm,
                only_by_class=only_by_class(label, right[first], right[second], class_names),
            )
            for (first, second), p_value, p_holm in zip(pairs, p_values, corrected, strict=True)
        ],
    )


def bootstrap(label: Labels, probabilities: Sequence[Probabilities], resamples: int = RESAMPLES) -> list[dict[str, Floats]]:
    """Compute the metrics of each network in draws of cells that are the same for all networks.

    Args:
        label: (N,) true classes.
        probabilities: of each network, (N, C).
        resamples: number of draws R.

    Returns:
        For each network, metric to (R,) values; NaN where a draw does not define it.
    """
    parts = [
        [draw_metrics(label, probability, counts) for probability in probabilities]
        for counts in drawn_cells(len(label), resamples)
    ]
    return [
        {name: np.concatenate([part[number][name] for part in parts]) for name in METRICS} for number in range(len(probabilities))
    ]


def draw_metrics(label: Labels, probability: Probabilities, counts: npt.NDArray[np.int64]) -> dict[str, Floats]:
    """Compute the metrics of one network in many draws at once.

    Args:
        label: (N,) true classes.
        probability: (N, C).
        counts: (R, N), how often each cell was drawn.

    Returns:
        Metric to (R,) values.
    """
    classes = probability.shape[1]
    entries = label * classes + probability.argmax(axis=1)  # of the confusion matrix
    one_each = csr_matrix((np.ones(len(label)), (np.arange(len(label)), entries)), shape=(len(label), classes**2))
    matrices = np.asarray(counts @ one_each, np.float64).reshape(len(counts), classes, classes)
    macro = matrix_metrics(matrices)
    return {
        "accuracy": np.trace(matrices, axis1=1, axis2=2) / counts.sum(axis=1),
        "balanced_accuracy": macro["recall_macro"],
        "f1_macro": macro["f1_macro"],
        "auroc_macro": auroc_macro(probability, label, counts),
        "ece": calibration_error(probability, label, counts),
    }


def estimate(value: Floats, draws: Floats) -> Estimate:
    """Give a figure (1,) the percentile interval of its draws (R,); draws that do not define it are ignored."""
    if not np.isfinite(value).all():
        return Estimate(None, None, None)
    return Estimate(float(value[0]), *percentiles(draws))


def share(right: int, total: int) -> Estimate:
    """Return a share of cells with Wilson's interval."""
    return Estimate(right / total, *wilson(right, total))


def only_by_class(
    label: Labels, first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_], class_names: Sequence[str]
) -> dict[str, tuple[int, int]]:
    """Count by class the cells that only one of two networks classified correctly; (N,) each."""
    only = (first & ~second, second & ~first)
    return {
        name: (int(only[0][label == number].sum()), int(only[1][label == number].sum()))
        for number, name in enumerate(class_names)
    }


def mcnemar_exact(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> float:
    """Test whether two networks are right equally often, by the cells on which one is right and the other wrong.

    Args:
        first: (N,) whether the first network is right.
        second: (N,) likewise.

    Returns:
        Two-sided p-value of the exact test (McNemar, Psychometrika 12 (1947) 153; binomial): 1 if they never differ.
    """
    from statsmodels.stats.contingency_tables import mcnemar

    table = [[int((first & second).sum()), int((first & ~second).sum())], [int((~first & second).sum()), 0]]
    return float(mcnemar(table, exact=True).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number (Holm, Scand J Stat 6 (1979) 65)."""
    from statsmodels.stats.multitest import multipletests

    return [float(p_value) for p_value in multipletests(p_values, method="holm")[1]]


@dataclass(frozen=True)
class ResampledDifference:
    """A mean difference over repeated trainings, by the corrected resampled t-test.

    Attributes:
        difference: mean, with its 95 % interval; no interval where all differences are equal.
        statistic: t; None likewise.
        p_value: two-sided; None likewise.
    """

    difference: Estimate
    statistic: float | None
    p_value: float | None


def corrected_resampled_t(differences: Sequence[float] | Floats, test_cells: float, training_cells: float) -> ResampledDifference:
    """Test whether the mean of differences over repeated trainings is 0.

    Trainings that share cells are not independent, so that the ordinary t-test takes their spread for too small; the variance is
    raised by the share of test to training cells (Nadeau and Bengio, Machine Learning 52 (2003) 239).

    Args:
        differences: one per training, at least two.
        test_cells: cells that each was tested on.
        training_cells: cells that each was trained on.
    """
    values = np.asarray(differences, np.float64)
    mean, spread = float(values.mean()), float(values.std(ddof=1))
    if np.allclose(values, values[0], rtol=0, atol=1e-12):
        return ResampledDifference(Estimate(mean, None, None), None, None)
    error = spread * float(np.sqrt(1 / len(values) + test_cells / training_cells))
    freedom = len(values) - 1
    half = float(student.ppf(1 - ALPHA / 2, freedom)) * error
    statistic = mean / error
    p_value = 2 * float(student.sf(abs(statistic), freedom))
    return ResampledDifference(Estimate(mean, mean - half, mean + half), statistic, p_value)
