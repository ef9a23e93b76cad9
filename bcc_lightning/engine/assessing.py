"""A finished run on labelled cells: its own test set, or a set that it was not tested on, filed beside its own figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from bcc_lightning.datasets.cache import fit_square
from bcc_lightning.datasets.cells import CellImages
from bcc_lightning.datasets.classes import label_map
from bcc_lightning.datasets.external import TrainedOn, name_of, read_external_sets
from bcc_lightning.datasets.splits import TEST as TEST_CODE
from bcc_lightning.engine.drawing import predictions_table
from bcc_lightning.engine.rebuild import build_data, rebuild
from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.assessment import Assessment, assess, predictions_of
from bcc_lightning.evaluation.metrics import TEST, VALIDATION, Predictions
from bcc_lightning.prediction.classifier import TrainedClassifier
from bcc_lightning.tracking.trained_networks import TrainedNetwork


@dataclass
class EvaluatedSet:
    """A labelled set with the answers of a network.

    Attributes:
        name: of the set.
        ids: names of its N cells.
        predictions: of these cells.
        cells: their images; None where they are not on this machine.
        notices: sentences on how it was read.
    """

    name: str
    ids: list[str]
    predictions: Predictions
    cells: CellImages | None = None
    notices: list[str] = field(default_factory=list)


class Assessor:
    """Assesses a trained network.

    Args:
        network: where it comes from.
    """

    def __init__(self, network: TrainedNetwork) -> None:
        self.network = network
        self.classifier = TrainedClassifier.of(network)
        self.class_names = self.classifier.class_names
        try:
            self.validation: Predictions | None = predictions_of(network.predictions(VALIDATION), self.class_names)
        except UserError:
            self.validation = None

    def assess(self, one: EvaluatedSet) -> Assessment:
        """Compute everything that is to be known of the answers for a set."""
        found = assess(one.predictions, self.class_names, self.validation, one.name)
        found.notes += one.notices
        return found

    def own_test(self, images: bool = True) -> EvaluatedSet:
        """Read what the run answered for its own test set; a cross-validation for the test cells of all folds.

        Args:
            images: whether to look for the images on this machine.

        Raises:
            UserError: the network belongs to no run.
        """
        table = self.network.predictions(TEST)
        one = EvaluatedSet(TEST, table["id"].tolist(), predictions_of(table, self.class_names))
        if images and not self.network.folds:
            try:
                cells = rebuild(self.network)[1].evaluated_cells(TEST)
                one.cells = cells if list(cells.ids) == one.ids else None
            except UserError as error:
                one.notices.append(f"The images are not shown: {error}")
        return one

    def further_sets(self, names: list[str], class_map: Mapping[str, str]) -> list[EvaluatedSet]:
        """Classify further test sets: folders of class folders, or tables; raises as `read_external_sets`."""
        trained_on, notices = self.trained_on(class_map)
        sets = read_external_sets(names, trained_on)
        return [self.classified(name, one.cells, [*one.notices, *notices]) for name, one in sets.items()]

    def data_set(self, class_path: str, arguments: dict[str, Any], name: str | None = None) -> EvaluatedSet:
        """Classify the test set of any data module, or all of its cells where its makers chose no test set.

        Raises:
            UserError: it cannot be read, or one of its classes is not among those of the network.
        """
        data = build_data({"class_path": class_path, "init_args": {**arguments, "image_size": self.classifier.side}})
        cells = data.cells
        labels = label_map(data.class_names, self.class_names, data.class_map, str(data.root))
        notices = [*data.file_notices(), "All of its cells are evaluated: its makers chose no test set."]
        if cells.splits is not None and (cells.splits == TEST_CODE).any():
            cells, notices = cells.part(np.flatnonzero(cells.splits == TEST_CODE)), data.file_notices()
        cells = CellImages(cells.images, labels[cells.labels], cells.ids)
        return self.classified(name or name_of(data.root) or class_path, cells, notices)

    def trained_on(self, class_map: Mapping[str, str]) -> tuple[TrainedOn, list[str]]:
        """Describe what the network was trained on; with its files, if they are here, which further sets must not share."""
        plain = TrainedOn(self.class_names, self.classifier.side, class_map)
        if self.network.config is None or self.network.folds:
            return plain, ["Whether the network was trained on some of these cells could not be checked."]
        try:
            own = rebuild(self.network)[1].as_trained_on()
        except UserError:
            return plain, [
                "Whether the network was trained on some of these cells could not be checked: its own data are not here."
            ]
        return TrainedOn(self.class_names, self.classifier.side, class_map, own.images), []

    def classified(self, name: str, cells: CellImages, notices: Sequence[str]) -> EvaluatedSet:
        """Classify labelled cells, a batch at a time."""
        size, side = self.classifier.batch_size, self.classifier.side
        found = []
        for start in range(0, len(cells), size):
            pixels = cells.take(slice(start, start + size))
            if pixels.shape[1] != side:
                pixels = np.stack([fit_square(image, side) for image in pixels])
            found.append(self.classifier.classify(np.ascontiguousarray(pixels)))
        if not found:
            raise UserError(f"test set {name} has no cells; name a set with labelled cells")
        label = torch.from_numpy(cells.labels.astype(np.int64))
        predictions = Predictions(torch.arange(len(label)), label, torch.cat(found))
        return EvaluatedSet(name, list(cells.ids), predictions, cells, list(notices))

    def table(self, one: EvaluatedSet) -> Any:  # noqa: ANN401 - a table of pandas
        """Lay out the answers for a set as a run files them."""
        return predictions_table(one.predictions, one.ids, self.class_names)


def refuse_own_names(name: str) -> None:
    """Refuse a name under which a run's own figures are filed.

    Raises:
        UserError: it is one of them.
    """
    if name.lower() in {TEST, VALIDATION, "val", "train"}:
        raise UserError(f"a further set cannot be called {name}, as a set of the run itself; write --name NAME")


def refuse_other_cells(network: TrainedNetwork, one: EvaluatedSet) -> None:
    """Refuse a name under which the run has answers for other cells already.

    Raises:
        UserError: ids or labels differ.
    """
    try:
        filed = network.predictions(one.name)
    except UserError:
        return
    class_names = list(filed.columns[2:])
    labels = [class_names[label] for label in one.predictions.label.tolist()]
    if sorted(zip(filed["id"], filed["label"], strict=True)) != sorted(zip(one.ids, labels, strict=True)):
        raise UserError(
            f"{network.title} has figures of other cells under the name {one.name}; write --name OTHER, so that both are kept"
        )
