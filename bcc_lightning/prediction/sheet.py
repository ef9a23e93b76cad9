"""A sheet of classified cells: a row for each predicted class, the least sure first."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np
from matplotlib.figure import Figure

from bcc_lightning.errors import UserError
from bcc_lightning.prediction.classifier import TrainedClassifier
from bcc_lightning.printable import shortened

CELLS_PER_CLASS = 12
INCHES = 1.05
LONGEST_NAME = 24


def cell_sheet(classifier: TrainedClassifier, least_sure: Mapping[str, Sequence[tuple[float, int, str]]]) -> Figure:
    """Draw the cells that are least sure.

    Args:
        classifier: reads the images.
        least_sure: by predicted class, for each cell minus its margin, its row in the table, and its file.

    Returns:
        A figure with a row per class that was predicted, and under each cell its margin.
    """
    classes = [name for name in classifier.class_names if least_sure.get(name)]
    columns = max((len(least_sure[name]) for name in classes), default=1)
    figure = Figure(figsize=(1.9 + INCHES * columns, 0.6 + (INCHES + 0.25) * max(len(classes), 1)), dpi=120, layout="constrained")
    grid = np.atleast_2d(figure.subplots(max(len(classes), 1), columns, squeeze=False))
    for axes in grid.flat:
        axes.axis("off")
    for row, (name, label) in enumerate(zip(classes, shortened(classes, LONGEST_NAME), strict=True)):
        cells = sorted(least_sure[name], reverse=True)
        for column, (doubt, _, file) in enumerate(cells):
            with suppress(UserError):  # it has been read before, and may have been removed since
                grid[row, column].imshow(classifier.shown(classifier.square(file)))
            grid[row, column].set_title(f"margin {-doubt:.2f}", fontsize=7, color="#b71c1c" if -doubt < 0.5 else "#444444", pad=2)  # noqa: PLR2004
        grid[row, 0].text(-0.12, 0.5, label, transform=grid[row, 0].transAxes, ha="right", va="center", fontsize=10)
    figure.suptitle(
        "Cells by predicted class, least sure first (margin: difference of the two largest probabilities)", fontsize=9
    )
    return figure
