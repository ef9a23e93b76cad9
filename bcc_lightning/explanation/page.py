"""Pages that show why a network answered as it did: one per image, and an index. Each contains its images."""

import io
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from bcc_lightning.explanation.colours import Picture, coloured, enlarged, legend, overlaid, without_peaks
from bcc_lightning.explanation.maps import Explanations
from bcc_lightning.explanation.methods import METHODS, Maps
from bcc_lightning.explanation.neighbours import Neighbour
from bcc_lightning.pages.rendering import write_html

PANEL = 340
"""Side of a panel in pixels; three stand side by side on a page."""

SMALL = 96
"""Side of a training cell in pixels."""

PACKAGE = "bcc_lightning.explanation"


@dataclass(frozen=True)
class ExplainedCell:
    """A cell, what the network answered, and why.

    Attributes:
        image: the file, or the number of an array.
        photograph: (P, P, 3) uint8, the part of the image that the network sees, at its own resolution.
        probabilities: class to probability.
        explanations: its maps; of one image.
        neighbours: the most similar training cells; None where they are not known.
    """

    image: str | int
    photograph: npt.NDArray[np.uint8]
    probabilities: dict[str, float]
    explanations: Explanations
    neighbours: list[Neighbour] | None

    @property
    def predicted(self) -> str:
        """The class with the largest probability."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])

    @property
    def probability(self) -> float:
        """Its probability."""
        return self.probabilities[self.predicted]

    @property
    def map(self) -> Maps:
        """The map of all branches together: (S, S) float32 in [0, 1]."""
        return np.asarray(self.explanations.combined[0], np.float32)


@dataclass(frozen=True)
class PageFacts:
    """What all pages of a call say.

    Attributes:
        network: title of the network.
        run_id: of its run; None for a checkpoint.
        views: views of a cell over which probabilities are averaged, in words; None for one.
        training: how the training cells were chosen, or why they are not shown; a sentence.
        typical: usual similarity of a training cell and the one most like it; None where they are not known.
    """

    network: str
    run_id: str | None
    views: str | None
    training: str
    typical: float | None = None


def write_page(cell: ExplainedCell, facts: PageFacts, target: Path) -> None:
    """Write the page of one cell.

    Args:
        cell: the cell.
        facts: what all pages say.
        target: file that is written.
    """
    neighbours = [(one, uri(enlarged(unit(one.image), SMALL, smooth=False))) for one in cell.neighbours or []]
    same = sum(one.label == cell.predicted for one, _ in neighbours)
    write_html(
        target,
        PACKAGE,
        "image.html.jinja",
        cell=cell,
        facts=facts,
        method=METHODS[cell.explanations.method],
        panels=[(title, uri(picture)) for title, picture in panels(cell)],
        branches=[(title, uri(picture)) for title, picture in branch_panels(cell)],
        legend=uri(legend(256, 12)),
        probabilities=sorted(cell.probabilities.items(), key=lambda pair: -pair[1]),
        neighbours=neighbours,
        same=same,
    )


def write_index(
    rows: Sequence[tuple[ExplainedCell, str, str]], unreadable: Sequence[str], facts: PageFacts, target: Path
) -> None:
    """Write the index of several pages.

    Args:
        rows: cell, file name of its page, and its picture as a URI, see `thumbnail`.
        unreadable: what was not explained, and why.
        facts: what all pages say.
        target: file that is written.
    """
    write_html(target, PACKAGE, "index.html.jinja", rows=rows, unreadable=unreadable, facts=facts, legend=uri(legend(256, 12)))


def thumbnail(cell: ExplainedCell) -> str:
    """Draw a cell beside itself with its map, as a URI."""
    image = photograph(cell, SMALL)
    return uri(np.hstack([image, np.ones((SMALL, 4, 3), np.float32), overlaid(image, cell.map)]))


def panels(cell: ExplainedCell) -> list[tuple[str, Picture]]:
    """Draw image, map and overlay."""
    image = photograph(cell, PANEL)
    return [("Image", image), ("Map", coloured(enlarged(cell.map, PANEL))), ("Map over the image", overlaid(image, cell.map))]


def branch_panels(cell: ExplainedCell) -> list[tuple[str, Picture]]:
    """Draw what the network sees, the map of each branch if there are several, and the saliency of pixels."""
    found, image = cell.explanations, photograph(cell, PANEL)
    side = found.pixels.shape[1]
    branches = found.branches if len(found.branches) > 1 else {}
    seen = enlarged(found.pixels[0], PANEL, smooth=False)
    saliency = coloured(enlarged(without_peaks(found.saliency[0]), PANEL, smooth=False))
    return [
        (f"As the network sees it: {side} × {side}", seen),
        *((name, overlaid(image, maps[0])) for name, maps in branches.items()),
        ("Saliency of single pixels", saliency),
    ]


def photograph(cell: ExplainedCell, side: int) -> Picture:
    """Return the photograph in a size for a page: (side, side, 3) float32 in [0, 1]."""
    return np.asarray(np.clip(enlarged(unit(cell.photograph), side), 0, 1), np.float32)


def unit(image: npt.NDArray[np.uint8]) -> Picture:
    """Scale an image to [0, 1]."""
    return np.asarray(image, np.float32) / np.float32(255)


def uri(picture: Picture) -> str:
    """Encode a picture (H, W, 3) in [0, 1] as PNG in a URI."""
    stream = io.BytesIO()
    Image.fromarray(np.uint8(np.round(255 * np.clip(picture, 0, 1)))).save(stream, "PNG")
    return f"data:image/png;base64,{b64encode(stream.getvalue()).decode()}"
