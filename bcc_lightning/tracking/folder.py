"""What a run leaves behind, and where."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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

    @property
    def predictions(self) -> Path:
        """Test predictions: id, label, a probability per class."""
        return self.artifacts / "predictions" / "test.parquet"

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
    def unsent(self) -> Path:
        """Metrics and tags that the tracking server has not got yet, one JSON object a line."""
        return self.path / "unsent.jsonl"

    def create(self) -> None:
        """Make the folders."""
        self.artifacts.mkdir(parents=True, exist_ok=True)
        self.state.mkdir(parents=True, exist_ok=True)

    def remove(self) -> None:
        """Delete the folder; everything worth keeping has been filed."""
        shutil.rmtree(self.path, ignore_errors=True)


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Write a file whole or not at all: yields a path beside it and moves that into place at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.stem}.{os.getpid()}{target.suffix}")
    try:
        yield draft
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)


def write_json(target: Path, content: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    with whole_file(target) as draft:
        draft.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
