"""How much simple classifiers read from features: nearest neighbours and logistic regression, also with few labelled cells.

The protocol is that of the field's foundation models (Koch et al. 2024, arXiv 2404.05022): k nearest neighbours with k = 1 and
20, and logistic regression by L-BFGS whose penalty is 100 / (features x classes), on five stratified folds without shuffling.
Where patients or slides are known, no fold shares one with another, which the protocol does not ask for.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier

from bcc_lightning.datasets.splits import folds_of
from bcc_lightning.embedding.choices import FOLDS
from bcc_lightning.embedding.features import Features
from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.metrics import matrix_metrics
from bcc_lightning.evaluation.reliability import RESAMPLES, Interval, percentiles

Labels = npt.NDArray[np.int64]

NEIGHBOURS = (1, 20)
FEW = (1, 5, 10, 20, 50)
"""Labelled cells of each class in the few-shot curve."""
DRAWS = 20

METRICS = {"accuracy": "recall_weighted", "balanced_accuracy": "recall_macro", "f1_weighted": "f1_weighted"}
"""Metrics of the protocol, and what `matrix_metrics` calls them."""


def logistic_regression(features: int, classes: int) -> LogisticRegression:
    """Build the protocol's linear classifier; scikit-learn's C is the inverse of the penalty."""
    return LogisticRegression(C=features * classes / 100, max_iter=1000)


@dataclass(frozen=True)
class ProbeResult:
    """How a classifier does.

    Attributes:
        name: of the classifier.
        cells: number of cells that were classified, none of them trained on.
        metrics: `METRICS`, of all these cells.
        intervals: 95 % limits by a bootstrap over the cells.
        most_frequent: accuracy of always answering the most frequent class.
        folds: each metric of each fold; empty where the data set's own sets were used.
    """

    name: str
    cells: int
    metrics: dict[str, float]
    intervals: dict[str, Interval]
    most_frequent: float
    folds: dict[str, list[float]]


def classifiers(features: int, classes: int) -> dict[str, Callable[[], ClassifierMixin]]:
    """List the classifiers of the protocol by name, each as a function that builds it."""
    neighbours = {f"{k}-NN": (lambda k=k: KNeighborsClassifier(n_neighbors=k)) for k in NEIGHBOURS}
    return {**neighbours, "logistic regression": lambda: logistic_regression(features, classes)}


def probe_folds(
    features: Features, labels: Labels, classes: int, folds: int = FOLDS, groups: Labels | None = None
) -> Iterator[ProbeResult]:
    """Probe by cross-validation: each cell is classified once, by what was fitted on the other folds.

    Args:
        features: (N, F).
        labels: (N,).
        classes: number C of classes.
        folds: number of folds.
        groups: (N,) patient or slide of each cell, whose cells are in one fold; None where none are known.

    Yields:
        The result of each classifier.

    Raises:
        UserError: there is one class, one has fewer cells than there are folds, or there are fewer groups.
    """
    refuse_few(labels, folds)
    divided = list(divisions(labels, folds, groups))
    for name, build in classifiers(features.shape[1], len(np.unique(labels))).items():
        answers, parts = np.empty_like(labels), []
        for train, test in divided:
            answers[test] = fitted(build(), features[train], labels[train]).predict(features[test])
            parts.append(figures(labels[test], answers[test], classes))
        by_fold = {metric: [part[metric] for part in parts] for metric in METRICS}
        yield assessed(name, labels, answers, classes, by_fold)


def divisions(labels: Labels, folds: int, groups: Labels | None) -> Iterator[tuple[Labels, Labels]]:
    """Yield the positions of the training and of the test cells of each fold.

    Raises:
        UserError: there are fewer groups than folds, or a fold leaves one class only to learn from.
    """
    if groups is None:
        yield from StratifiedKFold(folds).split(np.empty(len(labels)), labels)
        return
    numbers = folds_of(folds, labels, groups, seed=0)
    for fold in np.unique(numbers):
        train, test = np.flatnonzero(numbers != fold), np.flatnonzero(numbers == fold)
        if len(np.unique(labels[train])) < 2:  # noqa: PLR2004 - a class and another
            raise UserError(
                f"with {folds} folds of whole groups (patients or slides), one leaves cells of one class only to learn from; use "
                "other --folds, or --folds 0 for the data set's own sets"
            )
        yield train, test


def probe_sets(train: tuple[Features, Labels], test: tuple[Features, Labels], classes: int) -> Iterator[ProbeResult]:
    """Probe with the data set's own division: fitted on features and labels of one set, and evaluated on another.

    Raises:
        UserError: the training set has one class only.
    """
    refuse_few(train[1], 1)
    for name, build in classifiers(train[0].shape[1], len(np.unique(train[1]))).items():
        yield assessed(name, test[1], fitted(build(), *train).predict(test[0]), classes, {})


def refuse_few(labels: Labels, folds: int) -> None:
    """Refuse labels that nothing can be learnt from.

    Raises:
        UserError: there is one class, or one has fewer cells than there are folds.
    """
    found, counts = np.unique(labels, return_counts=True)
    if len(found) < 2:  # noqa: PLR2004 - a class and another
        raise UserError(f"the cells are of {len(found)} class; a probe needs two or more")
    if counts.min() < folds:
        raise UserError(
            f"a class has {counts.min()} cells, fewer than the {folds} folds; use --folds {max(2, counts.min())}, "
            "or --folds 0 for the data set's own sets"
        )


def fitted(classifier: ClassifierMixin, features: Features, labels: Labels) -> ClassifierMixin:
    """Fit a classifier; with fewer cells than neighbours, all are neighbours."""
    if isinstance(classifier, KNeighborsClassifier):
        classifier.set_params(n_neighbors=min(classifier.n_neighbors, len(labels)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the protocol stops after 1,000 steps
        return classifier.fit(features, labels)


def assessed(name: str, labels: Labels, answers: Labels, classes: int, folds: dict[str, list[float]]) -> ProbeResult:
    """Compute the metrics of answers, and their limits."""
    matrix = confusion(labels, answers, classes)
    draws = np.random.default_rng(0).multinomial(len(labels), matrix.ravel() / len(labels), size=RESAMPLES)
    resampled = matrix_metrics(draws.reshape(RESAMPLES, classes, classes).astype(np.float64))
    limits = {metric: percentiles(resampled[own]) for metric, own in METRICS.items()}
    most_frequent = float(matrix.sum(axis=1).max() / len(labels))
    return ProbeResult(name, len(labels), figures(labels, answers, classes), limits, most_frequent, folds)


def confusion(labels: Labels, answers: Labels, classes: int) -> npt.NDArray[np.int64]:
    """Count (C, C) true and answered classes."""
    return np.bincount(labels * classes + answers, minlength=classes**2).reshape(classes, classes)


def figures(labels: Labels, answers: Labels, classes: int) -> dict[str, float]:
    """Compute the metrics of answers."""
    found = matrix_metrics(confusion(labels, answers, classes)[None].astype(np.float64))
    return {metric: float(found[own][0]) for metric, own in METRICS.items()}


@dataclass(frozen=True)
class FewShot:
    """What a classifier learns from few labelled cells.

    Attributes:
        cells: labelled cells of each class.
        draws: how often they were drawn.
        metrics: mean over the draws.
        ranges: 2.5th and 97.5th percentile over the draws.
    """

    cells: int
    draws: int
    metrics: dict[str, float]
    ranges: dict[str, Interval]


def few_shot(
    train: tuple[Features, Labels],
    test: tuple[Features, Labels],
    classes: int,
    sizes: Sequence[int] = FEW,
    draws: int = DRAWS,
    seed: int = 0,
) -> Iterator[FewShot]:
    """Fit logistic regression on a few cells of each class, drawn anew several times.

    Args:
        train: features and labels that the cells are drawn from.
        test: those that are classified.
        classes: number C of classes.
        sizes: labelled cells of each class; sizes that a class does not have are left out.
        draws: how often they are drawn.
        seed: of the draws.
    """
    present, counts = np.unique(train[1], return_counts=True)
    for size in (size for size in sizes if size <= counts.min()):
        found = []
        for draw in range(draws):
            rng = np.random.default_rng([seed, size, draw])
            rows = np.concatenate([rng.choice(np.flatnonzero(train[1] == label), size, replace=False) for label in present])
            classifier = fitted(logistic_regression(train[0].shape[1], len(present)), train[0][rows], train[1][rows])
            found.append(figures(test[1], classifier.predict(test[0]), classes))
        values = {metric: [one[metric] for one in found] for metric in METRICS}
        yield FewShot(
            size,
            draws,
            {metric: float(np.mean(list_)) for metric, list_ in values.items()},
            {metric: percentiles(list_) for metric, list_ in values.items()},
        )
