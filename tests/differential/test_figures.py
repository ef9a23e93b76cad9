"""Figures and tables of differentials: what they show, with odd names and with little data."""

import csv
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from bcc_lightning.differential.agreement import agree
from bcc_lightning.differential.counting import COLUMNS, Confusion, differential
from bcc_lightning.differential.figures import agreement_figure, differential_figure
from bcc_lightning.differential.report import agreement_cells, differential_cells, write_agreement, write_differential
from bcc_lightning.evaluation.figures import save_figure

CLASSES = ("neutrophil", "lymphocyte", "ig")
NASTY = ("$x$", "\x1b[31m", "A" * 100)


def slides(count: int, classes: tuple[str, ...] = CLASSES, names: tuple[str, ...] = ()) -> pd.DataFrame:
    """Drawn counts of some slides."""
    cells = np.random.default_rng(1).multinomial(200, [0.6, 0.3, 0.1], size=count)
    index = pd.Index(names or [f"s{number}" for number in range(count)], name="slide")
    return pd.DataFrame(cells, index=index, columns=list(classes))


def texts(figure: Figure) -> str:
    """All that a figure says."""
    figure.canvas.draw()
    return "|".join(text.get_text() for text in figure.findobj(Text) if text.get_visible())


def test_a_differential_is_drawn_with_its_limits_and_figures() -> None:
    counts = pd.DataFrame([[50, 40, 10]], index=["s"], columns=list(CLASSES))
    figure = differential_figure(differential(counts, None))
    written = texts(figure)
    assert "50.0 (39.8 to 60.2)" in written  # Rümke's limits
    assert "s: 100 cells" in written
    assert "corrected" not in written
    axes = figure.axes[0]
    assert axes.lines[0].get_xdata() == pytest.approx(np.sqrt([0.5, 0.4, 0.1]))
    bars = axes.collections[0].get_segments()
    assert bars[0][:, 0] == pytest.approx(np.sqrt([0.3983, 0.6017]), abs=1e-3)


def test_corrected_shares_stand_beside_counted_ones() -> None:
    table = differential(slides(1), Confusion(CLASSES, np.diag([300, 300, 300])))
    figure = differential_figure(table)
    written = texts(figure)
    assert "corrected for the network's confusions" in written
    assert "counted, exact binomial limits" in written
    row = table.iloc[0]
    assert f"{100 * row['corrected']:.1f} ({100 * row['corrected_low']:.1f} to" in written


def test_the_figure_says_how_many_slides_it_leaves_out() -> None:
    table = differential(slides(9), None)
    assert "The first 6 of 9 slides" in texts(differential_figure(table))
    chosen = differential_figure(table, ["s7"])
    assert "s7: 200 cells" in texts(chosen)
    assert "The first" not in texts(chosen)


@pytest.mark.parametrize("corrected", [True, False])
def test_odd_names_and_slides_without_cells_are_drawn(corrected: bool, tmp_path: Path) -> None:
    counts = slides(3, NASTY, NASTY)
    counts.iloc[1] = 0
    table = differential(counts, Confusion(NASTY, np.diag([300, 300, 0])) if corrected else None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        written = write_differential(table, tmp_path / "cells.differential.csv")
    assert [file.name for file in written] == ["cells.differential.csv", "cells.differential.png"]
    shown = texts(differential_figure(table))
    assert r"\x1b[31m: 0 cells, so no shares" in shown
    assert "–" in shown


@pytest.mark.parametrize("count", [1, 2, 3, 12])
def test_an_agreement_of_few_slides_is_drawn(count: int, tmp_path: Path) -> None:
    own, reference = slides(count), slides(count).iloc[:, ::-1] + 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_figure(agreement_figure(own, reference), tmp_path / "figure.png")
    written = texts(agreement_figure(own, reference))
    assert f"({count} slide{'s' if count > 1 else ''})" in written
    assert ("Deming" in written) == (count > 2)
    assert ("limits of agreement" in written) == (count > 1)


def test_two_observers_and_constant_shares_are_drawn(tmp_path: Path) -> None:
    own = pd.DataFrame({"neutrophil": [100, 90, 80], "ig": [0, 10, 20], "lymphocyte": [0, 0, 0]}, index=["s0", "s1", "s2"])
    reference = pd.concat({"A": own, "B": own + 1}, names=["observer", "slide"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        files = write_agreement(own, reference, tmp_path / "cells.agreement.csv")
    assert [file.suffix for file in files] == [".csv", ".png"]
    assert "limits between the observers" in texts(agreement_figure(own, reference))


def test_many_classes_are_left_to_the_table() -> None:
    names = tuple(f"class {number}" for number in range(15))
    cells = np.arange(1, 16) * np.ones((3, 1), int) + np.arange(3)[:, None]
    counts = pd.DataFrame(cells, index=["a", "b", "c"], columns=list(names)).rename_axis("slide")
    written = texts(agreement_figure(counts, counts))
    assert "The 12 most frequent of 15 classes" in written
    assert "class 14" in written
    assert "class 0|" not in written


def test_a_differential_is_written_for_scripts(tmp_path: Path) -> None:
    table = differential(slides(2), None)
    write_differential(table, tmp_path / "cells.differential.csv")
    with (tmp_path / "cells.differential.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [float(row["share"]) for row in rows] == pytest.approx(list(table["share"]), rel=1e-5)
    assert {row["corrected"] for row in rows} == {""}
    assert write_differential(table.iloc[:0], tmp_path / "none.csv") == [tmp_path / "none.csv"]


def test_tables_as_text() -> None:
    counts = pd.DataFrame([[1150, 800, 50]], index=["s"], columns=list(CLASSES)).rename_axis("slide")
    assert differential_cells(differential(counts, None))[0] == ("s", "neutrophil", "1,150", "57.5 (55.3 to 59.7)", "–")
    own = pd.DataFrame({"neutrophil": [60, 50, 80, 70], "ig": [40, 50, 20, 30]}, index=list("abcd")).rename_axis("slide")
    reference = pd.DataFrame({"neutrophil": [50, 50, 60, 60], "ig": [50, 50, 40, 40]}, index=list("abcd")).rename_axis("slide")
    row = agreement_cells(agree(own, reference))[0]
    # Differences 10, 0, 20, 10 points: mean 10, deviation 8.165; t = 3.182, z = 1.96.
    assert row[:4] == ("neutrophil", "4", "10.0 (-3.0 to 23.0)", "-6.0 to +26.0")
    assert row[-1] == "–"
