"""Figures of classes that are called anything, and of many classes."""

import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text

from bcc_lightning.evaluation.figures import class_counts_figure, confusion_figure, members_figure, samples_figure, save_figure
from bcc_lightning.explanation.maps import Explanations
from bcc_lightning.explanation.sheet import contact_sheet
from bcc_lightning.transforms.preview import preview_figure

NASTY = ["$x$", r"$\frac{$", "_hidden", "a\nb", "\x1b[31m", "\udcff", "A" * 100, "A" * 100 + "B", "CD34+"]
SHOWN = ["$x$", r"$\frac{$", "_hidden", "a b", r"\x1b[31m", r"\udcff", "A" * 21 + "…" + "A" * 10, "A" * 21 + "…" + "A" * 9 + "B"]
KINDS = ("confusion", "counts", "samples", "members", "preview", "sheet")
MANY = [f"class number {number}" for number in range(60)]


def cells(count: int) -> SimpleNamespace:
    """Two black images of each class."""
    return SimpleNamespace(labels=np.repeat(np.arange(count), 2), take=lambda rows: np.zeros((len(rows), 8, 8, 3), np.uint8))


def sheet(names: list[str]) -> Figure:
    """Explain one black cell of each class."""
    count = len(names)
    maps = np.zeros((count, 8, 8), np.float32)
    explanations = Explanations(np.zeros((count, 8, 8, 3), np.float32), {"net": maps}, maps)
    return contact_sheet(explanations, torch.arange(count), torch.eye(count), names)


def draw(kind: str, names: list[str]) -> Figure:
    count = len(names)
    match kind:
        case "confusion":
            return confusion_figure(np.full((count, count), 1234), names, f"Test set {names[0]}")
        case "counts":
            return class_counts_figure({split: np.full(count, 1234) for split in ("train", "val", "test")}, names)
        case "samples":
            return samples_figure(cells(count), names)
        case "members":
            return members_figure(dict.fromkeys(names, 3), 4, 0.5)
        case "preview":
            return preview_figure(list(cells(count).take(range(count))), names, {})
    return sheet(names)


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_drawn_as_they_are(kind: str, tmp_path: Path) -> None:
    figure = draw(kind, NASTY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as that there is no room left for the axes
        save_figure(figure, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000
    drawn = "|".join(text.get_text() for text in figure.findobj(Text))
    for name in SHOWN if kind not in {"members", "preview", "sheet"} else SHOWN[:6]:
        assert name in drawn


@pytest.mark.parametrize("kind", KINDS)
def test_many_classes_stay_within_bounds(kind: str) -> None:
    figure = draw(kind, MANY)
    width, height = figure.get_size_inches() * figure.dpi
    assert max(width, height) < 9000
    assert width * height < 16e6
    assert "class number 59" in "|".join(text.get_text() for text in figure.findobj(Text))


def test_few_classes_keep_the_size_of_a_page() -> None:
    width, height = confusion_figure(np.eye(8, dtype=np.int64), [f"class {number}" for number in range(8)]).get_size_inches()
    assert (width, height) == pytest.approx((2.2 + 8 * 0.72 + 1, 2.2 + 8 * 0.72))
