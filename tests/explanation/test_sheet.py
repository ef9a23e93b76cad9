"""The sheet of a report: readable on its page, however many panels a cell has."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text

from bcc_lightning.evaluation.metrics import Predictions
from bcc_lightning.explanation.maps import Explanations
from bcc_lightning.explanation.sheet import WIDTH, choose_cells, contact_sheet

NAMES = ["basophil", "immature granulocyte", "lymphocyte"]
SMALLEST_TEXT, SMALLEST_PANEL = 12, 100


def draw(branches: int, per_class: int = 3) -> Figure:
    """Draw cells of three classes; the first of each is a mistake."""
    count = 3 * per_class
    maps = np.zeros((count, 8, 8), np.float32)
    explanations = Explanations(np.zeros((count, 8, 8, 3), np.float32), {f"branch {i}": maps for i in range(branches)}, maps)
    labels = torch.arange(3).repeat_interleave(per_class)
    predicted = labels.clone()
    predicted[::per_class] = (labels[::per_class] + 1) % 3
    return contact_sheet(explanations, labels, torch.eye(3)[predicted], NAMES)


@pytest.mark.parametrize("branches", [1, 2, 3, 5])
def test_panels_and_text_are_large_enough_and_on_the_page(branches: int) -> None:
    figure = draw(branches)
    assert figure.get_figwidth() * 100 == WIDTH
    (axes,) = figure.axes
    extents = [image.get_extent() for image in axes.images][1:]  # the first is the legend
    per_cell = branches + 2 + (branches > 1)
    assert len(extents) == 9 * per_cell
    for left, right, bottom, top in extents:
        assert 0 <= left < right <= WIDTH
        assert right - left == bottom - top >= SMALLEST_PANEL
        assert bottom <= figure.get_figheight() * 100
    texts = [text for text in figure.findobj(Text) if text.get_text()]
    assert min(text.get_fontsize() / 0.72 for text in texts) >= SMALLEST_TEXT - 0.01
    assert not overlapping([tuple(map(round, extent)) for extent in extents])


def overlapping(extents: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """List panels that lie on the one before."""
    boxes = sorted((top, left, bottom, right) for left, right, bottom, top in extents)
    return [one for before, one in pairwise(boxes) if one[0] == before[0] and one[1] < before[3]]


def test_mistakes_say_what_the_cell_was_taken_for() -> None:
    texts = {text.get_text(): text.get_color() for text in draw(1).findobj(Text)}
    assert texts["taken for immature granulocyte, 100 %"] == "#b71c1c"
    assert texts["basophil, 100 %"] == "#1b5e20"
    assert "Grad-CAM: the brighter (yellow) a place, the more it speaks for the predicted class." in texts


def test_the_surest_mistake_of_each_class_comes_first() -> None:
    probability = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.8, 0.2], [0.3, 0.7]])
    labels = torch.tensor([0, 0, 0, 1, 1])
    predictions = Predictions(torch.arange(5), labels, probability)
    assert choose_cells(predictions, 2, 2) == [2, 0, 3, 4]
    assert choose_cells(predictions, 2, 9) == [2, 0, 1, 3, 4]
