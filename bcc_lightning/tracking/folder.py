"""What a run leaves behind, and where."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from bcc_lightning.safe_names import file_name

PARENT_VARIABLE = "MLFLOW_PARENT_RUN_ID"
"""Environment variable that names the run whose children new runs are."""

PARENT = "mlflow.parentRunId"
"""Tag of folds and trials that names the run they belong to."""


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
        """Predictions of the ``test`` part or of a further test set: id, label, a probability per class."""
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

    def figure(self, name: str) -> Path:
        """A figure: ``curves``, ``confusion_matrix``, ``class_counts`` or ``samples``."""
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
    def data_record(self) -> Path:
        """What the run's data were when it began, which a resumed run compares."""
        return self.state / "data.json"

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

    def create(self) -> None:
        """Make the folders."""
        self.artifacts.mkdir(parents=True, exist_ok=True)
        self.state.mkdir(parents=True, exist_ok=True)

    def remove(self) -> None:
        """Delete the folder; everything worth keeping has been filed. What is left of it cannot be taken for a run."""
        self.config.unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)
