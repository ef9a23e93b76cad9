"""How much shorter a run was than its recipe."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
import yaml

from bcc_lightning.cli.experiment_files import find_experiment
from bcc_lightning.cli.needs import epochs as epochs_stated
from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.reliability import Interval, wilson
from bcc_lightning.tracking.finished_runs import FinishedRun

PARTS = (
    "data.few_shot",
    "trainer.limit_train_batches",
    "trainer.limit_val_batches",
    "trainer.limit_test_batches",
    "trainer.fast_dev_run",
)
"""Flags with which a run uses only some of its cells."""


def shortened(experiment: str, params: dict[str, str]) -> list[str]:
    """Describe in which ways a run was shorter than its experiment's file.

    Args:
        experiment: name of the experiment.
        params: the run's whole configuration, see `FinishedRun.parameters`.
    """
    given = {key: value for key, value in params.items() if value not in {"None", "False"}}
    said = [f"CUT SHORT by {key} {given[key]}" for key in PARTS if key in given]
    epochs, recipe = int(given.get("trainer.max_epochs", 0)), epochs_of_recipe(experiment)
    if recipe and 0 < epochs < recipe:
        said.append(f"CUT SHORT to {epochs} of the recipe's {recipe} epochs")
    if "trainer.max_time" in given:
        said.append(f"training time LIMITED to {given['trainer.max_time']} (days:hours:minutes:seconds)")
    return said


def epochs_of_recipe(experiment: str) -> int | None:
    """Read how many epochs an experiment's file allows; None if there is no such file."""
    try:
        return epochs_stated(yaml.safe_load(find_experiment(experiment).read_text(encoding="utf-8")))
    except UserError:
        return None


PAINTED = "SyntheticSmear"

ACCURACY = "test/accuracy"

FREE = re.compile(
    r"seed_everything|exp|tracking\..*|data\.(root|cache_dir|num_workers|download|verify_checksum)"
    r"|trainer\.(enable_.*|default_root_dir)"
)
"""Parameters that may differ between repetitions of a run."""

BACKBONES = ("backbone", "swin", "cnn", "inception", "xception")
"""Parameters that name a network with published weights; modules without them always start from random weights."""


@dataclass(frozen=True)
class Result:
    """One result of an experiment.

    Attributes:
        accuracy: test accuracy in [0, 1]; the mean if there are several seeds or folds.
        interval: 95 % interval; None for folds, whose results are not independent.
        detail: description of the result if it is not that of a single run.
        data: data, resolution, and the initial weights.
        runs: run ids, the newest first.
        most_frequent: accuracy of always answering the most frequent class; None if a run does not record it.
        weights: where the weights came from that training started from.
    """

    accuracy: float
    interval: Interval | None
    detail: str
    data: str
    runs: tuple[str, ...]
    most_frequent: float | None = None
    weights: str = ""

    def __str__(self) -> str:
        """Format the result in percent."""
        interval = f" ({100 * self.interval[0]:.2f} to {100 * self.interval[1]:.2f})" if self.interval else ""
        return ", ".join(part for part in (f"{100 * self.accuracy:.2f}{interval}", self.detail, self.beside) if part)

    @property
    def beside(self) -> str:
        """The most frequent class's share in percent, shown beside the accuracy; empty if unknown."""
        return "" if self.most_frequent is None else f"most frequent class {100 * self.most_frequent:.2f}"


def result_of(runs: Sequence[FinishedRun]) -> Result | None:
    """Summarise the finished runs of one experiment.

    The newest run counts; if other runs differ from it only in the seed, the result is the mean over the seeds, with the newest
    run of each. Runs on painted cells count only if there are no others.

    Args:
        runs: all runs, the newest first.

    Returns:
        The result; None if there are no runs.
    """
    tested = [run for run in runs if ACCURACY in run.summary.metrics]
    real = [run for run in tested if run.summary.data.get("data.name") != PAINTED] or tested
    if not real:
        return None
    newest = real[0]
    if newest.summary.folds:
        return cross_validated(newest)
    seeds: dict[str, FinishedRun] = {}
    for run in real:
        if not run.summary.folds and recipe(run) == recipe(newest):
            seeds.setdefault(run.parameters.get("seed_everything", run.run_id), run)
    return single(newest) if len(seeds) == 1 else mean_of(list(seeds.values()))


