"""Features projected to two dimensions, coloured by class and by laboratory: which of the two separates cells first?"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors

from bcc_lightning.embedding.features import OWN, Embedded, Features
from bcc_lightning.explanation.faithfulness import stratified

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7a5195", "#8c8c00", "#444444", "#b0a090")
"""Okabe and Ito's colours, which all people can tell apart, and a few more."""

MOST = 2000
"""Cells of each laboratory that are drawn at most."""

NEAREST = 20

Points = npt.NDArray[np.float32]


class Drawn:
    """Cells that are drawn: those of the data set, and those of further sets, which are other laboratories.

    Args:
        embedded: the features.
        most: cells of each laboratory at most.

    Attributes:
        features: (N, F) float32.
        classes: (N,) name of each cell's class.
        laboratories: (N,) name of each cell's data set.
    """

    def __init__(self, embedded: Embedded, most: int = MOST) -> None:
        names = [embedded.data, *(one.name for one in embedded.sets if one.name not in OWN)]
        features, classes, laboratories = [], [], []
        for name in names:
            found, labels = embedded.of(*(OWN if name == embedded.data else (name,)))
            rows = stratified(labels, most, seed=0)
            features.append(found[rows])
            classes += [embedded.class_names[label] for label in labels[rows]]
            laboratories += [name] * len(rows)
        self.features: Features = np.concatenate(features)
        self.classes, self.laboratories = np.array(classes), np.array(laboratories)

    def agreement(self, of: npt.NDArray[np.str_]) -> float:
        """Return the share of a cell's nearest neighbours that have its class, or its laboratory."""
        count = min(NEAREST, len(self.features) - 1)
        places = NearestNeighbors(n_neighbors=count + 1).fit(self.features).kneighbors(return_distance=False)[:, :count]
        return float((of[places] == of[:, None]).mean())


def projections(features: Features) -> dict[str, Points]:
    """Project features (N, F) to two dimensions: principal components, and t-SNE of the first fifty of them."""
    main = PCA(min(50, *features.shape), random_state=0).fit_transform(features)
    near = TSNE(2, perplexity=min(30, (len(features) - 1) / 3), init="pca", random_state=0).fit_transform(main)
    return {"Principal components": np.asarray(main[:, :2], np.float32), "t-SNE": np.asarray(near, np.float32)}


def embedding_figure(drawn: Drawn, points: dict[str, Points]) -> Figure:
    """Draw each projection twice: coloured by class and, where there are several, by laboratory.

    Args:
        drawn: the cells.
        points: from `projections`.
    """
    colourings = {"class": drawn.classes}
    if len(set(drawn.laboratories)) > 1:
        colourings["laboratory"] = drawn.laboratories
    figure = Figure(figsize=(6.5 * len(points), 5.5 * len(colourings)), layout="constrained")
    grid = figure.subplots(len(colourings), len(points), squeeze=False)
    for row, (what, names) in zip(grid, colourings.items(), strict=True):
        for axes, (title, place) in zip(row, points.items(), strict=True):
            scatter(axes, place, names, list(dict.fromkeys(sorted(names))))
            axes.set_title(f"{title}, coloured by {what}")
        row[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5), markerscale=2.5, frameon=False)
    return figure


def scatter(axes: Axes, points: Points, names: npt.NDArray[np.str_], order: Sequence[str]) -> None:
    """Draw points in the colour of their name, in an order that hides no name behind another."""
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(order)}
    shuffled = np.random.default_rng(0).permutation(len(points))
    axes.scatter(
        points[shuffled, 0], points[shuffled, 1], s=5, c=[colours[name] for name in names[shuffled]], linewidths=0, alpha=0.8
    )
    for name in order:
        axes.scatter([], [], s=12, color=colours[name], label=name)
    axes.set(xticks=[], yticks=[])
