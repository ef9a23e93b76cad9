"""Lightning's view of a tracked run."""

import json
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from bcc_lightning.files import write_json
from bcc_lightning.tracking.run import TrackedRun

SINGLE = ("test/", "test_on/")
"""Metrics that are measured once. They are logged at step 0: MLflow draws such a metric as a bar, not as a curve of one dot."""

DIGITS = 6
"""Decimals of a single figure; torch's 32-bit numbers would be shown with noise behind them."""


class MetricHistory:
    """The metrics of each epoch, kept on disk so that a resumed run draws whole curves.

    Args:
        file: JSON file; read if it exists.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.epochs: dict[int, dict[str, float]] = {}
        if file.is_file():
            self.epochs = {int(epoch): row for epoch, row in json.loads(file.read_text(encoding="utf-8")).items()}

    def add(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Add metrics to an epoch; those of an epoch that is trained again replace the old ones."""
        self.epochs.setdefault(epoch, {}).update(metrics)
        write_json(self.file, {str(number): row for number, row in sorted(self.epochs.items())})

    def at(self, epoch: int | None) -> dict[str, float]:
        """Return the metrics of an epoch, and those of the test."""
        test = {k: v for row in self.epochs.values() for k, v in row.items() if k.startswith(SINGLE)}
        return {**self.epochs.get(-1 if epoch is None else epoch, {}), **test}

    def kept_epoch(self, monitor: str, mode: str, keep: str) -> int | None:
        """Return the epoch whose weights were kept: the best, the first of equals, or the last; None before the first ends."""
        epochs, values = self.curve(monitor)
        if not epochs or keep == "last":
            return epochs[-1] if epochs else None
        return epochs[values.index(max(values) if mode == "max" else min(values))]

    def curve(self, metric: str) -> tuple[list[int], list[float]]:
        """Return the epochs that have a metric, and its values."""
        pairs = [(epoch, row[metric]) for epoch, row in sorted(self.epochs.items()) if metric in row]
        return [epoch for epoch, _ in pairs], [value for _, value in pairs]


class RunLogger(Logger):
    """Hands Lightning's metrics to a tracked run.

    Metrics of a whole epoch are logged at the epoch's number, so that runs with different batch sizes lie over each other in
    the UI; those of training that end in ``_step`` at the number of the step; those of a test once, at 0.

    Args:
        run: where they go.
    """

    def __init__(self, run: TrackedRun) -> None:
        super().__init__()
        self.run = run
        self.history = MetricHistory(run.folder.state / "history.json")

    @property
    def name(self) -> str:
        """Lightning's name of the logger."""
        return "mlflow"

    @property
    def version(self) -> str:
        """The run id."""
        return self.run.run_id

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Do nothing: a run logs its whole configuration, of which these are a part."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log metrics."""
        epoch = int(metrics.get("epoch", 0))
        by_step = {name: value for name, value in metrics.items() if name.startswith("train/") and name.endswith("_step")}
        by_epoch = {name: value for name, value in metrics.items() if name not in by_step and name != "epoch"}
        single = {name: round(value, DIGITS) for name, value in by_epoch.items() if name.startswith(SINGLE)}
        curves = {name: value for name, value in by_epoch.items() if name not in single}
        for found, place in ((by_step, step or 0), (curves, epoch), (single, 0)):
            if found:
                self.run.log_metrics(found, place)
        if by_epoch:
            self.history.add(epoch, {**by_epoch, **single})

    def complete(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log those metrics of an epoch that have not been logged."""
        known = self.history.epochs.get(epoch, {})
        self.log_metrics({**{name: value for name, value in metrics.items() if name not in known}, "epoch": epoch})
