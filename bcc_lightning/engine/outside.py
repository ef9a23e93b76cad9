"""What remains on further sets of what the validation set promises: coverage of prediction sets, and cells that are familiar."""

from bcc_lightning.datamodules.base import CellDataModule
from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.conformal import conformal
from bcc_lightning.evaluation.metrics import TEST, VALIDATION, metrics_of
from bcc_lightning.evaluation.reliability import Interval, wilson
from bcc_lightning.modules.base import CellClassifier
from bcc_lightning.novelty.choices import ABSTAIN, cells_needed
from bcc_lightning.novelty.guard import Guard, Reference, look_at_own_cells
from bcc_lightning.prediction.classifier import TrainedClassifier

Measured = dict[str, tuple[float, Interval]]
"""Metric to its value and 95 % interval."""


def measure_outside(model: CellClassifier, data: CellDataModule) -> tuple[Measured, Reference | None]:
    """Measure a trained network on its own test set and on the further sets of its run.

    Args:
        model: the network, with its answers for all these sets.
        data: its data.

    Returns:
        ``coverage_95``, the share of cells whose prediction set holds their class where 95 % is promised, and ``abstained``, the
        share of cells that are less familiar to the network than 95 % of its own; and the features of its own cells, by which
        that was measured. Without the latter where several networks vote, which have no features in common; without
        ``abstained`` beside so few validation cells that no cell can be less familiar.
    """
    names = [TEST, *data.external]
    found: Measured = {}
    validation = model.test_predictions[VALIDATION]
    for name in names:
        sets = conformal(model.test_predictions[name], validation, model.class_names)["0.95"]
        found |= metrics_of(name, {"test/coverage_95": (sets.coverage, sets.interval)})
    classifier = TrainedClassifier(model, side=min(data.image_size, data.native_side), batch_size=data.batch_size)
    try:
        reference = look_at_own_cells(classifier, data.splits["train"], data.evaluated_cells(VALIDATION))
    except UserError:
        return found, None
    if len(reference.validation) < cells_needed(ABSTAIN):
        return found, reference
    guard = Guard(classifier, reference)
    for name in names:
        strange = guard.familiarity(guard.scores_of(data.evaluated_cells(name))) < ABSTAIN
        found |= metrics_of(name, {"test/abstained": (float(strange.mean()), wilson(int(strange.sum()), len(strange)))})
    return found, reference
