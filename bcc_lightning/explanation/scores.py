"""The scores of maps: what each says, means with intervals over the cells, and differences between methods."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from bcc_lightning.evaluation.reliability import RESAMPLES, Interval, percentiles
from bcc_lightning.explanation.choices import DEFAULT_METHOD
from bcc_lightning.explanation.perturbation import Scores


class Metric(NamedTuple):
    """A score of maps.

    Attributes:
        name: its key in files.
        title: its name for people.
        higher: whether higher values are better.
        on_masks: whether it needs cells with masks.
        meaning: what it says, in a sentence.
        is_sanity: whether it only asks if a map depends on the network at all, which baselines never do.
    """

    name: str
    title: str
    higher: bool
    on_masks: bool
    meaning: str
    is_sanity: bool = False


METRICS = (
    Metric(
        "road",
        "ROAD",
        higher=True,
        on_masks=False,
        meaning="How much more the network needs the pixels that the map calls most important than those it calls least "
        "important: half the difference in probability when 20 to 80 % of either are replaced by their surroundings. 0 is "
        "chance.",
    ),
    Metric(
        "insertion",
        "Insertion",
        higher=True,
        on_masks=False,
        meaning="Mean probability of the predicted class while a blurred image is sharpened, the most important pixels first.",
    ),
    Metric(
        "deletion",
        "Deletion",
        higher=False,
        on_masks=False,
        meaning="Mean probability of the predicted class while the image is blurred, the most important pixels first.",
    ),
    Metric(
        "rank_correlation",
        "Rank correlation",
        higher=False,
        on_masks=False,
        meaning="Absolute Spearman correlation between the map and that of the same network with all weights drawn anew. A "
        "map that hardly changes shows the image, not what the network has learnt. The baselines never look at the network.",
        is_sanity=True,
    ),
    Metric(
        "ssim",
        "SSIM",
        higher=False,
        on_masks=False,
        meaning="Structural similarity of the same two maps; 1 means that they are identical.",
        is_sanity=True,
    ),
    Metric(
        "pointing_cell",
        "Points at cell",
        higher=True,
        on_masks=True,
        meaning="Share of the cells in which the map's maximum lies inside the cell.",
    ),
    Metric(
        "pointing_nucleus",
        "Points at nucleus",
        higher=True,
        on_masks=True,
        meaning="Share of the cells in which the map's maximum lies inside the nucleus.",
    ),
    Metric("mass_cell", "Mass in cell", higher=True, on_masks=True, meaning="Share of the map's sum that lies inside the cell."),
    Metric(
        "mass_nucleus",
        "Mass in nucleus",
        higher=True,
        on_masks=True,
        meaning="Share of the map's sum that lies inside the nucleus.",
    ),
)


@dataclass
class MethodScores:
    """The scores of one method or baseline.

    Attributes:
        name: a key of `METHODS` or of `BASELINES`.
        title: for people.
        is_baseline: whether it knows nothing of the network.
        scores: metric to the scores of single cells, (N,).
        blank: number of maps that are 0 everywhere.
        seconds: seconds per map.
    """

    name: str
    title: str
    is_baseline: bool
    scores: dict[str, Scores] = field(default_factory=dict)
    blank: int = 0
    seconds: float = 0.0

    def mean(self, metric: str) -> float:
        """Return the mean of a metric over all cells."""
        return float(self.scores[metric].mean())

    def interval(self, metric: str) -> Interval:
        """Return its 95 % interval: percentile bootstrap over the cells."""
        return bootstrap(self.scores[metric])

    def against(self, other: "MethodScores", metric: str) -> tuple[float, Interval]:
        """Return how much higher a metric is than another method's on the same cells, and the 95 % interval of the difference."""
        difference = self.scores[metric] - other.scores[metric]
        return float(difference.mean()), bootstrap(difference)


@dataclass(frozen=True)
class Faithfulness:
    """The scores of all methods of a network.

    Attributes:
        methods: methods, then baselines.
        cells: number of test cells.
        masked_cells: number of cells with masks.
        probability: mean probability of the predicted class of the test cells, and with all of the image blurred.
        area: share of the image that cell and nucleus take; NaN without masks.
    """

    methods: list[MethodScores]
    cells: int
    masked_cells: int
    probability: tuple[float, float]
    area: tuple[float, float]

    @property
    def metrics(self) -> list[Metric]:
        """The metrics that were measured."""
        return [metric for metric in METRICS if metric.name in self.methods[0].scores]

    @property
    def reference(self) -> MethodScores:
        """What differences are measured against: the default method, or the first one."""
        return next((one for one in self.methods if one.name == DEFAULT_METHOD), self.methods[0])

    def beating_baselines(self, metric: Metric) -> list[str]:
        """List the titles of the methods that are better than each baseline: no interval of a difference holds 0."""
        baselines = [one for one in self.methods if one.is_baseline]
        return [
            one.title for one in self.methods if not one.is_baseline and all(is_better(one, other, metric) for other in baselines)
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return everything for ``faithfulness.json``."""
        return {
            "cells": self.cells,
            "masked_cells": self.masked_cells,
            "probability": dict(zip(("image", "blurred"), self.probability, strict=True)),
            "area": None if np.isnan(self.area[0]) else dict(zip(("cell", "nucleus"), self.area, strict=True)),
            "reference": self.reference.name,
            "methods": {one.name: self._described(one) for one in self.methods},
        }

    def _described(self, one: MethodScores) -> dict[str, Any]:
        found: dict[str, Any] = {"title": one.title, "baseline": one.is_baseline, "blank": one.blank, "seconds": one.seconds}
        for metric in self.metrics:
            difference, spread = one.against(self.reference, metric.name)
            found[metric.name] = {
                "mean": one.mean(metric.name),
                "interval": one.interval(metric.name),
                "difference": difference,
                "difference_interval": spread,
            }
        return found


def is_better(one: MethodScores, other: MethodScores, metric: Metric) -> bool | None:
    """Return whether a method is better than another on the same cells; None where the interval of the difference holds 0."""
    _, (low, high) = one.against(other, metric.name)
    if low <= 0 <= high:
        return None
    return (low > 0) == metric.higher


def bootstrap(scores: Scores) -> Interval:
    """Compute the 95 % percentile interval of a mean over (N,) cells."""
    return percentiles(draws_of(len(scores)) @ scores)


@lru_cache(maxsize=4)
def draws_of(cells: int) -> Scores:
    """Draw cells with replacement: the share of each in each draw, (`RESAMPLES`, N), the same for equal N."""
    drawn = np.random.default_rng(0).integers(cells, size=(RESAMPLES, cells))
    return np.stack([np.bincount(draw, minlength=cells) for draw in drawn]) / cells
