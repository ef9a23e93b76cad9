"""Draws the figures of a run and writes its test predictions."""

from collections.abc import Sequence
from typing import cast

import pandas as pd
from lightning import Callback, LightningModule, Trainer

from bcc_lightning.datamodules.base import CellDataModule
from bcc_lightning.evaluation.figures import class_counts_figure, confusion_figure, curves_figure, samples_figure, save_figure
from bcc_lightning.evaluation.metrics import confusion_matrix
from bcc_lightning.evaluation.predictions import Predictions
from bcc_lightning.modules.base import CellClassifier
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
        data = cast(CellDataModule, trainer.datamodule)  # type: ignore[attr-defined]
        names = list(data.class_names)
        counts = {str(name): cells.counts(len(names)) for name, cells in data.splits.items()}
        save_figure(class_counts_figure(counts, names), self.folder.figure("class_counts"))
        train = data.splits["train"]
        save_figure(samples_figure(train, names), self.folder.figure("samples"))

    def draw_curves(self) -> None:
        """Draw loss and accuracy by epoch, as far as the run came."""
        if self.history.epochs:
            save_figure(curves_figure(self.history), self.folder.figure("curves"))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the confusion matrix and write the predictions, of the test part or of a further test set."""
        module = cast(CellClassifier, pl_module)
        data = cast(CellDataModule, trainer.datamodule)  # type: ignore[attr-defined]
        name = module.tested_on
        cells = data.splits["test"] if name is None else data.external[name]
        predictions = module.test_predictions[name]
        matrix = confusion_matrix(predictions, len(module.class_names))
        title = "Test part" if name is None else f"Test set {name}"
        figure = "confusion_matrix" if name is None else f"confusion_matrix_{name}"
        save_figure(confusion_figure(matrix, module.class_names, title), self.folder.figure(figure))
        with whole_file(self.folder.predictions(name or "test")) as draft:
            predictions_table(predictions, cells.ids, module.class_names).to_parquet(draft, index=False)


def predictions_table(predictions: Predictions, ids: Sequence[str], class_names: list[str]) -> pd.DataFrame:
    """Lay out test predictions: ``id``, ``label`` (class name), and one column of probabilities per class."""
    table = pd.DataFrame({"id": [ids[i] for i in predictions.position.tolist()]})
    table["label"] = [class_names[i] for i in predictions.label.tolist()]
    return pd.concat([table, pd.DataFrame(predictions.probability.numpy(), columns=class_names)], axis=1)
