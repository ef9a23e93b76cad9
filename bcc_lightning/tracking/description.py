"""A run in words: what its network is for, what it was trained on and how, and what limits its figures."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from bcc_lightning.evaluation.by_class import ClassCounts, by_class, most_mistaken
from bcc_lightning.evaluation.metrics import metric_of, title_of
from bcc_lightning.modules.assumed_shares import ASSUMES_BLOOD
from bcc_lightning.pages.numbers import interval_of, number, percent, percent_interval
from bcc_lightning.tracking.run_files import RunFolder, Summary

SETS = {"train": "training", "val": "validation", "test": "test"}

MERITS = {
    "accuracy": "accuracy",
    "most_frequent": "always answering the most frequent class",
    "recall_macro": "balanced accuracy (mean recall of the classes)",
    "precision_macro": "mean precision of the classes",
    "f1_macro": "mean F1 of the classes",
    "precision_weighted": "precision, weighted by the frequency of the classes",
    "recall_weighted": "recall, weighted by the frequency of the classes",
    "f1_weighted": "F1, weighted by the frequency of the classes",
    "auroc_macro": "mean area under the ROC curve",
    "ece": "expected calibration error (lower is better)",
    "coverage_95": "95 % prediction sets that contain the true class",
    "abstained": "cells less familiar to the network than 95 % of its own",
}
"""Figures of merit of a set, and what a reader calls them; others are shown by their names."""

PAINTED = "SyntheticSmear"

FACTS = {
    "data.name": "Data set",
    "data.cells": "Cells",
    "data.laboratories": "Laboratories",
    "data.few_shot": "Training cells drawn",
    "data.resolution": "Pixels per side",
    "data.bits": "Bits per channel",
    "data.copies_left_out": "Copies left out",
    "data.outliers_left_out": "Outliers left out",
    "data.official": "Published file",
    "data.nucleus_diameter": "Diameter of the nucleus, share of the side",
    "data.sha256": "Hash of the data",
    "split.sha256": "Hash of the split",
}
"""Facts about the data, and what a reader calls them."""


INTENDED_USE = (
    "It is intended for research, and for proposals that a person trained in blood cell morphology checks. It is not a medical "
    "device: not for diagnosis, and not for decisions about patients."
)


VOTE = "The figures are means over the networks of a cross-validation; their vote was not tested."


def limits_of_any(classes: int) -> list[str]:
    """Return what no classifier of single cells can do; `classes` is how many it knows."""
    return [
        f"Every image is assigned to one of the {classes} classes, even if it shows an artefact, several cells, or a kind of "
        "cell that is not among them.",
        "An image must show one cell, centred and at the scale of the training images.",
    ]


@dataclass(frozen=True)
class EvaluatedSet:
    """A set that the network was judged by.

    Attributes:
        name: of the set.
        metrics: its metrics by their short names, such as ``accuracy``.
        intervals: 95 % intervals of these.
        matrix: (C, C) confusion matrix; None where it is not known.
        classes: figures by class; empty where the matrix is not known.
        mistakes: the most frequent ones: cells, their class, and the class they were taken for.
    """

    name: str
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    matrix: npt.NDArray[np.int64] | None = None
    classes: dict[str, ClassCounts] = field(default_factory=dict)
    mistakes: list[tuple[int, str, str]] = field(default_factory=list)

    @property
    def title(self) -> str:
        """Heading of the set."""
        return title_of(self.name)

    @property
    def cells(self) -> int:
        """Number of its cells; 0 where it is not known."""
        return 0 if self.matrix is None else int(self.matrix.sum())

    @property
    def most_frequent_class(self) -> str:
        """The most frequent class; empty where it is not known."""
        return max(self.classes, key=lambda name: self.classes[name].cells) if self.classes else ""

    def figure(self, metric: str) -> str:
        """Format a metric as a number."""
        return number(self.metrics.get(metric), self.intervals.get(metric))

    def share(self, metric: str) -> str:
        """Format a metric in percent."""
        return percent(self.metrics.get(metric), self.intervals.get(metric))

    @property
    def accuracy(self) -> str:
        """The accuracy in words, with its interval and that of always answering the most frequent class."""
        most, interval = self.most_frequent_class or "the most frequent class", self.intervals.get("accuracy")
        limits = f"95 % interval {percent_interval(interval)}; " if interval else ""
        return f"{self.share('accuracy')} ({limits}always answering {most}: {percent(self.metrics['most_frequent'], interval)})"


def merit(evaluated: EvaluatedSet, metric: str) -> str:
    """Format a figure of merit with its interval."""
    value, interval = evaluated.metrics.get(metric), evaluated.intervals.get(metric)
    if metric == "most_frequent":
        return number(value, evaluated.intervals.get("accuracy"))
    return f"{number(value, interval)} ({interval_of(interval)})" if interval and value is not None else number(value)


class Description:
    """A run in words.

    Args:
        summary: its figures.
        config: its resolved configuration; empty where it is not known.
    """

    def __init__(self, summary: Summary, config: Mapping[str, Any]) -> None:
        self.summary = summary
        self.config = config
        self.sets = list(evaluated_sets(summary))

    @classmethod
    def of(cls, folder: RunFolder, summary: Summary) -> "Description":
        """Read the configuration from the folder of a run."""
        text = folder.config.read_text(encoding="utf-8") if folder.config.is_file() else ""
        found = yaml.safe_load(text) if text else {}
        return cls(summary, found if isinstance(found, dict) else {})

    def setting(self, group: str, name: str) -> Any:  # noqa: ANN401 - whatever the configuration holds
        """Return a value of the configuration; None where there is none."""
        values = self.config.get(group) or {}
        return (values.get("init_args") or values).get(name) if isinstance(values, dict) else None

    @property
    def own(self) -> EvaluatedSet | None:
        """The set that the run is judged by; None where it was not evaluated."""
        return next((one for one in self.sets if one.name == self.summary.tested_on), None)

    @property
    def further(self) -> list[EvaluatedSet]:
        """The further test sets."""
        return [one for one in self.sets if one.name != self.summary.tested_on]

    @property
    def is_painted(self) -> bool:
        """Whether the cells were painted by a program."""
        return self.summary.data.get("data.name") == PAINTED

    @property
    def left_out(self) -> str:
        """The laboratory whose cells are the test set and were not trained on; empty without one."""
        return self.setting("data", "leave_out") or ""

    @property
    def network(self) -> str:
        """The network in words."""
        kind = str((self.config.get("model") or {}).get("class_path", "")).rpartition(".")[2]
        backbone = self.setting("model", "backbone")
        count, trained = self.summary.parameters, self.summary.trained
        size = f", {count:,} parameters" if count else ""
        part = f", {trained:,} of them trained" if count and trained is not None and trained < count else ""
        return f"{kind or 'network'}{f' with {backbone}' if backbone else ''}{size}{part}"

    @property
    def purpose(self) -> str:
        """What the network is for."""
        classes = self.summary.classes
        into = f", into {len(classes)} classes: {', '.join(classes)}" if classes else ""
        return f"The network classifies images of single blood cells, cut out of stained smears{into}. {INTENDED_USE}"

    @property
    def limits(self) -> list[str]:
        """What limits the figures, one sentence or two for each reason."""
        summary, own, found = self.summary, self.own, []
        if self.is_painted:
            found.append("The cells are painted by a program. The figures say nothing about real cells.")
        elif self.left_out:
            found.append(f"The test cells come from {self.left_out}, a laboratory whose cells were not used for training.")
        elif not self.further:
            several = "data.laboratories" in summary.data
            source = "the laboratories of the training cells" if several else "the source of the training cells"
            found.append(
                f"All cells come from {source}. How the network performs with another stain, camera or laboratory has not been "
                "measured."
            )
        if self.further and own and not self.is_painted and not self.left_out:
            found += [
                f"On {one.name}, {one.cells:,} cells from elsewhere, the accuracy is {one.share('accuracy')}, compared "
                f"with {own.share('accuracy')} on its own test set. Expect such a difference in any other laboratory."
                for one in self.further
            ]
        if summary.grouped is False and not self.is_painted and not self.left_out:
            found.append(
                "The data do not say which cells come from the same patient or slide, so cells of one smear may be in both the "
                "training and the test set. The figures are then too high for new patients."
            )
        if own and (weakest := weakest_class(own)):
            found.append(weakest)
        if self.setting("model", "class_shares") == "blood":
            found.append(ASSUMES_BLOOD)
        found += limits_of_any(len(summary.classes))
        if own and "ece" in own.metrics:
            error = percent(own.metrics["ece"], own.intervals.get("ece"))
            found.append(f"On average, a probability differs from the share of correct answers by {error} (calibration error).")
        if summary.folds:
            return [*found, VOTE]
        found.append(
            "Intervals show how much a figure would vary in another sample of the same size and origin. They cover neither the "
            "randomness of training nor other laboratories."
        )
        return found

    @property
    def recipe(self) -> str:
        """How the network was trained, in one sentence; empty for an ensemble, and where the configuration is not known."""
        optimizer, epochs = self.setting("model", "optimizer"), self.setting("trainer", "max_epochs")
        if self.summary.members or optimizer is None:
            return ""
        parts = [
            f"{optimizer}, learning rate {self.setting('model', 'lr'):g}, schedule {self.setting('model', 'schedule')}",
            f"weight decay {self.setting('model', 'weight_decay'):g}",
            f"loss {self.setting('model', 'loss')}",
            f"at most {epochs} epochs of batches of {self.setting('data', 'batch_size')}",
            f"augmentation {self.setting('data', 'augment')}",
            f"correction for rare classes {self.setting('data', 'balance')}",
            f"seed {self.config.get('seed_everything')}",
        ]
        return "; ".join(parts)

    @property
    def selection(self) -> str:
        """How the weights were chosen that were tested."""
        keep, monitor = self.setting("selection", "keep"), self.setting("selection", "monitor")
        epoch = self.summary.best_epoch
        if self.summary.members or keep is None:
            return ""
        chosen = "those of the last epoch" if keep == "last" else f"those of the epoch with the best {monitor}"
        return f"{chosen}{f', epoch {epoch} (counted from 0)' if epoch is not None else ''}; the test set was not used for this"

    def rows(self) -> list[tuple[str, str]]:
        """List what was trained on what, when and by which code: label and text."""
        summary = self.summary
        known = summary.provenance
        commit = known.get("mlflow.source.git.commit", "")
        seconds = ", ".join(
            f"{summary.tested_on if part == 'test' else part} {value:,.1f} s" for part, value in summary.seconds.items()
        )
        software = ", ".join(
            f"{name.removeprefix('version.')} {text}" for name, text in known.items() if name.startswith("version.")
        )
        speed = f"{summary.images_per_second:,.0f} images per second" if summary.images_per_second else ""
        found = [
            ("Run", f"{summary.run_id} ({summary.status})"),
            ("Started", (summary.started or "").replace("T", " ")),
            ("Duration", seconds),
            ("Commit", commit.replace("-dirty", ", with uncommitted changes")),
            ("Device", known.get("device", "")),
            ("Software", software),
            ("Network", self.network),
            *((started_from(part), text(origin)) for part, origin in summary.weights.items()),
            ("Training", self.recipe),
            ("Training speed", speed),
            ("Weights kept", self.selection),
            ("Test-time augmentation", summary.test_time or ""),
            *((FACTS.get(name, name), value) for name, value in summary.data.items()),
        ]
        return [(label, value) for label, value in found if value]


def started_from(part: str) -> str:
    """Label the origin of a part's first weights."""
    return "Training started from" if part == "network" else f"Training started from, {part}"


