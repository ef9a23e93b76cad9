"""Pages of explained cells: what they say, and that names in them are shown and never run."""

from pathlib import Path

import numpy as np
import pytest

from bcc_lightning.explanation.maps import Explanations
from bcc_lightning.explanation.neighbours import Neighbour
from bcc_lightning.explanation.page import PANEL, ExplainedCell, PageFacts, panels, thumbnail, uri, write_index, write_page
from tests.test_pages import NAMES, SHOWN, assert_dead

FACTS = PageFacts("house (36a1e540)", "36a1", None, "All 48 training cells were compared.", 0.97)


def cell(image: str = "a.png", classes: tuple[str, ...] = ("lymphocyte", "monocyte"), branches: int = 1) -> ExplainedCell:
    """A cell with a map whose only spot is the upper left corner."""
    maps = np.zeros((1, 8, 8), np.float32)
    maps[0, 0, 0] = 1
    explanations = Explanations(
        np.zeros((1, 8, 8, 3), np.float32), {f"branch {i}": maps for i in range(branches)}, maps, "layercam"
    )
    probabilities = dict(zip(classes, [0.75, *([0.25 / (len(classes) - 1)] * (len(classes) - 1))], strict=True))
    found = [Neighbour(f"train/{name}", name, 0.9, np.zeros((8, 8, 3), np.uint8)) for name in classes]
    return ExplainedCell(image, np.full((60, 60, 3), 128, np.uint8), probabilities, explanations, found)


def test_the_page_says_what_was_found(tmp_path: Path) -> None:
    write_page(cell(), FACTS, tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    for text in (
        "<h1>lymphocyte, 75.0 %</h1>",
        "LayerCAM (Jiang et al., IEEE TIP 30 (2021) 5875) for lymphocyte",
        "1 of 2 are labelled lymphocyte",
        "0.970 is typical",
        "All 48 training cells were compared.",
        "As the network sees it: 8 × 8",
        "house (36a1e540), run 36a1",
    ):
        assert text in page
    assert page.count("<img") == 3 + 1 + 2 + 2  # image, map, overlay; legend; training cells; pixels and saliency
    assert page.index("lymphocyte</th>") < page.index("monocyte</th>")


def test_each_branch_has_its_map_and_the_mean_is_first(tmp_path: Path) -> None:
    write_page(cell(branches=3), FACTS, tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    assert [page.count(f"<figcaption>branch {i}</figcaption>") for i in range(3)] == [1, 1, 1]


def test_the_map_lies_over_the_photograph_where_it_is_in_the_image() -> None:
    image, heat, overlay = (picture for _, picture in panels(cell()))
    assert image.shape == heat.shape == overlay.shape == (PANEL, PANEL, 3)
    np.testing.assert_allclose(image, 128 / 255, atol=1e-6)
    changed = np.abs(overlay - image).max(axis=2) > 0.05
    rows, columns = np.nonzero(changed)
    assert max(rows.max(), columns.max()) < 2 * PANEL / 8  # the corner's place, and half of the next
    assert changed[0, 0]
    assert not np.array_equal(heat[0, 0], heat[-1, -1])


@pytest.mark.parametrize("place", ["image", "class", "training", "unreadable"])
def test_names_are_shown_and_never_run(tmp_path: Path, place: str) -> None:
    names = "".join(NAMES)
    one = cell("".join(NAMES) if place == "image" else "a.png", NAMES if place == "class" else ("a", "b"))
    facts = PageFacts("net", None, None, names if place == "training" else "")
    write_page(one, facts, tmp_path / "page.html")
    write_index([(one, "page.html", thumbnail(one))], [names] if place == "unreadable" else [], facts, tmp_path / "index.html")
    for file in ("page.html", "index.html"):
        assert_dead((tmp_path / file).read_text(encoding="utf-8"))
    pages = "".join((tmp_path / file).read_text(encoding="utf-8") for file in ("page.html", "index.html"))
    for shown in SHOWN:
        assert shown in pages or (place == "training" and one.neighbours)


def test_the_index_leads_to_every_page(tmp_path: Path) -> None:
    rows = [(cell(name), f"{name}.html", thumbnail(cell(name))) for name in ("a", "b c")]
    write_index(rows, ["c.png cannot be read"], FACTS, tmp_path / "index.html")
    page = (tmp_path / "index.html").read_text()
    assert 'href="a.html"' in page
    assert 'href="b%20c.html"' in page
    assert "2 explained cells" in page
    assert "c.png cannot be read" in page


def test_pictures_are_whole_in_the_page() -> None:
    assert uri(np.ones((2, 2, 3), np.float32)).startswith("data:image/png;base64,iVBOR")
