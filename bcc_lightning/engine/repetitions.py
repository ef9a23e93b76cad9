"""Recipes compared over several trainings of each: the folds of cross-validations, or runs that differ only in their seed."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bcc_lightning.engine.comparable import by_cell
from bcc_lightning.evaluation.comparison import (
    ALPHA,
    METRICS,
    Estimate,
    ResampledDifference,
    corrected_resampled_t,
    draw_metrics,
    holm,
)
from bcc_lightning.evaluation.metrics import TEST
from bcc_lightning.reproduction.results import recipe
from bcc_lightning.safe_names import class_of_column
from bcc_lightning.tracking.trained_networks import TrainedNetwork

Arrays = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]
"""Labels (N,) and probabilities (N, C) of one training's test."""


@dataclass(frozen=True)
class Repetition:
    """Two recipes compared over J trainings of each.

    Attributes:
        first: description of the first recipe.
        second: of the second.
        over: what the trainings are: ``folds`` or ``seeds``.
        trainings: J.
        test_cells: cells that each was tested on, mean.
        training_cells: cells that each was trained on, mean.
        metrics: metric to second minus first, with the corrected resampled t-test.
        p_holm: of the accuracy, after Holm's correction; None where there is a single comparison.
    """

    first: str
    second: str
    over: Literal["folds", "seeds"]
    trainings: int
    test_cells: float
    training_cells: float
    metrics: dict[str, ResampledDifference]
    p_holm: float | None = None

    @property
    def sentence(self) -> str:
        """Sum up the comparison in one sentence."""
        accuracy = self.metrics["accuracy"]
        found = accuracy.difference
        value, low, high = in_favour(found)
        better, worse = (self.second, self.first) if (found.value or 0.0) >= 0 else (self.first, self.second)
        lead = f"Over {self.trainings} {self.over}, {better} is"
        if accuracy.p_value is None and value == 0:
            return f"Over {self.trainings} {self.over}, {better} and {worse} have the same accuracy each time."
        if accuracy.p_value is None:
            return f"{lead} {value:.2f} points of accuracy above {worse} in each of them; without a spread there is no test."
        p_value = accuracy.p_value if self.p_holm is None else self.p_holm
        corrected = "" if self.p_holm is None else " after Holm's correction"
        tested = f"95 % interval {low:.2f} to {high:.2f}; corrected resampled t-test p = {p_value:.2g}{corrected}"
        if p_value < ALPHA:
            return f"{lead} better than {worse} by {value:.2f} points of accuracy ({tested})."
        return f"{lead} {value:.2f} points of accuracy above {worse}, but the difference may be due to chance ({tested})."

    def as_dict(self) -> dict[str, Any]:
        """Return a plain dict for JSON."""
        figures = {
            name: {**asdict(one.difference), "t": one.statistic, "p_value": one.p_value} for name, one in self.metrics.items()
        }
        return {**asdict(self), "metrics": figures}


def in_favour(difference: Estimate) -> tuple[float, float, float]:
    """Return a difference and its interval in points, with the sign turned so that it favours the better one."""
    points = [round(100 * (bound or 0.0), 2) for bound in (difference.value, difference.low, difference.high)]
    value, low, high = points if (difference.value or 0.0) >= 0 else (-points[0], -points[2], -points[1])
    return value + 0.0, low + 0.0, high + 0.0  # without the sign of a zero


def repetitions(
    networks: Sequence[TrainedNetwork], label: npt.NDArray[np.int64], probabilities: Sequence[npt.NDArray[np.float32]], name: str
) -> tuple[list[Repetition], list[str]]:
    """Compare recipes of which there are several trainings.

    Args:
        networks: cross-validations, or runs.
        label: (N,) labels of the cells that all were compared on.
        probabilities: of each network for these, (N, C).
        name: the set.

    Returns:
        The comparisons, and sentences on those that cannot be made and on what they mean.
    """
    cross_validated = [network for network in networks if network.folds]
    groups = seeds_of(networks)
    if len(cross_validated) < 2 and not groups:  # noqa: PLR2004 - there is nothing to compare
        return [], []
    if name != TEST:
        return [], ["The corrected resampled t-test is for test sets; it is left out here."]
    found, notes = over_folds(cross_validated)
    if groups:
        seeds, more = over_seeds(networks, groups, label, probabilities)
        found, notes = found + seeds, notes + more
    tested = [one.metrics["accuracy"].p_value for one in found]
    if len(found) > 1 and None not in tested:
        found = [replace(one, p_holm=p) for one, p in zip(found, holm([p for p in tested if p is not None]), strict=True)]
    return found, notes