def text(origin: str) -> str:
    """Describe the origin of weights."""
    return "random weights" if origin == "random" else origin


def weakest_class(evaluated: EvaluatedSet) -> str:
    """Describe the class that is recognised least well; empty where there are no figures by class."""
    known = {name: one for name, one in evaluated.classes.items() if one.recall is not None}
    if not known:
        return ""
    name = min(known, key=lambda name: known[name].recall or 0.0)
    one = known[name]
    interval = one.intervals.get("recall")
    limits = f"95 % interval {percent_interval(interval)}, " if interval else ""
    return f"It recognises {name} least well: recall {percent(one.recall, interval)} ({limits}{one.cells:,} cells)."


def evaluated_sets(summary: Summary) -> Iterator[EvaluatedSet]:
    """Lay out what is known of each set that a finished run was judged by, its own first."""
    own = summary.tested_on
    matrices = {own: summary.confusion, **summary.further_confusion}
    further = [name.split("/", 2)[1] for name in summary.metrics if name.startswith("test_on/") and name.endswith("/accuracy")]
    for name in dict.fromkeys([own, *further]):
        prefix = metric_of(name, "")
        metrics = {key.removeprefix(prefix): value for key, value in summary.metrics.items() if key.startswith(prefix)}
        limits = {key.removeprefix(prefix): value for key, value in summary.intervals.items() if key.startswith(prefix)}
        if "most_frequent" not in metrics or ("accuracy" not in limits and not summary.folds):
            continue
        matrix = np.array(matrices.get(name) or [], np.int64)
        if matrix.size and len(summary.classes) == len(matrix):
            known = by_class(matrix, summary.classes)
            if summary.folds:  # folds may share cells, so that their sum has no interval
                known = {name: replace(one, intervals={}) for name, one in known.items()}
            yield EvaluatedSet(name, metrics, limits, matrix, known, most_mistaken(matrix, summary.classes, 5))
        else:
            yield EvaluatedSet(name, metrics, limits)