def single(run: FinishedRun) -> Result:
    """Return the result of one run."""
    summary = run.summary
    interval = summary.intervals.get(ACCURACY)
    return Result(summary.metrics[ACCURACY], interval, "", data_of(run), (run.run_id,), majority(run), beginning(run))


def majority(run: FinishedRun) -> float | None:
    """Read the share of the most frequent class in a run's test set."""
    return run.summary.metrics.get("test/most_frequent")


def mean_of(runs: list[FinishedRun]) -> Result:
    """Average runs with several seeds.

    The interval is Wilson's for the mean: all seeds were tested on the same cells, so more seeds do not make it narrower. The
    standard deviation beside it is the variation between seeds.
    """
    values = [run.summary.metrics[ACCURACY] for run in runs]
    mean, cells = float(np.mean(values)), cells_tested(runs[0].summary.data.get("data.cells", ""))
    interval = wilson(round(mean * cells), cells) if cells else None
    detail = f"mean of {len(runs)} seeds, standard deviation {100 * np.std(values, ddof=1):.2f}"
    first, ids = runs[0], tuple(run.run_id for run in runs)
    return Result(mean, interval, detail, data_of(first), ids, majority(first), beginning(first))


def cross_validated(run: FinishedRun) -> Result:
    """Return mean and standard deviation of a cross-validation."""
    metrics = run.summary.metrics
    detail = f"± {100 * metrics[f'{ACCURACY}_sd']:.2f} over {len(run.summary.folds)} folds"
    return Result(metrics[ACCURACY], None, detail, data_of(run), (run.run_id,), majority(run), beginning(run))


def recipe(run: FinishedRun) -> tuple[object, ...]:
    """Return what repetitions have in common: all parameters except the seed, the data and the split."""
    parameters = frozenset((key, value) for key, value in run.parameters.items() if not FREE.fullmatch(key))
    return parameters, run.summary.data.get("data.sha256"), run.summary.data.get("split.sha256")


def cells_tested(cells: str) -> int:
    """Read the number of test cells from a fact such as ``48 train, 24 val, 37 test``; 0 if there is none."""
    found = re.search(r"(\d+) test", cells)
    return int(found.group(1)) if found else 0


def data_of(run: FinishedRun) -> str:
    """Describe the conditions of a result: data, resolution, initial weights, and deviations from the recipe."""
    facts, params = run.summary.data, run.parameters
    name = facts.get("data.name", "unknown data")
    if facts.get("data.official") == "false":
        place = PurePath(params.get("data.root", "")).name
        name += f", UNOFFICIAL file ({place})" if place not in {"", "None"} else ", UNOFFICIAL file"
    if name == PAINTED:
        name += ", PAINTED cells"
    parts = [name, facts.get("data.resolution", ""), beginning(run)]
    if (augmented := params.get("model.test_time", "none")) not in {"none", "None"}:
        parts.append(f"test-time augmentation {augmented}")
    parts += shortened(run.experiment, params)
    return ", ".join(part for part in parts if part)


def beginning(run: FinishedRun) -> str:
    """Describe the initial weights: as the run has recorded them, else from its parameters."""
    params, weights = run.parameters, run.summary.weights
    if "model.members" in params:
        return "weights of its members"
    if weights:
        named = {part: origin.partition(", sha256")[0] for part, origin in weights.items()}
        if len(set(named.values())) == 1:
            named = {"weights": next(iter(named.values()))}
        shown = {part: "random weights" if origin == "random" else origin for part, origin in named.items()}
        return next(iter(shown.values())) if len(shown) == 1 else ", ".join(f"{part}: {origin}" for part, origin in shown.items())
    if params.get("model.weights", "None") != "None":
        return f"weights from {PurePath(params['model.weights']).name}"
    has_published_weights = any(f"model.{name}" in params for name in BACKBONES)
    return "pretrained" if has_published_weights and params.get("model.pretrained") == "True" else "random weights"