def over_folds(networks: Sequence[TrainedNetwork]) -> tuple[list[Repetition], list[str]]:
    """Compare cross-validations fold by fold."""
    found, notes = [], []
    for first, second in combinations(networks, 2):
        if not all(cells_of(fold, "train") for fold in first.folds):
            continue
        others = {fold.facts.get("split.sha256"): fold for fold in second.folds}
        splits = [fold.facts.get("split.sha256") for fold in first.folds]
        if None in splits or set(splits) != set(others) or len(others) < len(splits):
            notes.append(
                f"{first.title} and {second.title} divide the cells into different folds, so that there is no corrected "
                "resampled t-test; give both the same --folds, --repeats and --data.split_seed."
            )
            continue
        pairs = [(arrays(fold), arrays(others[split])) for fold, split in zip(first.folds, splits, strict=True)]
        training = [cells_of(fold, "train") for fold in first.folds]
        tested = float(np.mean([len(one[0]) for one, _ in pairs]))
        found.append(tested_over(first.title, second.title, "folds", pairs, tested, float(np.mean(training))))
    return found, notes


def over_seeds(
    networks: Sequence[TrainedNetwork],
    groups: Sequence[str],
    label: npt.NDArray[np.int64],
    probabilities: Sequence[npt.NDArray[np.float32]],
) -> tuple[list[Repetition], list[str]]:
    """Compare groups of runs that differ only in their seed, seed by seed; `groups` names the group of each network."""
    found = []
    notes = [
        "All seeds share one split. The test over seeds covers the chance in a training, raised as if other cells had been "
        "trained on and tested, but no other split has been seen."
    ]
    for first, second in combinations(dict.fromkeys(groups), 2):
        one, two = ({seed_of(n): place for place, n in enumerate(networks) if groups[place] == name} for name in (first, second))
        common = [seed for seed in one if seed in two]
        if len(common) < 2:  # noqa: PLR2004 - one difference has no spread
            notes.append(f"{first} and {second} have fewer than two seeds in common, so that there is no test over seeds.")
            continue
        pairs = [((label, probabilities[one[seed]]), (label, probabilities[two[seed]])) for seed in common]
        training = cells_of(networks[one[common[0]]], "train")
        found.append(tested_over(first, second, "seeds", pairs, len(label), training))
    return found, notes


def tested_over(
    first: str,
    second: str,
    over: Literal["folds", "seeds"],
    pairs: Sequence[tuple[Arrays, Arrays]],
    test_cells: float,
    training_cells: float,
) -> Repetition:
    """Test the differences of paired trainings; arguments as `Repetition`."""

    def values(arrays: Arrays) -> dict[str, float]:
        """Compute the metrics of one training."""
        label, probability = arrays
        return {
            name: float(found[0]) for name, found in draw_metrics(label, probability, np.ones((1, len(label)), np.int64)).items()
        }

    both = [(values(one), values(two)) for one, two in pairs]
    metrics = {
        name: corrected_resampled_t([two[name] - one[name] for one, two in both], test_cells, training_cells)
        for name in METRICS
        if all(np.isfinite([one[name], two[name]]).all() for one, two in both)
    }
    return Repetition(first, second, over, len(pairs), test_cells, training_cells, metrics)


def arrays(fold: TrainedNetwork) -> Arrays:
    """Read labels and probabilities of a fold's test, in the order of the cells' names."""
    table = by_cell(fold.predictions(TEST)).sort_index()
    columns = sorted(table.columns[1:])
    places = {class_of_column(column): number for number, column in enumerate(columns)}
    label = np.array([places[name] for name in table["label"]], np.int64)
    return label, table[columns].to_numpy(np.float32)


def cells_of(network: TrainedNetwork, part: str) -> int:
    """Read how many cells a set of a run holds from what it recorded, such as ``48 train, 24 val, 37 test``."""
    found = re.search(rf"(\d+) {part}", network.facts.get("data.cells", ""))
    return int(found.group(1)) if found else 0


def seeds_of(networks: Sequence[TrainedNetwork]) -> list[str]:
    """Group runs that differ only in their seed, under the name of their experiment.

    Returns:
        The group of each network; empty unless at least two groups have several seeds.
    """
    runs = [network.run for network in networks if network.run and not network.folds]
    if len(runs) < len(networks):
        return []
    recipes = [(run.experiment, recipe(run)) for run in runs]
    kinds = list(dict.fromkeys(recipes))
    members = {kind: [place for place, one in enumerate(recipes) if one == kind] for kind in kinds}
    if sum(len(places) > 1 for places in members.values()) < 2:  # noqa: PLR2004 - there is nothing to compare
        return []
    experiments = [experiment for experiment, _ in kinds]
    names = {}
    for kind, places in members.items():
        alone = experiments.count(kind[0]) == 1
        title = kind[0] if alone else f"{kind[0]} like {runs[places[0]].run_id[:8]}"
        names[kind] = title
    return [names[kind] for kind in recipes]


def seed_of(network: TrainedNetwork) -> str:
    """Read the seed of a run."""
    return str((network.config or {}).get("seed_everything"))
