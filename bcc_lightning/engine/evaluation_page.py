"""An assessment as a page for people, ``evaluation.html``, with its figures, and as ``evaluation.json`` for programs."""

from pathlib import Path

import numpy as np
import torch

from bcc_lightning.datasets.cells import CellImages
from bcc_lightning.engine.assessing import Assessor, EvaluatedSet
from bcc_lightning.evaluation.assessment import Assessment
from bcc_lightning.evaluation.assessment_figures import (
    curves_figure,
    doubtful_cells,
    gallery_figure,
    mistakes_figure,
    reliability_figure,
)
from bcc_lightning.evaluation.figures import save_figure
from bcc_lightning.explanation.maps import explain_images
from bcc_lightning.files import whole_file, write_json
from bcc_lightning.modules import CellClassifier
from bcc_lightning.printable import page_template
from bcc_lightning.safe_names import file_name
from bcc_lightning.tracking.filing import data_uri

SHOWN = 18
"""Cells in each gallery."""

Pictures = list[tuple[str, str, str]]
"""Title, image as a URI, and what it shows."""


def write_evaluation(assessor: Assessor, sets: list[tuple[EvaluatedSet, Assessment]], out: Path) -> None:
    """Write page, figures, tables of answers and figures for programs.

    Args:
        assessor: the network.
        sets: evaluated sets, the one that matters most first.
        out: folder.
    """
    pages = [(found, draw(assessor.classifier.module, one, found, out)) for one, found in sets]
    for one, _ in sets:
        with whole_file(out / "predictions" / f"{file_name(one.name)}.parquet") as draft:
            assessor.table(one).to_parquet(draft, index=False)
    template = page_template("bcc_lightning.engine", "evaluation.html.jinja")
    with whole_file(out / "evaluation.html") as draft:
        draft.write_text(template.render(network=assessor.network, sets=pages), encoding="utf-8")
    first, *others = [found.as_dict() for _, found in sets]
    network = {"run_id": assessor.network.run_id, "network": assessor.network.title}
    write_json(out / "evaluation.json", {**network, **first, "beside": others})


def draw(module: CellClassifier, one: EvaluatedSet, found: Assessment, out: Path) -> Pictures:
    """Draw the figures of one set into a folder of its own."""
    folder = out / "figures" / file_name(found.name)
    pictures: Pictures = []

    def add(name: str, figure: object, title: str, text: str) -> None:
        """Save a figure, and remember it for the page."""
        save_figure(figure, folder / f"{name}.png")  # type: ignore[arg-type]
        pictures.append((title, data_uri(folder / f"{name}.png"), text))

    text = (
        "Rows are true classes, columns what they were taken for. The darker, the larger the share of the class that is mistaken."
    )
    add("confusion", mistakes_figure(found), "Which cells are mistaken for which", text)
    text = "Each class against all others, over all thresholds. With rare classes, look at precision and recall rather than ROC."
    add("curves", curves_figure(found), "Each class by itself", text)
    text = (
        "Left: points on the line mean that a probability can be taken at its word; below it the network is too sure. The "
        "temperature was fitted on the validation set. Right: mistakes that are left if the network only classifies the cells "
        "of which it is surest."
    )
    add("reliability", reliability_figure(found), "How far its probabilities can be trusted", text)
    if one.cells is None:
        return pictures
    mistakes, unsure = doubtful_cells(found, SHOWN)
    text = "True class, then what the network says. Bright colours in the right picture mark what spoke for its answer."
    for name, rows, title in (("mistakes", mistakes, "Worst mistakes, surest first"), ("unsure", unsure, "Least sure cells")):
        if rows:
            pixels, heat = explained(module, one.cells, found, rows)
            add(name, gallery_figure(found, rows, pixels, heat), title, text)
    return pictures


def explained(module: CellClassifier, cells: CellImages, found: Assessment, rows: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return images and maps of some cells: (N, S, S, 3) and (N, S, S), in [0, 1]."""
    positions = found.predictions.position[rows].numpy()
    images = torch.from_numpy(np.ascontiguousarray(cells.take(positions))).permute(0, 3, 1, 2)
    explanations = explain_images(module, images, found.predictions.label[rows])
    return explanations.pixels, explanations.combined
