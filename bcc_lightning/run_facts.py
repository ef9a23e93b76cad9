"""What a run is made of, and its figures."""

import yaml

from bcc_lightning.callbacks.checkpoints import epoch_of
from bcc_lightning.cli import ExperimentCLI, flatten
from bcc_lightning.datamodules.base import VALIDATION
from bcc_lightning.datamodules.split_file import write_split
from bcc_lightning.evaluation.cautions import collapse, support
from bcc_lightning.evaluation.intervals import intervals
from bcc_lightning.evaluation.metrics import confusion_matrix, external_metrics
from bcc_lightning.modules.ensemble import Ensemble
from bcc_lightning.modules.views import describe_views
from bcc_lightning.tracking.logger import MetricHistory
from bcc_lightning.tracking.provenance import provenance
from bcc_lightning.tracking.resumed_data import write_record
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.summary import Summary
from bcc_lightning.whole_file import whole_file


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
