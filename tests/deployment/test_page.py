"""The page in a real browser: images in, classes, differential and tables out.

The browser is the system's Chromium. Where there is none the tests are skipped, in CI they fail.
"""

import base64
import csv
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from scipy.stats import binomtest

from bcc_lightning.deployment.access import Access
from bcc_lightning.deployment.limits import Limits
from bcc_lightning.differential.counting import Confusion
from tests.browser import chromium
from tests.deployment.serving import NAMES, Running, classifier, encoded, picture, running

pytestmark = [pytest.mark.slow]

MARKUP = "<img src=x onerror=document.title='run'>.png"
"""A name of a file that would run a script where it is read as markup."""

DROP = """async paths => {
    const bytes = content => Uint8Array.from(atob(content), c => c.charCodeAt(0));
    const files = paths.map(([name, content]) => new File([bytes(content)], name, {lastModified: 0}));
    const data = new DataTransfer();
    files.forEach(file => data.items.add(file));
    document.getElementById("drop").dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page, faults = browser.new_page(viewport={"width": 1400, "height": 900}), []
    page.set_default_timeout(20_000)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if "Content Security Policy" in message.text else None)
    page.on("request", lambda request: faults.append(request.url) if not request.url.startswith(LOCAL) else None)
    yield page
    page.close()
    assert faults == []


LOCAL = ("http://127.0.0.1:", "data:", "blob:http://127.0.0.1:")


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    confusion = Confusion(tuple(NAMES), np.diag([50, 50, 50]))
    with running(classifier(), Limits(images=8, queue=64), confusion=confusion) as one:
        yield one


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    """Write a folder of 20 cells, 5 of them green and 3 blue, one of them hardly; and of two other files."""
    folder = tmp_path / "slide 7"
    (folder / "deeper").mkdir(parents=True)
    shades = ["red"] * 12 + ["green"] * 5 + ["blue"] * 2
    for number, shade in enumerate(shades):
        (folder / f"{number:02d}.png").write_bytes(encoded(picture(shade)))
    (folder / "deeper" / MARKUP).write_bytes(encoded(picture((40, 50, 60))))  # blue, or green
    (folder / "notes.txt").write_text("these are not cells")
    (folder / ".hidden").write_text("left out")
    return folder


def loaded(page: Page, server: Running, folder: Path) -> None:
    """Open the page and give it a folder."""
    page.goto(server.url)
    expect(page.locator("#work")).to_be_visible()
    page.set_input_files("#folder", str(folder))
    expect(page.locator("#progress-text")).to_have_text("20 cells classified.")
    expect(page.locator("#rows tr")).to_have_count(3)


def rows(page: Page) -> list[list[str]]:
    """Read the table of the differential: class, cells, share and limits."""
    return [row.locator("td").all_inner_texts()[1:5] for row in page.locator("#rows tr").all()]


def saved(page: Page, button: str, folder: Path) -> tuple[str, list[dict[str, str]]]:
    """Download a table; returns its suggested name, and its rows."""
    with page.expect_download() as waiting:
        page.click(button)
    file = folder / "saved.csv"
    waiting.value.save_as(file)
    with file.open(encoding="utf-8", newline="") as stream:
        return waiting.value.suggested_filename, list(csv.DictReader(stream))


def test_a_folder_is_classified_counted_corrected_and_saved(page: Page, server: Running, slide: Path, tmp_path: Path) -> None:
    loaded(page, server, slide)
    assert "not for diagnosis" in page.locator("#banner").inner_text()
    assert page.locator("#errors summary").inner_text() == "1 file could not be classified and is not counted"
    assert page.title() != "run"

    first = page.locator(".cell").first  # the least sure
    assert first.locator("select").input_value() == "blue"
    assert first.locator(".name").inner_text().endswith(MARKUP)
    softmax = np.exp(np.array([40, 50, 60]) / 20) / np.exp(np.array([40, 50, 60]) / 20).sum()
    assert first.locator(".sure").inner_text() == f"{100 * softmax[2]:.1f} % or green {100 * softmax[1]:.1f} %"

    limits = [binomtest(cells, 20).proportion_ci(0.95, method="exact") for cells in (12, 5, 3)]
    shown = [f"{100 * one.low:.1f} – {100 * one.high:.1f}" for one in limits]
    assert [[text.strip() for text in row] for row in rows(page)] == [
        ["red", "12", "60.0 %", shown[0]],
        ["green", "5", "25.0 %", shown[1]],
        ["blue", "3", "15.0 %", shown[2]],
    ]
    assert page.locator("th.corrected").first.is_visible()

    first.locator("select").select_option("green")
    expect(page.locator("#rows tr").nth(1).locator("td").nth(2)).to_have_text("6")
    assert [row[1:3] for row in rows(page)] == [["12", "60.0 %"], ["6", "30.0 %"], ["2", "10.0 %"]]
    assert page.locator("th.corrected").first.is_hidden()
    assert "no longer corrected" in page.locator("#notes").inner_text()

    name, table = saved(page, "#save", tmp_path)
    assert name == "slide 7.csv"
    assert list(table[0]) == ["path", "predicted", "probability", *NAMES, "margin", "error", "by_hand"]
    by_path = {row["path"]: row for row in table}
    assert set(by_path) == {f"slide 7/{n:02d}.png" for n in range(19)} | {f"slide 7/deeper/{MARKUP}", "slide 7/notes.txt"}
    changed = by_path[f"slide 7/deeper/{MARKUP}"]
    assert (changed["predicted"], changed["by_hand"]) == ("blue", "green")
    assert [float(changed[column]) for column in NAMES] == pytest.approx(list(softmax), abs=1e-6)
    assert (by_path["slide 7/00.png"]["predicted"], by_path["slide 7/00.png"]["by_hand"]) == ("red", "")
    assert by_path["slide 7/notes.txt"]["error"] == "is not an image, or has an unknown format"
    assert by_path["slide 7/notes.txt"]["predicted"] == ""

    name, table = saved(page, "#save-counts", tmp_path)
    assert name == "slide 7.differential.csv"
    assert [(row["slide"], row["class"], row["count"]) for row in table] == [
        ("slide 7", "red", "12"), ("slide 7", "green", "6"), ("slide 7", "blue", "2"),
    ]  # fmt: skip
    assert float(table[1]["low"]) == pytest.approx(binomtest(6, 20).proportion_ci(0.95, method="exact").low)


def test_cells_are_dropped_enlarged_and_named_with_the_keyboard(page: Page, server: Running) -> None:
    page.goto(server.url)
    expect(page.locator("#work")).to_be_visible()
    cells = [[f"{name}.png", base64.b64encode(encoded(picture(name))).decode()] for name in NAMES]
    page.evaluate(DROP, cells)
    expect(page.locator("#progress-text")).to_have_text("3 cells classified.")
    page.evaluate(DROP, cells[:1])
    page.select_option("#order", "name")
    expect(page.locator(".cell .name")).to_have_text(["blue.png", "green.png", "red.png"])

    page.locator(".cell .picture").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#large-name")).to_have_text("blue.png")
    expect(page.locator("#large-map")).to_have_attribute("src", re.compile("^data:image/png;base64,"))
    page.keyboard.press("ArrowRight")
    expect(page.locator("#large-name")).to_have_text("green.png")
    page.keyboard.press("1")
    expect(page.locator("#answer")).to_contain_text("By hand: red.")
    page.keyboard.press("Escape")
    expect(page.locator("#rows tr").first.locator("td").nth(2)).to_have_text("2")
    assert page.locator(".cell.hand .name").all_inner_texts() == ["green.png"]
    page.locator(".cell .picture").nth(1).press("Enter")
    page.keyboard.press("0")
    page.keyboard.press("Escape")
    expect(page.locator("#rows tr").first.locator("td").nth(2)).to_have_text("1")
    assert page.locator(".cell.hand").count() == 0

    page.locator("#rows tr").nth(2).locator("input").uncheck()  # blue does not count to the 100 %
    expect(page.locator("#rows tr").first.locator("td").nth(3)).to_have_text("50.0 %")
    page.locator("#rows tr").first.locator("button").click()
    expect(page.locator(".cell")).to_have_count(1)


def test_a_thousand_cells_come_in_parts(page: Page, server: Running, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(1000):
        Image.fromarray(picture(NAMES[number % 2], (8, 8))).save(folder / f"{number}.png")
    (folder / "500.png").write_bytes(b"damaged")
    page.goto(server.url)
    expect(page.locator("#work")).to_be_visible()
    page.set_input_files("#folder", str(folder))
    expect(page.locator("#progress-text")).to_have_text("999 cells classified.", timeout=60_000)
    expect(page.locator("#total")).to_have_text("999 cells count to the 100 %")
    assert [row[1] for row in rows(page)] == ["499", "500", "0"]


def test_the_page_asks_for_the_token(page: Page, slide: Path) -> None:
    token = "a-token-of-twenty-6-letters"
    with running(classifier(), access=Access(None, token)) as server:
        page.goto(server.url)
        page.fill("#token", "wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#fault")).to_have_text("This is not the token of the server.")
        assert page.locator("#work").is_hidden()
        page.fill("#token", token)
        page.keyboard.press("Enter")
        expect(page.locator("#work")).to_be_visible()
        page.set_input_files("#folder", str(slide))
        expect(page.locator("#progress-text")).to_have_text("20 cells classified.")
        expect(page.locator("#rows tr")).to_have_count(3)
