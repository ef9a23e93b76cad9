"""Draws the figures of a run and writes its test predictions."""

from collections.abc import Sequence
from typing import cast

import pandas as pd
import torch
from lightning import Callback, LightningModule, Trainer

from bcc_lightning.datamodules.base import VALIDATION, CellDataModule
from bcc_lightning.datasets.cells import CellImages
from bcc_lightning.evaluation.figures import class_counts_figure, confusion_figure, curves_figure, samples_figure, save_figure
from bcc_lightning.evaluation.metrics import Predictions, confusion_matrix
from bcc_lightning.explanation.maps import choose_cells, contact_sheet, explain_images
from bcc_lightning.files import whole_file
from bcc_lightning.modules.base import CellClassifier
from bcc_lightning.safe_names import column_name, file_name
from bcc_lightning.tracking.logger import MetricHistory
from bcc_lightning.tracking.run_files import RunFolder


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


class Explanation(Callback):
    """After the test, explains several test cells of each class; in a search's trial, cells of the validation part.

    Args:
        folder: where the sheet goes.
        cells_per_class: how many.
    """

    def __init__(self, folder: RunFolder, cells_per_class: int = 3) -> None:
        self.folder = folder
        self.cells_per_class = cells_per_class

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw ``explain/gradcam.png``; further test sets have none."""
        module = cast(CellClassifier, pl_module)
        data = cast(CellDataModule, trainer.datamodule)  # type: ignore[attr-defined]
        name = module.tested_on
        if name in data.external:
            return
        explain_cells(self.folder, module, data.evaluated_cells(name), module.test_predictions[name], self.cells_per_class)


def explain_cells(
    folder: RunFolder, module: CellClassifier, cells: CellImages, predictions: Predictions, cells_per_class: int = 3
) -> None:
    """Draw ``explain/gradcam.png`` of cells that were tested; arguments as `bcc_lightning.callbacks.figures.file_predictions`."""
    rows = choose_cells(predictions, len(module.class_names), cells_per_class)
    images = torch.from_numpy(cells.take(predictions.position[rows].numpy())).permute(0, 3, 1, 2)
    explanations = explain_images(module, images, predictions.label[rows])
    sheet = contact_sheet(explanations, predictions.label[rows], predictions.probability[rows], module.class_names)
    save_figure(sheet, folder.explanation("gradcam"))
