"""What a run leaves behind: its folder, its files, and ``summary.json``."""

import json
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bcc_lightning.files import refuse_missing, whole_file
from bcc_lightning.safe_names import file_name

if TYPE_CHECKING:  # it imports torch, which takes seconds; the workers of a search do without
    from bcc_lightning.evaluation.reliability import Interval

PARENT_VARIABLE = "MLFLOW_PARENT_RUN_ID"
"""Environment variable that names the run whose children new runs are."""

PARENT = "mlflow.parentRunId"
"""Tag of folds and trials that names the run they belong to."""


def refuse_missing_checkpoint(file: Path) -> None:
    """Refuse a checkpoint that does not exist."""
    refuse_missing(file, "a finished run files one as checkpoints/best.ckpt", "checkpoint")


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run on this machine.

    `artifacts` mirrors what the tracking server gets when the run ends; `state` holds what only resuming needs. Files are
    written whole or not at all.

    Attributes:
        path: the folder, named by the run id.
    """

    path: Path

    @property
    def artifacts(self) -> Path:
        """Folder of all artifacts."""
        return self.path / "artifacts"

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.artifacts / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoint that validation chose, ``best.ckpt``."""
        return self.artifacts / "checkpoints"

    def predictions(self, name: str) -> Path:
        """Predictions of the test, the validation or a further test set: id, label, a probability per class."""
        return self.artifacts / "predictions" / f"{file_name(name)}.parquet"

    @property
    def split(self) -> Path:
        """Which cell stood in which split; ``--data.split_file`` takes it."""
        return self.artifacts / "split.csv"

    @property
    def summary(self) -> Path:
        """Figures of the run, for programs."""
        return self.artifacts / "summary.json"

    @property
    def report(self) -> Path:
        """Report of the run, for people."""
        return self.artifacts / "report.html"

    @property
    def model_card(self) -> Path:
        """Model card of the run, Markdown with metadata as Hugging Face reads them."""
        return self.artifacts / "model_card.md"

    @property
    def mistakes(self) -> Path:
        """The worst mistakes on each evaluated set, which the report shows."""
        return self.state / "mistakes.json"

    def figure(self, name: str) -> Path:
        """A figure: ``curves``, ``confusion_matrix``, ``reliability``, ``class_counts`` or ``samples``."""
        return self.artifacts / "figures" / f"{name}.png"

    def explanation(self, name: str) -> Path:
        """A sheet of maps: ``gradcam``."""
        return self.artifacts / "explain" / f"{name}.png"

    @property
    def state(self) -> Path:
        """Folder of the state that resuming goes on from."""
        return self.path / "state"

    @property
    def last_checkpoint(self) -> Path:
        """State after the last finished epoch."""
        return self.state / "last.ckpt"

    @property
    def folds(self) -> Path:
        """State of a cross-validation, in the folder of its parent run."""
        return self.state / "folds.json"

    @property
    def parent(self) -> Path:
        """Holds the run id of the cross-validation that this run is a fold of."""
        return self.state / "parent"

    @property
    def decided(self) -> Path:
        """Which keys of the configuration were decided, and all its values, when the run began."""
        return self.state / "decided.json"

    @property
    def data_record(self) -> Path:
        """What the run's data were when it began, which a resumed run compares."""
        return self.state / "data.json"

    @property
    def weight_origins(self) -> Path:
        """Where the weights come from that the training started from, which a resumed run does not load again."""
        return self.state / "weights.json"

    @property
    def first_split(self) -> Path:
        """Which cell is in which set in the first fold of a cross-validation, in the folder of its parent run."""
        return self.state / "split.csv"

    @property
    def lock(self) -> Path:
        """File that the process which trains keeps locked, see `bcc_lightning.tracking.claim`."""
        return self.path / "lock"

    @property
    def alive(self) -> Path:
        """Who trains the run; touched every few seconds while it does, and removed at the end."""
        return self.path / "alive.json"

    @property
    def unsent(self) -> Path:
        """Metrics and tags that the tracking server has not got yet, one JSON object a line."""
        return self.path / "unsent.jsonl"

    def write_config(self, config: dict[str, Any]) -> None:
        """Write the resolved configuration."""
        with whole_file(self.config) as draft:
            draft.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")

    def create(self) -> None:
        """Create the folders."""
        self.artifacts.mkdir(parents=True, exist_ok=True)
        self.state.mkdir(parents=True, exist_ok=True)

    def remove(self) -> None:
        """Delete the folder; everything worth keeping has been filed. What is left of it cannot be taken for a run."""
        self.config.unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)


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
        started: when the run began, in ISO 8601 with the time zone.
        provenance: commit, device, and versions of packages.
        classes: names of the C classes.
        cells: cells of each class in each set: ``train``, ``val``, ``test`` and further test sets.
        grouped: whether cells of one group, such as a patient, are always in the same set; None where it is not known.
        notices: sentences on what was left out of the data, and on what they lack.
        data: facts of the data set.
        identity: hash of each of its components, which tells what differs where ``data.sha256`` does.
        seconds: wall time by part: ``fit``, ``test``, ``total``.
        images_per_second: training images per second of training steps.
        parameters: number of parameters of the network.
        trained: of these, how many are trained from the start on.
        weights: where the weights come from that training started from, by backbone; ``random`` where they are from nowhere.
        test_time: over which views of a test cell the probabilities were averaged; None where each was looked at once.
        best_epoch: the epoch whose weights were kept, from 0.
        tested_on: the set that the chosen weights were evaluated on: ``test``; ``validation`` in a search's trial, which never
            sees the test set.
        confusion: (C, C) confusion matrix of the set that was evaluated, rows true, columns predicted; summed over folds.
        further_confusion: that of each further test set.
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
    intervals: "dict[str, Interval]" = field(default_factory=dict)
    started: str | None = None
    provenance: dict[str, str] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    cells: dict[str, list[int]] = field(default_factory=dict)
    grouped: bool | None = None
    notices: list[str] = field(default_factory=list)
    data: dict[str, str] = field(default_factory=dict)
    identity: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    images_per_second: float | None = None
    parameters: int | None = None
    trained: int | None = None
    weights: dict[str, str] = field(default_factory=dict)
    test_time: str | None = None
    best_epoch: int | None = None
    tested_on: str = "test"
    confusion: list[list[int]] = field(default_factory=list)
    further_confusion: dict[str, list[list[int]]] = field(default_factory=dict)
    folds: list[dict[str, Any]] = field(default_factory=list)
    members: list[dict[str, str | float]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def accuracy_of_folds(self) -> str:
        """Name of the metric that folds are compared by: test accuracy, in a search's trial validation accuracy."""
        return "test/accuracy" if self.tested_on == "test" else "val/accuracy"

    def as_dict(self) -> dict[str, object]:
        """Return a plain dict for JSON."""
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
