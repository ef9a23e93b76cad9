"""The figures of an evaluated set: curves by class, selective answers, prediction sets, single cells."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from bcc_lightning.evaluation.assessment import Assessment
from bcc_lightning.evaluation.conformal import ConformalSets
from bcc_lightning.evaluation.figures import GREY, LONGEST_NAME, STYLE, TEST, TRAIN, VAL
from bcc_lightning.evaluation.metrics import Predictions
from bcc_lightning.evaluation.selective import RiskCoverage
from bcc_lightning.printable import shortened

DPI = 110
RIGHT, WRONG = "#1b5e20", "#b71c1c"
NEARLY_PERFECT = 0.97
"""If every class has a larger area under its ROC curve, only the corners of the curves are drawn."""

CORNER = 0.2

MANY_CURVES = 15
"""So many names stand in one column of a legend."""


@rc_context(STYLE)
def curves_by_class_figure(assessment: Assessment, predictions: Predictions) -> Figure:
    """Draw the ROC and the precision-recall curve of each class against the rest; classes without cells have none."""
    figure = Figure(figsize=(12.5, 4.6), dpi=DPI, layout="constrained")
    roc, precision = figure.subplots(1, 2)
    probability, label = predictions.probability.numpy(), predictions.label.numpy()
    drawn = {n: (name, found) for n, (name, found) in enumerate(assessment.classes.items()) if found.auroc is not None}
    names = dict(zip(drawn, shortened((name for name, _ in drawn.values()), LONGEST_NAME), strict=True))
    for place, (number, (_, found)) in enumerate(drawn.items()):
        style = {"color": matplotlib.colormaps["tab10"](place % 10), "linestyle": ("-", "--", ":")[place // 10 % 3]}
        false, true, _ = roc_curve(label == number, probability[:, number])
        both = f"{names[number]}  {found.auroc:.4f} | {found.average_precision:.4f}"
        roc.plot(false, true, label=both, **style)
        precise, recall, _ = precision_recall_curve(label == number, probability[:, number])
        precision.plot(recall, precise, drawstyle="steps-pre", **style)
    corner = bool(drawn) and all((found.auroc or 0) > NEARLY_PERFECT for _, found in drawn.values())
    low, high = ((0, CORNER), (1 - CORNER, 1)) if corner else ((0, 1), (0, 1))
    for axes, title, at, limits in ((roc, "ROC curve", "left", low), (precision, "Precision and recall", "right", high)):
        axes.set(title=f"{title}{f', upper {at} corner' if corner else ''}", xlim=limits, ylim=(high[0], high[1] + 0.005))
        axes.grid(alpha=0.25)
    roc.set(xlabel="share of the other cells taken for the class", ylabel="recall")
    precision.set(xlabel="recall", ylabel="precision")
    columns = 1 + len(drawn) // MANY_CURVES
    title = "area under ROC | average precision"
    figure.legend(title=title, fontsize=9, title_fontsize=9, loc="outside right center", ncols=columns)
    return figure


@rc_context(STYLE)
def risk_coverage_figure(curve: RiskCoverage, accuracy: float) -> Figure:
    """Draw the error among the cells that are answered against their share."""
    figure = Figure(figsize=(7, 4.2), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    coverage, risk = 100 * np.array(curve.coverage), 100 * np.array(curve.risk)
    axes.plot(coverage, risk, color=TRAIN, label="the surest cells first")
    axes.axhline(100 * (1 - accuracy), color=GREY, linestyle="--", linewidth=1, label=f"all cells: {100 * (1 - accuracy):.2f} %")
    wrong = 100 - 100 * accuracy
    ideal = np.maximum(0, coverage - (100 - wrong)) / coverage * 100
    axes.plot(coverage, ideal, color=TEST, linewidth=1, label="if all mistakes came last")
    axes.set(xlabel="share of the cells that the network classifies, in %", ylabel="error among them, in %", xlim=(0, 100))
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)
    axes.legend()
    return figure


@rc_context(STYLE)
def conformal_figure(found: dict[str, ConformalSets]) -> Figure:
    """Draw how often the sets hold the true class, with Wilson's 95 % intervals, and how many classes they hold."""
    names = list(next(iter(found.values())).classes)
    figure = Figure(figsize=(11, 1.6 + 0.42 * len(names)), dpi=DPI, layout="constrained")
    coverage, sizes = figure.subplots(1, 2, sharey=True)
    for place, ((level, sets), colour) in enumerate(zip(found.items(), (TRAIN, VAL), strict=False)):
        for row, one in enumerate(sets.classes.values()):
            if one.coverage is None or one.interval is None:
                continue
            height = row + (place - 0.5) * 0.3
            coverage.plot([100 * end for end in one.interval], [height] * 2, color=colour, alpha=0.6)
            coverage.plot(100 * one.coverage, height, "o", color=colour)
            sizes.plot(one.mean_size, height, "o", color=colour)
        coverage.axvline(
            100 * float(level), color=colour, linestyle="--", linewidth=1, label=f"promised {100 * float(level):.0f} %"
        )
    coverage.set_yticks(range(len(names)), shortened(names, LONGEST_NAME))
    coverage.set(xlabel="sets that contain the true class, in %", ylim=(len(names) - 0.4, -0.6))
    sizes.set(xlabel="mean number of classes in a set")
    largest = max(one.mean_size or 0 for sets in found.values() for one in sets.classes.values())
    sizes.set_xlim(0, max(1.2, 1.05 * largest))
    sizes.axvline(1, color=GREY, linewidth=1)
    for axes in (coverage, sizes):
        axes.grid(axis="x", alpha=0.25)
    figure.legend(*coverage.get_legend_handles_labels(), ncols=2, loc="outside lower center")
    return figure


