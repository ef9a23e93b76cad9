"""The figures of an assessment: confusions, curves of each class, reliability, risk and coverage, doubtful cells."""

import numpy as np
import numpy.typing as npt
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from bcc_lightning.evaluation.assessment import Assessment
from bcc_lightning.evaluation.calibration import reliability_bins, scaled
from bcc_lightning.evaluation.selective import risk_coverage
from bcc_lightning.printable import shortened

RIGHT, WRONG, COOL = "#1b5e20", "#b71c1c", "#1f5fa8"
LONGEST_NAME = 24
PERCENT = 100


def mistakes_figure(found: Assessment) -> Figure:
    """Draw the confusion matrix so that mistakes stand out: coloured by their share of the true class, all else grey."""
    matrix, names = found.confusion, shortened(found.class_names, LONGEST_NAME)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    wrong = np.ma.masked_where(np.eye(len(names), dtype=bool) | (matrix == 0), PERCENT * share)
    side = 2.6 + 0.75 * len(names)
    figure = Figure(figsize=(side + 1.2, side), dpi=110, layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(wrong, cmap="Reds", norm=LogNorm(0.1, PERCENT))
    for row, column in np.ndindex(*matrix.shape):
        if not matrix[row, column]:
            continue
        diagonal = row == column
        dark = not diagonal and share[row, column] > 0.1  # noqa: PLR2004 - where the colour is dark
        text = f"{matrix[row, column]:,}\n{PERCENT * share[row, column]:.1f} %"
        axes.text(
            column, row, text, ha="center", va="center", fontsize=8, color="white" if dark else "#555" if diagonal else "#111"
        )
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), [f"{name} ({count:,})" for name, count in zip(names, matrix.sum(axis=1), strict=True)])
    axes.set(xlabel="predicted class", ylabel="true class (cells)")
    axes.set_title("Counts and share of the true class; mistakes in red", fontsize=10)
    bar = figure.colorbar(image, ax=axes, shrink=0.7, label="mistakes, % of the true class", ticks=[0.1, 1, 10, 100])
    bar.ax.set_yticklabels(["0.1", "1", "10", "100"])
    return figure


def curves_figure(found: Assessment) -> Figure:
    """Draw ROC and precision-recall curves of each class against the rest."""
    figure = Figure(figsize=(11, 4.6), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    label, probability = found.predictions.label.numpy(), found.predictions.probability.numpy()
    for number, row in enumerate(found.classes):
        if row["auroc"] is None:
            continue
        one = label == number
        false, true, _ = roc_curve(one, probability[:, number])
        precision, recall, _ = precision_recall_curve(one, probability[:, number])
        name = shortened([row["class"]], LONGEST_NAME)[0]
        left.plot(false, true, linewidth=1.3, label=f"{name} {row['auroc']:.4f}")
        right.plot(recall, precision, linewidth=1.3, label=f"{name} {row['average_precision']:.4f}")
    left.set(xlabel="false positive rate", ylabel="recall (sensitivity)", title="ROC, area by class")
    right.set(xlabel="recall", ylabel="precision", title="Precision and recall, average precision by class")
    for axes in (left, right):
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=8)
    return figure


def reliability_figure(found: Assessment) -> Figure:
    """Draw the reliability diagram, before and after temperature scaling, beside the curve of risk and coverage."""
    figure = Figure(figsize=(11, 4.4), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="#bbb", linewidth=1, label="perfectly calibrated")
    shown = [("as it answers", found.predictions, WRONG)]
    if found.temperature is not None:
        shown.append((f"temperature {found.temperature:.2f}", scaled(found.predictions, found.temperature), COOL))
    for text, predictions, colour in shown:
        bins = reliability_bins(predictions)
        left.plot(bins[:, 0], bins[:, 1], "-", color=colour, linewidth=1, alpha=0.7)
        left.scatter(bins[:, 0], bins[:, 1], s=8 + 160 * bins[:, 2] / bins[:, 2].sum(), color=colour, label=text, alpha=0.8)
    left.set(xlabel="mean probability of the predicted class", ylabel="share that is right", title="Reliability (area: cells)")
    left.legend(frameon=False, fontsize=8, loc="upper left")
    coverage, risk = risk_coverage(found.predictions)
    right.plot(PERCENT * coverage, PERCENT * risk, color=COOL, linewidth=1.5)
    right.axhline(
        PERCENT * (1 - found.most_frequent), color="#bbb", linestyle="--", linewidth=1, label="always the most frequent class"
    )
    right.set(
        xlabel="cells that the network classifies, surest first, %", ylabel="mistakes among them, %", title="Risk and coverage"
    )
    right.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        axes.grid(alpha=0.25)
    return figure


def doubtful_cells(found: Assessment, most: int) -> tuple[list[int], list[int]]:
    """Choose the worst mistakes, the surest first, and the least sure cells: rows of the predictions, at most `most` of each."""
    ordered = found.predictions.probability.topk(2, dim=1).values
    wrong = found.predictions.predicted != found.predictions.label
    mistakes = [row for row in ordered[:, 0].argsort(descending=True).tolist() if wrong[row]]
    return mistakes[:most], (ordered[:, 0] - ordered[:, 1]).argsort()[:most].tolist()


def gallery_figure(
    found: Assessment, rows: list[int], pixels: npt.NDArray[np.float32], heat: npt.NDArray[np.float32], columns: int = 6
) -> Figure:
    """Draw cells, each beside its map.

    Args:
        found: the assessment.
        rows: N rows of its predictions.
        pixels: (N, S, S, 3) images, in [0, 1].
        heat: (N, S, S) maps, in [0, 1].
        columns: cells in a row of the figure.
    """
    lines = -(-len(rows) // columns)
    figure = Figure(figsize=(2.9 * columns, 1.85 * lines + 0.1), dpi=100, layout="constrained")
    panels = figure.subplots(lines, 2 * columns, squeeze=False)
    for axes in panels.flat:
        axes.axis("off")
    names, predictions = shortened(found.class_names, LONGEST_NAME), found.predictions
    for place, row in enumerate(rows):
        line, column = divmod(place, columns)
        cell, overlay = panels[line, 2 * column], panels[line, 2 * column + 1]
        true, predicted = int(predictions.label[row]), int(predictions.predicted[row])
        cell.imshow(pixels[place])
        overlay.imshow(pixels[place])
        overlay.imshow(heat[place], cmap="inferno", alpha=0.55, vmin=0, vmax=1, interpolation="bilinear")
        share = PERCENT * float(predictions.probability[row, predicted])
        colour = RIGHT if true == predicted else WRONG
        cell.set_title(f"{names[true]}\n→ {names[predicted]} {share:.0f} %", fontsize=8, color=colour, loc="left")
    return figure
