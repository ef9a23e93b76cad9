"""Draws the sheet that shows where a finished network looked."""

from typing import cast

import torch
from lightning import Callback, LightningModule, Trainer

from bcc_lightning.datamodules.base import CellDataModule
from bcc_lightning.datamodules.cell_images import CellImages
from bcc_lightning.evaluation.figures import save_figure
from bcc_lightning.evaluation.predictions import Predictions
from bcc_lightning.explain.contact_sheet import choose_cells, contact_sheet
from bcc_lightning.explain.maps import explain_images
from bcc_lightning.modules.base import CellClassifier
from bcc_lightning.tracking.folder import RunFolder


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
