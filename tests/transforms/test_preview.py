"""The sheet that shows pipelines: which image is where."""

import numpy as np
from matplotlib.figure import Figure

from bcc_lightning.datasets.smear_painter import paint_cells
from bcc_lightning.transforms.pipelines import make_pipeline
from bcc_lightning.transforms.preview import PANEL, draw_cell, lay_out, preview_figure, to_panel


def sheet_of(figure: Figure) -> np.ndarray:
    return np.asarray(figure.axes[0].images[0].get_array())


def test_sheet_shows_stored_cells_and_the_draws_of_each_pipeline() -> None:
    images = [paint_cells(np.array([i]), size, 0.3, seed=i)[0] for i, size in enumerate((28, 96, 224))]
    pipelines = {"none": None, "stain": make_pipeline("stain")}
    figure = preview_figure(images, ["basophil", "eosinophil", "erythroblast"], pipelines, draws=2, seed=5)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert [text for text in texts if text in ("as stored", "none", "stain")] == ["as stored", "none", "stain"]
    assert {"basophil", "eosinophil", "erythroblast"} <= set(texts)
    again = preview_figure(images, ["basophil", "eosinophil", "erythroblast"], pipelines, draws=2, seed=5)
    other = preview_figure(images, ["basophil", "eosinophil", "erythroblast"], pipelines, draws=2, seed=6)
    assert np.array_equal(sheet_of(figure), sheet_of(again))
    assert not np.array_equal(sheet_of(figure), sheet_of(other))


def test_panels_lie_where_their_titles_are() -> None:
    red, blue = (np.full((28, 28, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    sheet, lefts = lay_out([[[red], [red]], [[blue, blue], [blue, blue]]], rows=2)
    assert (sheet == (255, 0, 0)).all(axis=2).sum() == 2 * PANEL**2
    assert (sheet == (0, 0, 255)).all(axis=2).sum() == 4 * PANEL**2
    assert np.flatnonzero((sheet == (0, 0, 255)).all(axis=2).any(axis=0))[0] == lefts[1]


def test_draws_differ_and_no_pipeline_leaves_the_cell() -> None:
    image = paint_cells(np.array([3]), 64, 0.3, seed=0)[0]
    drawn = draw_cell(image, 0, make_pipeline("stain"), 4, seed=0)
    assert len({each.tobytes() for each in drawn}) == 4
    assert all(np.array_equal(each, image) for each in draw_cell(image, 0, None, 2, seed=0))


def test_small_images_keep_their_pixels() -> None:
    image = paint_cells(np.array([3]), 28, 0.3, seed=0)[0]
    assert set(map(tuple, to_panel(image).reshape(-1, 3))) == set(map(tuple, image.reshape(-1, 3)))
