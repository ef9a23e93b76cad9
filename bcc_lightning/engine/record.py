"""What a run is made of and what it has found: configuration, data, code and machine; metrics and their intervals."""

import getpass
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch
import yaml

from bcc_lightning.architectures.acceleration import cpu_capabilities
from bcc_lightning.callbacks.checkpoints import epoch_of
from bcc_lightning.cli.experiment import ExperimentCLI, flatten
from bcc_lightning.datamodules.base import VALIDATION
from bcc_lightning.datasets.split_file import write_split
from bcc_lightning.evaluation.metrics import confusion_matrix, external_metrics
from bcc_lightning.evaluation.reliability import collapse, intervals, support
from bcc_lightning.files import whole_file
from bcc_lightning.modules.ensemble import Ensemble
from bcc_lightning.modules.test_time_augmentation import describe_views
from bcc_lightning.tracking.logger import MetricHistory
from bcc_lightning.tracking.resume import write_record
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.run_files import Summary


def describe(cli: ExperimentCLI, run: TrackedRun, summary: Summary) -> None:
    """Log what the run is made of: configuration, data, code, machine."""
    config = cli.resolved_config()
    with whole_file(run.folder.config) as draft:
        draft.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
    summary.data, summary.identity = cli.datamodule.facts(), cli.datamodule.identity()
    write_split(cli.datamodule.splits, run.folder.split)
    write_record(cli.datamodule, run.folder.data_record)
    summary.test_time = describe_views(cli.model.hparams["test_time"])
    summary.parameters = sum(p.numel() for p in cli.model.parameters())
    run.log_params(flatten(config))
    run.set_tags({**provenance(), **summary.data, **({"warning": warning} if (warning := cli.warning()) else {})})


def fill(summary: Summary, cli: ExperimentCLI, run: TrackedRun, history: MetricHistory) -> None:
    """Fill in the figures of a run: metrics of the kept epoch, those of the test, and their intervals."""
    selection = cli.selection
    best = run.folder.checkpoints / "best.ckpt"
    kept = epoch_of(best)
    if kept is None:
        kept = history.kept_epoch(selection.monitor, selection.mode, selection.keep)
    summary.best_epoch = None if isinstance(cli.model, Ensemble) else kept
    summary.metrics = history.at(kept)
    if best.is_file():
        summary.checkpoint = best.relative_to(run.folder.artifacts).as_posix()
    classes = cli.model.class_names
    for name, predictions in cli.model.test_predictions.items():
        matrix = confusion_matrix(predictions, len(classes))
        if name in {None, VALIDATION}:
            summary.confusion = matrix.tolist()
        tested = {None: "the test set", VALIDATION: "the validation set"}.get(name, f"test set {name}")
        summary.warnings += collapse(matrix, classes, tested)
        summary.notes += support(matrix, classes, tested)
        found = intervals(predictions, classes)
        summary.intervals |= found if name is None else external_metrics(name, found)


PACKAGES = ("torch", "lightning", "timm", "torchmetrics", "albumentations", "mlflow", "grad-cam")


def provenance() -> dict[str, str]:
    """Collect the tags that every run carries."""
    from bcc_lightning import __version__

    tags = {f"version.{name}": version(name) for name in PACKAGES}
    tags |= {"version.python": platform.python_version(), "version.bcc_lightning": __version__}
    tags |= {"device": device_name(), "mlflow.user": getpass.getuser(), "mlflow.source.name": "python -m bcc_lightning.fit"}
    if commit := git_commit():
        tags["mlflow.source.git.commit"] = commit
    return tags


def device_name() -> str:
    """Name the accelerator, or the processor and its threads."""
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return f"CPU {cpu_capabilities().get('cpu_name', platform.machine())}, {torch.get_num_threads()} threads"


def git_commit() -> str | None:
    """Get the commit of the code, with ``-dirty`` behind it when files differ; None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
