"""Draws the figures of a run and writes its test predictions."""

from collections.abc import Sequence
from typing import cast

import pandas as pd
from lightning import Callback, LightningModule, Trainer

from bcc_lightning.datamodules.base import VALIDATION, CellDataModule
from bcc_lightning.datamodules.cell_images import CellImages
from bcc_lightning.evaluation.figures import class_counts_figure, confusion_figure, curves_figure, samples_figure, save_figure
from bcc_lightning.evaluation.metrics import confusion_matrix
from bcc_lightning.evaluation.predictions import Predictions
from bcc_lightning.modules.base import CellClassifier
from bcc_lightning.safe_names import column_name, file_name
from bcc_lightning.tracking.folder import RunFolder
from bcc_lightning.tracking.logger import MetricHistory
from bcc_lightning.whole_file import whole_file


class Figures(Callback):
    """Draws class counts and samples at the start, curves at each epoch, the confusion matrix after the test.

    Args:
        folder: where the figures go.
        history: metrics of each epoch.
    """

    def __init__(self, folder: RunFolder, history: MetricHistory) -> None:
        self.folder = folder
        self.history = history

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw what goes in."""
        draw_data(self.folder, cast(CellDataModule, trainer.datamodule))  # type: ignore[attr-defined]

    def draw_curves(self) -> None:
        """Draw loss and accuracy by epoch, as far as the run came."""
        if self.history.curve("train/loss")[0]:
            save_figure(curves_figure(self.history), self.folder.figure("curves"))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the confusion matrix and write the predictions, of the test part or of what was evaluated besides or instead."""
        module = cast(CellClassifier, pl_module)
        data = cast(CellDataModule, trainer.datamodule)  # type: ignore[attr-defined]
        name = module.tested_on
        file_predictions(self.folder, data.evaluated_cells(name), module.test_predictions[name], module.class_names, name)


def draw_data(folder: RunFolder, data: CellDataModule) -> None:
    """Draw class counts and samples of a data set."""
    names = list(data.class_names)
    counts = {str(name): cells.counts(len(names)) for name, cells in data.splits.items()}
    save_figure(class_counts_figure(counts, names), folder.figure("class_counts"))
    save_figure(samples_figure(data.splits["train"], names), folder.figure("samples"))


def file_predictions(
    folder: RunFolder, cells: CellImages, predictions: Predictions, class_names: list[str], name: str | None = None
) -> None:
    """Write predictions as a table and their confusion matrix as a figure.

    Args:
        folder: the run's folder.
        cells: the cells that were tested.
        predictions: of these cells.
        class_names: names of the C classes.
        name: name of a further test set, or `VALIDATION`; None for the test part.
    """
    matrix = confusion_matrix(predictions, len(class_names))
    title = {None: "Test set", VALIDATION: "Validation set"}.get(name, f"Test set {name}")
    figure = "confusion_matrix" if name is None else f"confusion_matrix_{file_name(name)}"
    save_figure(confusion_figure(matrix, class_names, title), folder.figure(figure))
    with whole_file(folder.predictions(name or "test")) as draft:
        predictions_table(predictions, cells.ids, class_names).to_parquet(draft, index=False)


def predictions_table(predictions: Predictions, ids: Sequence[str], class_names: list[str]) -> pd.DataFrame:
    """Lay out test predictions: ``id``, ``label`` (class name), and one column of probabilities per class, see `column_name`."""
    table = pd.DataFrame({"id": [ids[i] for i in predictions.position.tolist()]})
    table["label"] = [class_names[i] for i in predictions.label.tolist()]
    return pd.concat([table, pd.DataFrame(predictions.probability.numpy(), columns=list(map(column_name, class_names)))], axis=1)
