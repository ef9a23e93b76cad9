"""``summary.json``: a run in figures, for programs."""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bcc_lightning.evaluation.intervals import Interval


@dataclass
class Summary:
    """The figures of a run.

    Attributes:
        run_id: MLflow's id.
        experiment: name of the experiment file, or files.
        status: ``FINISHED``, ``FAILED`` or ``KILLED``.
        failure: why it failed, or None.
        checkpoint: the chosen checkpoint, by its name among the run's artifacts; in the copy of ``--summary`` its whole path.
        metrics: last value of each metric.
        intervals: 95 % interval of each test metric that has one.
        data: facts of the data set.
        identity: hash of each of its components, which tells what differs where ``data.sha256`` does.
        seconds: wall time by part: ``fit``, ``test``, ``total``.
        images_per_second: training images per second of training steps.
        parameters: number of parameters of the network.
        test_time: over which views of a test cell the probabilities were averaged; None where each was looked at once.
        best_epoch: the epoch whose weights were kept, from 0.
        tested_on: the part that the chosen weights were evaluated on: ``test``; ``validation`` in a search's trial, which never
            reads the test part.
        confusion: (C, C) confusion matrix of the set that was evaluated, rows true, columns predicted; summed over folds.
        folds: run id, test accuracy, share of the most frequent class, cells and confusion matrix of each fold of a
            cross-validation; its `metrics` are means and standard deviations.
        warnings: sentences on a network that has learnt little, such as one that answers a single class.
        notes: sentences on sets that lack classes or have few cells of one.
        members: name, title, weight and test accuracy of each member of an ensemble.
    """

    run_id: str
    experiment: str
    status: str = "RUNNING"
    failure: str | None = None
    checkpoint: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, Interval] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)
    identity: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    images_per_second: float | None = None
    parameters: int | None = None
    test_time: str | None = None
    best_epoch: int | None = None
    tested_on: str = "test"
    confusion: list[list[int]] = field(default_factory=list)
    folds: list[dict[str, Any]] = field(default_factory=list)
    members: list[dict[str, str | float]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def accuracy_of_folds(self) -> str:
        """Name of the metric that folds are compared by: test accuracy, in a search's trial that of the validation part."""
        return "test/accuracy" if self.tested_on == "test" else "val/accuracy"

    def as_dict(self) -> dict[str, object]:
        """Give a plain dict for JSON."""
        return asdict(self)


def read_summary(file: Path) -> Summary:
    """Read a summary back from its JSON file."""
    return Summary(**json.loads(file.read_text(encoding="utf-8")))


class Stopwatch:
    """Measures the wall time of parts, in seconds."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._start
