"""The figures of a run: what goes in, how training went, what came out, and where the network looked."""

from collections.abc import Sequence

import cv2
import pandas as pd
import torch

from bcc_lightning.datamodules.base import CellDataModule
from bcc_lightning.datasets.cells import CellImages
from bcc_lightning.evaluation.calibration import reliability_bins
from bcc_lightning.evaluation.figures import (
    class_counts_figure,
    confusion_figure,
    curves_figure,
    reliability_figure,
    samples_figure,
    save_figure,
)
from bcc_lightning.evaluation.metrics import TEST, Predictions, confusion_matrix, title_of, worst_mistakes
from bcc_lightning.explanation.maps import explain_images
from bcc_lightning.explanation.sheet import choose_cells, contact_sheet
from bcc_lightning.files import read_json, whole_file, write_json
from bcc_lightning.modules.base import CellClassifier
from bcc_lightning.pages.rendering import png_uri
from bcc_lightning.safe_names import column_name, file_name
from bcc_lightning.tracking.logger import MetricHistory
from bcc_lightning.tracking.run_files import RunFolder

PANELS = 3
"""Most sets whose reliability is drawn."""

SHOWN_MISTAKES = 12
"""Mistakes of a set that the report shows."""


def draw_data(folder: RunFolder, data: CellDataModule) -> None:
    """Draw class counts and samples of a data set."""
    names = list(data.class_names)
    counts = {str(name): cells.counts(len(names)) for name, cells in data.splits.items()}
    save_figure(class_counts_figure(counts, names), folder.figure("class_counts"))
    save_figure(samples_figure(data.splits["train"], names), folder.figure("samples"))


def draw_curves(folder: RunFolder, history: MetricHistory, kept: int | None) -> None:
    """Draw loss, accuracy and learning rate by epoch, as far as the run came; `kept` is the epoch whose weights were kept."""
    if history.curve("train/loss")[0]:
        save_figure(curves_figure(history, kept), folder.figure("curves"))


def draw_reliability(folder: RunFolder, evaluated: dict[str, Predictions]) -> None:
    """Draw whether the probabilities can be believed, on each evaluated set of at most `PANELS`."""
    if evaluated:
        panels = [(title_of(name), reliability_bins(found)) for name, found in list(evaluated.items())[:PANELS]]
        save_figure(reliability_figure(panels), folder.figure("reliability"))


def file_predictions(
    folder: RunFolder, cells: CellImages, predictions: Predictions, class_names: list[str], name: str = TEST
) -> None:
    """Write predictions as a table.

    Args:
        folder: the run's folder.
        cells: the cells that were tested.
        predictions: of these cells.
        class_names: names of the C classes.
        name: name of the evaluated set.
    """
    with whole_file(folder.predictions(name)) as draft:
        predictions_table(predictions, cells.ids, class_names).to_parquet(draft, index=False)


def draw_confusion(folder: RunFolder, predictions: Predictions, class_names: list[str], name: str = TEST) -> None:
    """Draw the confusion matrix of predictions; arguments as `file_predictions`."""
    matrix = confusion_matrix(predictions, len(class_names))
    figure = "confusion_matrix" if name == TEST else f"confusion_matrix_{file_name(name)}"
    save_figure(confusion_figure(matrix, class_names, title_of(name)), folder.figure(figure))


def predictions_table(predictions: Predictions, ids: Sequence[str], class_names: list[str]) -> pd.DataFrame:
    """Lay out test predictions: ``id``, ``label`` (class name), and one column of probabilities per class, see `column_name`."""
    table = pd.DataFrame({"id": [ids[i] for i in predictions.position.tolist()]})
    table["label"] = [class_names[i] for i in predictions.label.tolist()]
    return pd.concat([table, pd.DataFrame(predictions.probability.numpy(), columns=list(map(column_name, class_names)))], axis=1)


def keep_mistakes(folder: RunFolder, cells: CellImages, predictions: Predictions, class_names: list[str], name: str) -> None:
    """Keep the images of the mistakes of which the network was surest, for the report; arguments as `file_predictions`."""
    rows = worst_mistakes(predictions, SHOWN_MISTAKES)
    positions = predictions.position[rows].numpy()
    kept = []
    for row, position, image in zip(rows, positions, cells.take(positions), strict=True):
        predicted, true = int(predictions.predicted[row]), int(predictions.label[row])
        _, png = cv2.imencode(".png", image[..., ::-1])
        kept.append(
            {
                "id": cells.ids[position],
                "image": png_uri(png.tobytes()),
                "true": class_names[true],
                "predicted": class_names[predicted],
                "probability": float(predictions.probability[row, predicted]),
            }
        )
    write_json(folder.mistakes, {**(read_json(folder.mistakes) or {}), name: kept})


def explain_cells(
    folder: RunFolder, module: CellClassifier, cells: CellImages, predictions: Predictions, cells_per_class: int = 3
) -> None:
    """Draw ``explain/gradcam.png`` of cells that were tested; arguments as `file_predictions`."""
    rows = choose_cells(predictions, len(module.class_names), cells_per_class)
    images = torch.from_numpy(cells.take(predictions.position[rows].numpy())).permute(0, 3, 1, 2)
    explanations = explain_images(module, images, predictions.label[rows])
    sheet = contact_sheet(explanations, predictions.label[rows], predictions.probability[rows], module.class_names)
    save_figure(sheet, folder.explanation("gradcam"))
