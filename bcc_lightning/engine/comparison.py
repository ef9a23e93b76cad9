"""What came out of a comparison of trained networks, and the sentences that sum it up."""

from dataclasses import asdict, dataclass
from string import ascii_uppercase
from typing import Any

import pandas as pd

from bcc_lightning.engine.repetitions import Repetition, in_favour
from bcc_lightning.evaluation.comparison import PairedFigures
from bcc_lightning.tracking.trained_networks import TrainedNetwork


@dataclass(frozen=True)
class Comparison:
    """Networks compared on one set.

    Attributes:
        name: the set, such as ``test``.
        networks: the M networks, in the order in which they were named.
        class_names: names of the C classes.
        answers: a row per cell: ``id``, ``label``, ``differ`` (whether some networks are right and others wrong), and for each
            network ``predicted_<run>``, ``probability_<run>`` (of the predicted class), ``true_probability_<run>`` (of the true
            class) and ``right_<run>``, where ``<run>`` is the beginning of its run id.
        figures: what came out, cell by cell.
        repetitions: what came out over folds or seeds.
        configuration: key of the configuration to its value in each network, for those that differ.
        notes: sentences that a reader of these figures should know.
    """

    name: str
    networks: list[TrainedNetwork]
    class_names: list[str]
    answers: pd.DataFrame
    figures: PairedFigures
    repetitions: list[Repetition]
    configuration: dict[str, list[str | None]]
    notes: list[str]

    def __repr__(self) -> str:
        """Show the verdict: what a person looks for in a notebook."""
        return "\n".join(self.verdict)

    @property
    def letters(self) -> list[str]:
        """A letter for each network; numbers beyond 26."""
        many = len(self.networks) > len(ascii_uppercase)
        return [str(place + 1) if many else ascii_uppercase[place] for place in range(len(self.networks))]

    @property
    def names(self) -> list[str]:
        """Letter and title of each network."""
        return [f"{letter} {network.title}" for letter, network in zip(self.letters, self.networks, strict=True)]

    @property
    def verdict(self) -> list[str]:
        """Sentences that say which network is better, by how much, and whether that may be chance."""
        by_cells = [self._by_cells(number) for number in range(len(self.figures.pairs))]
        return [*(one.sentence for one in self.repetitions), *by_cells, *self._below_most_frequent()]

    @property
    def summary(self) -> list[str]:
        """Sentences like those of `verdict`, with the pairs counted."""
        decided = [f"{self.letters[p.first]} and {self.letters[p.second]}" for p in self.figures.pairs if p.is_decided]
        named = f": {', '.join(decided)}" if decided else ""
        counted = f"{len(decided)} of {len(self.figures.pairs)} pairs differ in accuracy beyond chance{named}."
        return [*(one.sentence for one in self.repetitions), counted, *self._below_most_frequent()]

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """Run id to metric to ``value``, ``low`` and ``high``."""
        found = zip(self.run_ids, self.figures.metrics, strict=True)
        return {run_id: {name: asdict(one) for name, one in metrics.items()} for run_id, metrics in found}

    @property
    def run_ids(self) -> list[str]:
        """Run id of each network."""
        return [str(network.run_id) for network in self.networks]

    def as_dict(self) -> dict[str, Any]:
        """Return a plain dict for JSON; differences are second minus first."""
        pairs = [({"first": self.run_ids[p.first], "second": self.run_ids[p.second]}, p) for p in self.figures.pairs]
        counted = ("both_right", "only_first", "only_second", "both_wrong", "p_value")
        tested = [{**who, **{name: getattr(pair, name) for name in counted}} for who, pair in pairs]
        return {
            "set": self.name,
            "cells": self.figures.cells,
            "most_frequent": self.figures.most_frequent,
            "most_frequent_class": self.figures.most_frequent_class,
            "runs": {run_id: network.title for run_id, network in zip(self.run_ids, self.networks, strict=True)},
            "metrics": self.metrics,
            "differences": [{**who, **{name: asdict(one) for name, one in p.differences.items()}} for who, p in pairs],
            "mcnemar": tested,
            "holm": [{**who, "p_value": pair.p_holm} for who, pair in pairs] if len(pairs) > 1 else None,
            "resampled": [one.as_dict() for one in self.repetitions],
            "classes": {
                name: {"cells": one.cells, "right": dict(zip(self.run_ids, one.right, strict=True))}
                for name, one in self.figures.classes.items()
            },
            "configuration": {key: dict(zip(self.run_ids, values, strict=True)) for key, values in self.configuration.items()},
            "verdict": self.verdict,
            "notes": self.notes,
        }

    def _by_cells(self, number: int) -> str:
        """Sum up a pair in one sentence."""
        pair = self.figures.pairs[number]
        found = pair.differences["accuracy"]
        value, low, high = in_favour(found)
        better, worse = (pair.second, pair.first) if (found.value or 0.0) >= 0 else (pair.first, pair.second)
        tested = f"95 % interval {low:.2f} to {high:.2f}; exact McNemar {in_p(pair.p_value)}"
        tested += (
            "" if pair.p_holm is None else f", {in_p(pair.p_holm)} after Holm's correction for {len(self.figures.pairs)} pairs"
        )
        only = {pair.first: pair.only_first, pair.second: pair.only_second}
        noun = "cell" if only[better] == 1 else "cells"
        cells = f"{only[better]:,} {noun} only {self.letters[better]} gets right, {only[worse]:,} only {self.letters[worse]}"
        if pair.only_first == pair.only_second == 0:
            return f"{self.names[pair.first]} and {self.names[pair.second]} are right and wrong on exactly the same cells."
        points = f"{value:.2f} points of accuracy"
        if pair.is_decided:
            return f"{self.names[better]} is better than {self.names[worse]} by {points} ({tested}): {cells}."
        if pair.only_first == pair.only_second:
            return f"{self.names[pair.first]} and {self.names[pair.second]} have the same accuracy ({tested}): {cells}."
        return (
            f"{self.names[better]} is {points} above {self.names[worse]}, but the difference may be due to chance ({tested}): "
            f"{cells}."
        )

    def _below_most_frequent(self) -> list[str]:
        """Name the networks that are no better than always answering the most frequent class."""
        most = self.figures.most_frequent
        accuracies = [metrics["accuracy"].value or 0.0 for metrics in self.figures.metrics]
        return [
            f"{name} is no better than always answering {self.figures.most_frequent_class}: {100 * accuracy:.2f} % of the cells "
            f"instead of {100 * most:.2f} %."
            for name, accuracy in zip(self.names, accuracies, strict=True)
            if accuracy <= most
        ]


def in_p(p_value: float) -> str:
    """Format a p-value."""
    return "p < 0.0001" if p_value < 0.0001 else f"p = {p_value:.2g}"  # noqa: PLR2004 - smaller ones say no more
