"""The server's page in a real browser: cells are classified, counted, corrected by hand and downloaded."""

import csv
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import sync_playwright

from bcc_lightning.deployment.server import make_app
from bcc_lightning.prediction.classifier import TrainedClassifier
from tests.miniature import Colours, write_colours

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")]

CLASSES = ["red", "green", "blue"]


@pytest.fixture
def address() -> Iterator[str]:
    """Address of a server that tells colours apart."""
    app = make_app(TrainedClassifier(Colours(class_names=CLASSES, image_size=32)))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    server.should_exit = True
    thread.join()


def test_cells_are_classified_counted_corrected_and_downloaded(address: str) -> None:
    files = write_colours(Path(), ["1_red.png", "2_red.png", "3_green.png", "<b>_blue.png"])
    Path("text.png").write_text("no image")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = browser.new_page()
        page.goto(address)
        page.set_input_files("#images", [*files, Path("text.png")])
        page.wait_for_selector(".cell >> nth=3")
        assert "text.png: is not an image" in page.locator(".error").inner_text()
        counts = page.locator("#count tr")
        page.wait_for_selector("#count tr:first-child td:nth-child(2):text-is('2')")
        assert [row.split("\t")[:2] for row in counts.all_inner_texts()] == [["red", "2"], ["green", "1"], ["blue", "1"]]
        assert "50.0 (6.8 to 93.2)" in counts.first.inner_text()  # exact limits of 2 of 4
        page.get_by_label("class of 2_red.png").select_option("blue")
        page.wait_for_selector("#count tr:first-child td:nth-child(2):text-is('1')")
        with page.expect_download() as download:
            page.click("#csv")
        rows = {row["path"]: row for row in csv.DictReader(Path(download.value.path()).read_text().splitlines())}
        browser.close()
    assert {name: row["predicted"] for name, row in rows.items()} == {file.name: file.stem.split("_")[-1] for file in files}
    assert {name: row["corrected_by_hand"] for name, row in rows.items() if row["corrected_by_hand"]} == {"2_red.png": "blue"}
