"""What may change when a run is resumed: a run has one recipe, and each flag takes effect or is refused by name."""

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bcc_lightning.errors import UserError

Flat = Mapping[str, str]
"""A configuration with dotted names, as on the command line."""

STORE = (
    "tracking.uri",
    "tracking.folder",
    "tracking.run_name",
    "tracking.log_model",
    "tracking.register",
    "tracking.system_metrics",
)
"""Where the run is kept and what it is called."""

SURROUNDINGS = (
    *STORE,
    "data.root",
    "data.sets",
    "data.table",
    "data.wbcatt",
    "data.cache_dir",
    "data.num_workers",
    "data.download",
    "data.verify_checksum",
    "data.reread",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "trainer.log_every_n_steps",
)
"""What a figure does not depend on: places, of which the content is compared, loading and display."""

EVALUATION = ("data.test_on", "data.class_map", "model.test_time")
"""What is done with the chosen weights."""

LENGTH = ("trainer.max_epochs", "trainer.max_steps")
"""What may change unless something is laid over the whole training."""

STOPPING = ("trainer.max_time", "selection.patience")

DEVICES = ("trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy")
"""What may change unless the schedule counts steps, of which each process more makes an epoch have fewer."""


def flatten(config: object, prefix: str = "") -> dict[str, str]:
    """Flatten a nested configuration to dotted names, as on the command line."""
    if not isinstance(config, dict) or not config:
        return {prefix: str(config)}
    parts = (flatten(value, prefix if key == "init_args" else f"{prefix}.{key}".lstrip(".")) for key, value in config.items())
    return {key: value for part in parts for key, value in part.items()}


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Attributes:
        epochs: finished epochs.
        steps: optimiser steps.
        finished_folds: finished folds of a cross-validation.
        is_complete: whether it did all its work and only waits to be sent.
    """

    epochs: int = 0
    steps: int = 0
    finished_folds: int = 0
    is_complete: bool = False

    @classmethod
    def of(cls, checkpoints: Iterable[Path], finished_folds: int = 0, is_complete: bool = False) -> "Progress":
        """Read from the states after the last epoch how far a run, or its interrupted folds, has come."""
        import torch

        states = [torch.load(file, map_location="cpu", weights_only=True, mmap=True) for file in checkpoints if file.is_file()]
        epochs = max((state["epoch"] + 1 for state in states), default=0)
        return cls(epochs, max((state["global_step"] for state in states), default=0), finished_folds, is_complete)


def refuse_changes(run_id: str, best: Path, stored: Flat, given: Flat, progress: Progress, split: Path | None = None) -> None:
    """Refuse flags of a resumed run that cannot take effect, or would give it a second recipe.

    Args:
        run_id: the run.
        best: its chosen weights, which a new run could start from.
        stored: the configuration that it has trained with.
        given: the same with the flags.
        progress: how far it has come.
        split: which cell was in which set.

    Raises:
        UserError: with the name of each flag, its value and the one that the run has.
    """
    changed = [name for name in {**stored, **given} if stored.get(name) != given.get(name)]
    others = tuple(name.removesuffix("class_path") for name in changed if name in {"data.class_path", "model.class_path"})
    changed = [name for name in changed if name.endswith("class_path") or not name.startswith(others or "?")]
    if split and "data.split_file" in changed and has_split(Path(value("data.split_file", given)), split):
        changed.remove("data.split_file")
    refused = {name: reason for name in changed if (reason := why_not(name, stored, given, progress)) is not None}
    if not refused:
        return
    listed = "; ".join(
        f"{flag(name, given)} (the run has {value(name, stored)}{reason and f': {reason}'})" for name, reason in refused.items()
    )
    start = f" from its weights with --exp NAME --model.weights {best}" if best.is_file() else " with --exp NAME"
    raise UserError(
        f"run {run_id} cannot be resumed with {listed}. A run has one recipe from its first epoch to its test. "
        f"Next step: resume it without {'this flag' if len(refused) == 1 else 'these flags'}, or start a new run{start}"
    )


def has_split(file: Path, split: Path) -> bool:
    """Check whether a split file puts each cell into the set that it was in; then only the file's place is another."""
    try:
        given, filed = read_sets(file), read_sets(split)
    except (OSError, KeyError, ValueError):
        return False
    return bool(filed) and all(given.get(cell) == name for cell, name in filed.items())


def read_sets(file: Path) -> dict[str, str]:
    """Read which cell is in which set: CSV with the columns ``id`` and ``split``."""
    with file.open(encoding="utf-8-sig", newline="") as stream:
        return {row["id"]: row["split"] for row in csv.DictReader(stream)}


def flag(name: str, given: Flat) -> str:
    """Format a flag as a person gives it."""
    return f"--{name.removesuffix('.class_path')} {value(name, given)}"


def value(name: str, config: Flat) -> str:
    """Return a value of a configuration, a class by its name alone."""
    stored = config.get(name, "None")
    return stored.rpartition(".")[2] if name.endswith(".class_path") else stored


def why_not(name: str, stored: Flat, given: Flat, progress: Progress) -> str | None:
    """Return why a value cannot change: a reason, empty if the general one suffices; None if it can change."""
    if belongs(name, STORE):
        return None
    if progress.is_complete:
        return "it has finished and only waits to be sent"
    reasons: dict[tuple[str, ...], Callable[[], str | None]] = {
        SURROUNDINGS: lambda: None,
        EVALUATION: lambda: None,
        STOPPING: lambda: "its stages have their own" if has_stages(stored) and name == "selection.patience" else None,
        LENGTH: lambda: over_its_length(stored) or below(name, given, progress),
        DEVICES: lambda: counted_in_steps(stored),
    }
    group = next((group for group in reasons if belongs(name, group)), None)
    if group is None:
        return ""
    if progress.finished_folds and group != SURROUNDINGS:
        return "the folds that have finished were trained with it"
    return reasons[group]()


def has_stages(stored: Flat) -> bool:
    """Check whether a run is fine-tuned in stages."""
    return stored.get("stages", "[]") != "[]"


def belongs(name: str, group: tuple[str, ...]) -> bool:
    """Check whether a name is in a group, or below something in it."""
    return name in group or name.startswith(tuple(f"{each}." for each in group))


def over_its_length(stored: Flat) -> str | None:
    """Find what is laid over the whole length of a training, which cannot change then."""
    schedule = stored.get("model.schedule")
    if has_stages(stored):
        return "its stages have their own lengths"
    if schedule in {"cosine", "one_cycle"}:
        return f"its schedule {schedule} is laid over the whole training"
    return "its average swa begins after a share of the epochs" if stored.get("model.average") == "swa" else None


def counted_in_steps(stored: Flat) -> str | None:
    """Find what counts optimiser steps."""
    schedule = stored.get("model.schedule", "constant")
    warm = float(stored.get("model.warmup_epochs") or 0) > 0
    return None if schedule == "constant" and not warm else f"its schedule {schedule} counts steps, which would become others"


def below(name: str, given: Flat, progress: Progress) -> str | None:
    """Refuse an end that the training has passed."""
    unit, done = ("epochs", progress.epochs) if name == "trainer.max_epochs" else ("steps", progress.steps)
    limit = value(name, given)
    if limit in {"None", "-1"} or int(limit) >= done:
        return None
    return f"it has trained {done} {unit} already"