@dataclass(frozen=True)
class ShownCell:
    """A cell of the gallery.

    Attributes:
        image: (S, S, 3) uint8.
        heat: (S, S) float32 in [0, 1], class activation map.
        true: name of its class.
        predicted: name of the predicted class.
        probability: of the predicted class.
        true_probability: of the true class.
    """

    image: npt.NDArray[np.uint8]
    heat: npt.NDArray[np.float32]
    true: str
    predicted: str
    probability: float
    true_probability: float


PANEL = 150
"""Side of a cell in the gallery, in pixels."""

COLUMNS = 6


@rc_context(STYLE)
def gallery_figure(cells: Sequence[ShownCell]) -> Figure:
    """Draw cells in rows of `COLUMNS`, each with its map beside it: bright where the predicted class is seen."""
    rows = -(-len(cells) // COLUMNS)
    figure = Figure(figsize=(2.35 * COLUMNS, 1.75 * rows), dpi=DPI, layout="constrained")
    grid = figure.subplots(rows, COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, cell in zip(grid.flat, cells, strict=False):
        image = resized(cell.image / 255, cv2.INTER_NEAREST)
        heat = resized(cell.heat, cv2.INTER_LINEAR)[..., None]
        overlay = (1 - 0.55) * image.mean(axis=2, keepdims=True) + 0.55 * matplotlib.colormaps["inferno"](heat[..., 0])[..., :3]
        axes.imshow(np.hstack([image, np.ones((PANEL, 4, 3)), np.clip(overlay, 0, 1)]))
        true, predicted = shortened((cell.true, cell.predicted), 18) if cell.true != cell.predicted else [cell.true[:18]] * 2
        right = cell.true == cell.predicted
        below = "right" if right else f"true: {true} {100 * cell.true_probability:.1f} %"
        axes.set_title(f"{predicted} {100 * cell.probability:.1f} %\n{below}", fontsize=10, color=RIGHT if right else WRONG)
    return figure


def resized(values: npt.NDArray[np.floating], method: int) -> npt.NDArray[np.float64]:
    """Enlarge or shrink an image or a map to a panel."""
    return np.asarray(cv2.resize(values.astype(np.float64), (PANEL, PANEL), interpolation=method))


def least_sure(predictions: Predictions, most: int) -> list[int]:
    """Choose the cells whose two most probable classes are closest, the least sure first: rows."""
    largest = predictions.probability.topk(2, dim=1).values
    return [int(row) for row in (largest[:, 0] - largest[:, 1]).argsort(stable=True)[:most]]
